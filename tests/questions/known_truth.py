#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""Recordings of made-up VMs whose tables are known: `vmmu dump` says what stood in them.

    tests/questions/known_truth.py VMMU [SEEDS [FIRST]]

A model of KVM's TDP MMU maps, protects, splits, drops and takes whole roots down, while vCPUs
fill the next root, often with the frames of the last one. It writes what tracefs would print,
and keeps the pages that are mapped at some moments. At each the dump must be the same, and
`check` must explain every write.
"""
import json
import random
import re
import subprocess
import sys
import tempfile

GIB = 1 << 18  # in pages
WRITABLE = 2


class Failure(Exception):
    pass


class Kernel:
    """Forms of entries, order of work, and which events are recorded."""

    def __init__(self, seed, ept=False, bit63=False, leaves_first=False, few=False, nameless=False, levels=4, swapped=0):
        self.random = random.Random(seed)
        self.swapped = swapped
        self.empty = 1 << 63 if bit63 else 0
        self.removed = self.empty | 0x5A0
        self.table_bits, self.leaf_bits = (0x907, 0x600000000000B77) if ept else (0x827, 0xE67)
        self.accessed = 0x300 if ept else 0x60
        self.ept, self.leaves_first, self.few, self.nameless, self.levels = ept, leaves_first, few, nameless, levels
        self.now = 1_000_000_000
        self.lines = []
        self.fresh = list(range(0x100000, 0x110000))
        self.random.shuffle(self.fresh)
        self.freed = []
        self.large = list(range(0x200000, 0x300000, 512))

    def emit(self, tid, tgid, comm, event, text):
        self.now += self.random.randint(1, 9)
        process = "" if self.nameless else "(%7s) " % (tgid or "-------")
        seconds, micro = divmod(self.now, 1000000)
        self.lines.append("%16s-%-7d %s[%03d] ...1. %6d.%06d: %s: %s\n" % (
            comm, tid, process, self.random.randrange(2), seconds, micro, event, text))

    def frame(self):
        """Often one that was given back just now."""
        if self.freed and self.random.random() < 0.7:
            return self.freed.pop(self.random.randrange(len(self.freed)))
        return self.fresh.pop()


class Table:
    def __init__(self, level, first, frame):
        self.level, self.first, self.frame = level, first, frame
        self.entries = {}  # index -> [value, table below or None]

    def gfn(self, index):
        return self.first + (index << 9 * (self.level - 1))

    def leaves(self):
        for index, (value, below) in list(self.entries.items()):
            if below:
                yield from below.leaves()
            else:
                yield self, index, value


class Vm:
    def __init__(self, kernel, tgid, first_tid, vcpus, frames=None):
        self.kernel, self.tgid, self.main = kernel, tgid, first_tid
        self.vcpus = [first_tid + 1 + i for i in range(vcpus)]
        self.root = None
        self.frames = {} if frames is None else frames
        self.sizes = {}
        # Without the events of roots one that begins shows only where the last one had something.
        self.regions = [0, 1, 2, 512, 513, 1024] + ([] if kernel.few else [512 * GIB >> 9, (512 * GIB >> 9) + 1])

    # ---- events

    def emit(self, tid, event, text):
        comm = "CPU %d/KVM" % self.vcpus.index(tid) if tid in self.vcpus else "vmm"
        self.kernel.emit(tid, self.tgid, comm, event, text)

    def write(self, who, table, index, value, below=None):
        old = table.entries.get(index, [self.kernel.empty])[0]
        text = "as id 0 gfn %x level %d old_spte %x new_spte %x" % (table.gfn(index), table.level, old, value)
        if isinstance(who, str):
            self.kernel.emit(70 + len(who), None, who, "kvm_tdp_mmu_spte_changed", text)
        else:
            self.emit(who, "kvm_tdp_mmu_spte_changed", text)
        if value in (self.kernel.empty, self.kernel.removed):
            table.entries.pop(index, None)
        else:
            table.entries[index] = [value, below]

    # ---- what KVM does

    def new_table(self, tid, level, first):
        if not self.kernel.few:
            self.emit(tid, "kvm_mmu_get_page", "sp gen 0 gfn %x l%d 8-byte q0 direct wux nxe ad root 0 sync new" % (first, level))
        return Table(level, first, self.kernel.frame())

    def page(self, gfn):
        if gfn not in self.frames:
            self.frames[gfn] = self.kernel.frame()
        return self.frames[gfn] << 12 | self.kernel.leaf_bits

    def fault(self, vcpu, gfn, is_write):
        kernel, tid = self.kernel, self.vcpus[vcpu]
        if not self.root:
            self.root = self.new_table(tid, kernel.levels, 0)
        table = self.root
        while True:
            index = gfn >> 9 * (table.level - 1) & 511
            value, below = table.entries.get(index, [None, None])
            if not below:
                break
            table = below
        if value and (not is_write or value & WRITABLE):
            table.entries[index][0] |= self.kernel.random.choice([0, kernel.accessed])
            return
        access = 2 if is_write else 1
        code = access | (0x38 if value else 0) | 0x180 if kernel.ept else 0x100000004 | access & 2 | bool(value)
        self.emit(tid, "kvm_page_fault", "vcpu %d rip 0x%x address 0x%016x error_code 0x%x" % (vcpu, 0x100000 + gfn % 64, gfn << 12, code))
        if value:
            if table.level > 1:
                self.split(tid, table, index)
                self.fault(vcpu, gfn, True)
            elif kernel.few or kernel.random.random() < 0.3:
                self.write(tid, table, index, value | WRITABLE)
            else:
                self.emit(tid, "fast_page_fault", "vcpu %d gva %x error_code P|W sptep 00000000%08x old 0x%x new %x spurious 0 fixed 1" % (
                    vcpu, gfn << 12, kernel.random.getrandbits(32), value, value | WRITABLE))
                table.entries[index][0] = value | WRITABLE
            return
        size = self.sizes.setdefault(gfn >> 9, kernel.random.choice([1, 1, 2]))
        while table.level > size:
            below = self.new_table(tid, table.level - 1, table.gfn(index))
            self.write(tid, table, index, below.frame << 12 | kernel.table_bits, below)
            if below.level == 1 and len(self.vcpus) > 1 and kernel.random.random() < kernel.swapped:
                self.overtaken(self.vcpus[(vcpu + 1) % len(self.vcpus)], below)
            table, index = below, gfn >> 9 * (below.level - 1) & 511
        if table.level == 2:
            key = "large", gfn >> 9
            if key not in self.frames:
                self.frames[key] = kernel.large.pop()
            self.write(tid, table, index, self.frames[key] << 12 | kernel.leaf_bits | 0x80)
        else:
            self.write(tid, table, index, self.page(gfn))

    def overtaken(self, other, table):
        """Another vCPU maps in a table before the event of its link is recorded."""
        link = self.kernel.lines.pop()
        index = self.kernel.random.randrange(24, 48)
        gfn = table.gfn(index)
        code = 0x182 if self.kernel.ept else 0x100000006
        self.emit(other, "kvm_page_fault", "vcpu %d rip 0x1 address 0x%016x error_code 0x%x" % (self.vcpus.index(other), gfn << 12, code))
        self.write(other, table, index, self.page(gfn))
        self.kernel.now += 1
        time = "%6d.%06d:" % divmod(self.kernel.now, 1000000)
        self.kernel.lines.append(re.sub(r" +[0-9]+\.[0-9]{6}:", " " + time, link, 1))

    def split(self, who, table, index):
        value = table.entries[index][0]
        below = Table(1, table.gfn(index), self.kernel.frame())
        below.entries = {i: [(value & ~0x80) + (i << 12), None] for i in range(512)}
        self.write(who, table, index, below.frame << 12 | self.kernel.table_bits, below)

    def drop(self, who, table, index):
        below = table.entries[index][1]
        self.write(who, table, index, self.kernel.empty)
        if below:
            self.take_down(who, below)

    def take_down(self, who, table):
        """handle_removed_pt: its entries at once, each with what hangs below."""
        for index in sorted(table.entries):
            below = table.entries[index][1]
            self.write(who, table, index, self.kernel.removed)
            if below:
                self.take_down(who, below)
        self.kernel.freed.append(table.frame)

    def zap_all(self):
        chance = self.kernel.random
        if not self.kernel.few:
            self.emit(self.main, "kvm_mmu_zap_all_fast", "kvm: mmu_valid_gen 0")
        old, self.root = self.root, None

        def meanwhile(probability):
            if chance.random() < probability:
                for _ in range(chance.randint(1, 4)):
                    self.touch()

        if self.kernel.leaves_first:
            for table, index, _ in list(old.leaves()):
                self.drop(self.main, table, index)
                meanwhile(0.02)
        for level in (3, old.level):
            tables = [old]
            while tables[0].level > level:
                tables = [below for table in tables for _, below in table.entries.values() if below]
                if not tables:
                    break
            for table in tables:
                for index in sorted(table.entries):
                    meanwhile(0.5)
                    self.drop(self.main, table, index)
        self.kernel.freed.append(old.frame)

    def touch(self):
        chance = self.kernel.random
        self.fault(chance.randrange(len(self.vcpus)), chance.choice(self.regions) * 512 + chance.randrange(24), chance.random() < 0.6)

    def notifier(self, who):
        leaves = list(self.root.leaves())
        self.kernel.random.shuffle(leaves)
        if not self.kernel.few and not isinstance(who, str):
            self.emit(who, "kvm_unmap_hva_range", "mmu notifier unmap range: 0x00007f0000000000 -- 0x00007f0000001000")
        for table, index, _ in leaves[:self.kernel.random.randint(1, 8)]:
            self.drop(who, table, index)

    def dirty_log(self):
        for table, index, value in list(self.root.leaves()):
            if table.level == 2 and self.kernel.random.random() < 0.5:
                self.split(self.main, table, index)
            elif value & WRITABLE and self.kernel.random.random() < 0.7:
                self.write(self.main, table, index, value & ~WRITABLE)

    def collapse(self):
        tables = [self.root]
        while tables and tables[0].level > 2:
            tables = [below for table in tables for _, below in table.entries.values() if below]
        places = [(table, index) for table in tables for index, (_, below) in table.entries.items() if below]
        if places:
            table, index = self.kernel.random.choice(places)
            self.sizes[table.gfn(index) >> 9] = self.kernel.random.choice([1, 2])
            self.drop(self.main, table, index)

    def step(self, helpers):
        chance = self.kernel.random.random()
        if chance < 0.6 or not self.root:
            for _ in range(self.kernel.random.randint(1, 6)):
                self.touch()
        elif chance < 0.72:
            self.notifier(self.kernel.random.choice([self.main] + helpers))
        elif chance < 0.8:
            self.dirty_log()
        elif chance < 0.86:
            self.collapse()
        elif chance < 0.95:
            self.zap_all()

    def mapped(self):
        return {} if not self.root else {
            (table.gfn(index), table.level): value & ~0x360 for table, index, value in self.root.leaves()}


def make(seed, form, shape, path):
    kernel = Kernel(seed, **form)
    frames = {} if shape.get("shared") else None
    count = shape.get("vms", 1)
    vms = [Vm(kernel, 500 if shape.get("one_process") else 500 + 100 * i, 500 + 100 * i, shape.get("vcpus", 1), frames)
           for i in range(count)]
    moments = []
    for step in range(120):
        kernel.random.choice(vms).step(["kswapd0", "khugepaged"] if shape.get("helpers") else [])
        if step % 20 == 19:
            moments.append((kernel.now, [vm.mapped() for vm in vms]))
    with open(path, "w") as file:
        file.write("# tracer: nop\n#\n")
        file.writelines(kernel.lines)
    return vms, moments


def ask(vmmu, *arguments):
    done = subprocess.run([vmmu, *arguments], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise Failure("vmmu %s: status %d: %s" % (" ".join(arguments), done.returncode, (done.stderr or done.stdout)[-300:]))
    return done


def compare(vmmu, name, seed, form, shape, folder):
    path = folder + "/recording"
    vms, moments = make(seed, form, shape, path)
    wrong = []
    checked = ask(vmmu, "check", "--no-index", path)
    if checked.stderr:
        wrong.append("check says " + checked.stderr)
    threads = {thread["tid"]: thread.get("vm") for thread in json.loads(ask(vmmu, "info", "--json", "--no-index", path).stdout)["threads"]}
    for at, truths in moments:
        for vm, truth in zip(vms, truths):
            number = next((threads[tid] for tid in vm.vcpus if tid in threads), None)
            if number is None:
                continue  # it has not run yet
            dump = json.loads(ask(vmmu, "dump", "--json", "--no-index", "--at", "@%d.%06d" % divmod(at, 1000000),
                                  "--vm", str(number), path).stdout)
            said = {(int(entry["gpa"], 16) >> 12, entry["level"]): int(entry["entry"], 16) & ~0x360
                    for entry in dump["entries"] if "page" in entry["meaning"]}
            if said != truth:
                wrong.append("at %d us VM %d maps %d pages, not %d; missing %s, beyond %s" % (
                    at, number, len(said), len(truth), sorted(truth.keys() - said.keys())[:3], sorted(said.keys() - truth.keys())[:3]))
    for text in wrong[:5]:
        print("FAILED: %s, seed %d: %s" % (name, seed, text))
    return not wrong


FORMS = {
    "NPT as in Linux 6.1": {},
    "EPT as in Linux 6.12": {"ept": True, "bit63": True, "leaves_first": True},
    "EPT, 5 levels": {"ept": True, "levels": 5},
    "events of two CPUs swapped": {"swapped": 0.3},
    "two events": {"few": True},
    "two events, bit 63": {"few": True, "bit63": True, "leaves_first": True},
    "no process numbers": {"nameless": True},
    "two events, no process numbers": {"nameless": True, "few": True},
}
SHAPES = [{}, {"vcpus": 3}, {"vms": 2, "helpers": True}, {"vms": 3, "vcpus": 2}, {"vms": 2, "vcpus": 2, "one_process": True},
          {"vms": 2, "shared": True}]


def main():
    vmmu = sys.argv[1]
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, form in FORMS.items():
            for number, shape in enumerate(SHAPES):
                for seed in range(first, first + seeds):
                    text = "%s, %s" % (name, shape or "one VM")
                    try:
                        good = compare(vmmu, text, 100 * seed + number, form, shape, folder)
                    except Failure as failure:
                        print("FAILED: %s, seed %d: %s" % (text, 100 * seed + number, failure))
                        good = False
                    passed += good
                    failed += not good
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
