#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""`vmmu record` for real: inside Debian's kernel, on kvm-amd (QEMU) or kvm-intel (Bochs).

    record_test.py --build build --kernel .cache/kernels/cloud-amd64 [--machine bochs] [--keep DIR]
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lab"))
import lab  # noqa: E402

MAP = "write:64 device:4 write:64 delete add read:64 write:64 log:on write:64 log:get write:64 log:off " \
      "discard:16 write:64 pause:100"
SPLIT = "write2m:4 log:on write:200:9"

# Each part of the job is one thing to try; what it printed comes back under its name.
JOB = f"""
try() {{ name=$1; shift; "$@" >/out/$name.log 2>&1; echo "status $?" >>/out/$name.log; }}
instances() {{ ls /sys/kernel/tracing/instances >/out/$1.instances; }}
await() {{ for i in $(seq 600); do grep -q "$1" "$2" 2>/dev/null && return; sleep 0.1; done; echo "$1 never came: $2"; }}
start() {{ rm -f /tmp/go; "$@" >/tmp/vmm.log 2>&1 & vmm=$!; await ready /tmp/vmm.log; }}

try map vmmu record -o /out/map.dat --buffer 8M -- vmm --memory 8 {MAP}
try split vmmu record -o /out/split.dat --exits --stacks --buffer 8M -- vmm --memory 16 --huge {SPLIT} delete
try two vmmu record -o /out/two.dat --buffer 8M -- sh -c 'vmm --memory 8 write:64 pause:1000 & vmm --memory 8 write:64 pause:1000; wait'

# A VM that runs already, and ends while it is recorded.
start vmm --memory 8 --vcpus 2 write:100 say:ready wait:/tmp/go write:200 log:on write@*:50 log:get write:70 discard:20 \
	delete pause:700 add read:30 pause:700
(await entries /out/running.log; touch /tmp/go) &
try running vmmu record -o /out/running.dat --buffer 8M
wait $vmm
# One of two, by its process id, for a while.
start vmm --memory 8 write:10 say:ready wait:/tmp/go
vmm --memory 8 say:other wait:/tmp/go >/tmp/other.log 2>&1 & other=$!
await other /tmp/other.log
try which vmmu record -o /out/which.dat --buffer 8M
try pid vmmu record -o /out/pid.dat --buffer 8M --pid $vmm --for 200ms
try name vmmu record -o /out/name.dat --buffer 8M --name vmm --for 200ms
touch /tmp/go; wait $vmm $other

start vmm --memory 8 write:10 say:ready wait:/tmp/go pause:500
(await entries /out/blind.log; touch /tmp/go) &
try blind vmmu record -o /out/blind.dat --buffer 8M --snapshot=none
wait $vmm

try none vmmu record -o /out/none.dat
try nobody vmmu record --pid 1 -o /out/none.dat
try absent vmmu record --snapshot=none -o /out/none.dat -- /nonexistent
try unwritable vmmu record -o /nowhere/x.dat --all --for 1
try status vmmu record --snapshot=none -o /out/status.dat -- sh -c 'exit 7'
try killed vmmu record --snapshot=none -o /out/status.dat -- sh -c 'kill -9 $$'
try device vmmu record --snapshot=none -o /dev/null -- true
[ -c /dev/null ] || echo "gone: /dev/null" >>/out/device.log
mkfifo /tmp/fifo; try fifo vmmu record --snapshot=none -o /tmp/fifo -- true
try folder vmmu record --snapshot=none -o /out -- true
try stdout vmmu record --snapshot=none -o - -- true
try brief vmmu record --snapshot=none -o /out/brief.dat -- true
try again vmmu record --snapshot=none -o /out/brief.dat -- true
# What it is called is anybody's choice: a name that a terminal would obey, with what ends a line's text.
evil=$(printf '/tmp/e\\033[31m" vm=1-2 \\\\'); cp /bin/vmm "$evil"
try evil vmmu record --snapshot=none -o /out/evil.dat -- "$evil" --memory 8 write:20 pause:500
# Two at once, and Ctrl-C for one of them.
start vmm --memory 8 write:10 say:ready wait:/tmp/go
vmmu record --pid $vmm -o /out/both1.dat --buffer 8M >/out/both1.log 2>&1 & first=$!
vmmu record --pid $vmm -o /out/both2.dat --buffer 8M --for 300ms >/out/both2.log 2>&1 & second=$!
wait $second; echo "status $?" >>/out/both2.log
kill -INT $first; wait $first; echo "status $?" >>/out/both1.log
touch /tmp/go; wait $vmm
instances before

# A buffer that nobody empties for a while.
start vmm --memory 64 say:ready wait:/tmp/go write:16000 delete
vmmu record --pid $vmm -o /out/loss.dat --buffer 64K >/out/loss.log 2>&1 & recorder=$!
await entries /out/loss.log
kill -STOP $recorder; touch /tmp/go; wait $vmm; kill -CONT $recorder
wait $recorder; echo "status $?" >>/out/loss.log

# A disk that cannot hold it.
mkdir -p /full; mount -t tmpfs -o size=7m tmpfs /full
try full vmmu record -o /full/full.dat --buffer 8M -- vmm --memory 128 write:32000 delete add write:32000 pause:3000
cp /full/full.dat /out/full.dat; umount /full

vmmu record --all -o /out/term.dat >/out/term.log 2>&1 & recorder=$!
await 1 "/sys/kernel/tracing/instances/vmmu-$recorder/tracing_on"; kill -TERM $recorder; wait $recorder; echo "status $?" >>/out/term.log
instances term
vmmu record --all -o /out/kill.dat >/dev/null 2>&1 & recorder=$!
await 1 "/sys/kernel/tracing/instances/vmmu-$recorder/tracing_on"; kill -KILL $recorder
instances kill
try after vmmu record --all --for 100ms -o /out/after.dat
instances after
ls /out/*.partial /out/.vmmu-record* >/out/rest 2>/dev/null
rm -f /out/loss.dat
exit 0
"""


# With QEMU as the VMM, by its name: the visor is its guest and has a guest of its own.
JOB_QEMU = f"""
await() {{{{ for i in $(seq 600); do grep -q "$1" "$2" 2>/dev/null && return; sleep 0.1; done; echo "$1 never came: $2"; }}}}
{lab.QEMU_INSIDE} -name guest=web1,debug-threads=on -serial file:/tmp/console -serial file:/tmp/log \\
	-kernel /guest/visor.elf -initrd "/guest/guest.elf vmmu:kernel guest.elf" \\
	-append "memory=16M page-size=4k -- tests=touch,slots" >/out/qemu.log 2>&1 & qemu=$!
await start /tmp/log
vmmu record --name web1 --nested --exits --buffer 16M -o /out/web1.dat >/out/web1.log 2>&1 & recorder=$!
await '"event":"end"' /tmp/log
kill $qemu
wait $recorder; echo "status $?" >>/out/web1.log
cat /tmp/console >/out/guest.log
ls /sys/kernel/tracing/instances >/out/rest
exit 0
""".replace("{{", "{").replace("}}", "}")


class Checks:
    """Counts what held and says what did not."""

    def __init__(self):
        self.passed = self.failed = 0

    def expect(self, what, holds, detail=""):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL  {what}\n      {detail}", flush=True)


def report(path, *words):
    """trace-cmd, which knows nothing of us, reads the file; [(name of the event, its text)]."""
    done = subprocess.run(["trace-cmd", "report", *words, path], capture_output=True, text=True, errors="replace")
    lines = re.findall(r"^ *\S.*?\[\d+\] +[\d.]+: (\w+): +(.*)$", done.stdout, re.M)
    return lines, done.stdout + done.stderr


def markers(lines):
    return [m[1] for name, text in lines if name == "print" and (m := re.search(r"(vmmu: )(.*)", text)) and
            (m := (m[0], m[2]))]


def check_map(checks, lines, text):
    events = collections.Counter(name for name, _ in lines)
    said = markers(lines)
    checks.expect("trace-cmd reads the recording", events["kvm_page_fault"] > 64 and "FAILED" not in
                  "".join(t for n, t in lines if n == "kvm_tdp_mmu_spte_changed"), text[:2000])
    checks.expect("entries are written, fast repairs too", events["kvm_tdp_mmu_spte_changed"] > 300 and
                  events["mark_mmio_spte"] > 0 and events["kvm_mmu_zap_all_fast"] > 0, events)
    checks.expect("the noise stays out", not [t for n, t in lines if n == "kvm_tdp_mmu_spte_changed" and
                                             re.search(r"old_spte 0x?0* new_spte 0x5a0$|old_spte 0 new_spte 5a0$", t)])
    checks.expect("the stream says what it is", said and said[0].startswith("record version=1"), said[:1])
    checks.expect("the VM is named", any(re.match(r'vm id=\d+-\d+ pid=\d+ comm="vmm" name="vmm"', s) for s in said), said)
    checks.expect("its threads are known", any(re.match(r"thread tid=\d+ tgid=\d+", s) for s in said), said)
    checks.expect("the stream has an end", said and said[-1] == "end", said[-1:])


AD = {"qemu": 0x60, "bochs": 0x300}     # accessed and dirty, which the CPU sets on its own
PRESENT, LARGE = 1 << 11, 1 << 7


def is_leaf(entry, level):
    return bool(entry & PRESENT) and (level == 1 or bool(entry & LARGE))


def follow(lines, machine):
    """Replay a recording of one VM that begins with found tables and ends with the VM. Returns the pages found, by
    level; how many writes there are; those that replace what nobody has written or found; what is left at the end.
    Two roots may live at once, so there is a set of values for each place."""
    places, found, writes, wrong = collections.defaultdict(set), collections.Counter(), 0, []

    def replace(level, gfn, old, new, text):
        values = places[level, gfn >> 9 * (level - 1)]
        if old & PRESENT:
            same = [v for v in values if not (v ^ old) & ~AD[machine]]
            values.difference_update(same)
            if not same:
                wrong.append(text)
        if new & PRESENT:
            values.add(new)

    for name, text in lines:
        if name == "print" and (m := re.search(r"vmmu: found .*level=(\d) .*gfn=(\S+) .*entries=(\S+)", text)):
            level, gfn = int(m[1]), int(m[2], 16)
            for i, word in enumerate(m[3].split(",")):
                replace(level, gfn + (i << 9 * (level - 1)), 0, int(word, 16), text)
                found[level] += is_leaf(int(word, 16), level)
        elif name == "kvm_tdp_mmu_spte_changed":
            f = {k: int(v, 16) for k, v in re.findall(r"(gfn|level|old_spte|new_spte) (?:0x)?([0-9a-f]+)", text)}
            replace(f["level"], f["gfn"], f["old_spte"], f["new_spte"], text)
            writes += 1
        elif name == "fast_page_fault" and text.endswith("fixed 1"):
            m = re.search(r"gva (\w+) .* old 0x(\w+) new (\w+)", text)
            replace(1, int(m[1], 16) >> 12, int(m[2], 16), int(m[3], 16), text)
            writes += 1
    return found, writes, wrong, sum(map(len, places.values()))


def check_found(checks, lines, machine):
    """The tables that were there: as many pages as KVM counts, and every later write finds what was found."""
    said = markers(lines)
    found, writes, wrong, left = follow(lines, machine)
    begin = next((re.search(r"pages_4k=(\d+) pages_2m=(\d+)", s) for s in said if s.startswith("counts when=begin")), None)
    checks.expect("as many pages are found as KVM counts", begin and (found[1], found[2]) == (int(begin[1]), int(begin[2]))
                  and found[1] >= 100, (found, begin and begin[0]))
    slots = [re.search(r"id=(\d+) gfn=(\S+) pages=(\S+)", s).groups() for s in said if s.startswith("slot ")]
    checks.expect("slots are found", slots[:2] == [("0", "0x0", "0x2000"), ("1", "0x40000", "0x800")], slots)
    checks.expect("a slot that goes is noticed, and one that comes", slots[-2:] ==
                  [("1", "0x40000", "0x0"), ("1", "0x40000", "0x800")], slots)
    checks.expect("what was found is what later writes replace", writes > 300 and not wrong, (writes, wrong[:5]))
    checks.expect("all that was found or written goes with the VM", left == 0, left)


def check_explained(checks, vmmu, path):
    """The command's own judgement of its recording."""
    done = subprocess.run([vmmu, "check", path], capture_output=True, text=True, errors="replace")
    checks.expect(f"vmmu check: {path.stem} is explained", done.returncode == 0 and
                  re.search(r"^ +0 +unexplained", done.stdout, re.M), done.stdout + done.stderr)


def check(checks, result, machine, keep, vmmu):
    log = {name[:-4]: data.decode(errors="replace") for name, data in result.files.items() if name.endswith(".log")}
    status = {name: int(m[1]) for name, text in log.items() if (m := re.search(r"^status (\d+)$", text, re.M))}
    instances = {n[:-10]: d.decode() for n, d in result.files.items() if n.endswith(".instances")}
    for name in ("map", "split", "two", "running", "pid"):
        checks.expect(f"{name}: recorded", status.get(name) == 0 and f"{name}.dat" in result.files, log.get(name))
        if machine != "shadow":
            checks.expect(f"{name}: KVM's own counts agree", "agree with KVM's own counts" in log[name] and
                          "KVM counted" not in log[name], log[name])
        checks.expect(f"{name}: nothing lost", "LOST" not in log[name], log[name])
    for name, want, word in (("none", 2, "no VM is running"), ("nobody", 2, "no VM is"), ("absent", 2, "/nonexistent"),
                             ("unwritable", 2, "/nowhere"), ("status", 7, ""), ("killed", 137, ""),
                             ("which", 2, "which VM?"), ("name", 0, "2 VMs"), ("term", 0, ""), ("after", 0, "left behind")):
        checks.expect(f"{name}: status {want}, {word!r}", status.get(name) == want and word in log[name], log.get(name))
    for name, want, word in (("device", 2, "no regular file"), ("fifo", 2, "no regular file"), ("folder", 2, "a folder"),
                             ("stdout", 2, "standard output"), ("brief", 0, "no VM was seen"), ("again", 0, "no VM was seen"),
                             ("evil", 0, "1 VM"), ("both1", 0, "1 VM"), ("both2", 0, "1 VM")):
        checks.expect(f"{name}: status {want}, {word!r}", status.get(name) == want and word in log[name], log.get(name))
    checks.expect("/dev/null stays what it is", "gone" not in log["device"], log["device"])
    checks.expect("nothing that a terminal obeys is printed", "\033" not in log["evil"], repr(log["evil"]))
    (keep / "evil.dat").write_bytes(result.files.get("evil.dat", b""))
    said = subprocess.run([vmmu, "info", keep / "evil.dat"], capture_output=True, text=True, errors="replace").stdout
    checks.expect("a hostile name is one name", "x1b[31m" in said and "\033" not in said, said)
    if machine != "shadow":    # which makes fewer events than there is room for
        checks.expect("loss is said with its number", re.search(r"[\d,]+ events were LOST", log["loss"]), log["loss"])
    if machine != "shadow":
        checks.expect("a full disk ends the recording early", status.get("full") == 2 and "ends early" in log["full"],
                      log["full"])
        checks.expect("what fitted is there", len(result.files.get("full.dat", b"")) > 1 << 20,
                      len(result.files.get("full.dat", b"")))
    checks.expect("no instance stays", instances["before"] == instances["term"] == instances["after"] == "", instances)
    checks.expect("a killed recorder leaves one behind", instances["kill"].startswith("vmmu-"), instances)
    checks.expect("no file stays", result.files.get("rest") == b"", result.files.get("rest"))
    reports = {}
    for name in ("map", "split", "two", "running", "pid", "blind", "full"):
        (keep / f"{name}.dat").write_bytes(result.files.get(f"{name}.dat", b""))
        reports[name] = report(keep / f"{name}.dat")
    if machine != "shadow":
        check_map(checks, *reports["map"])
        for name in ("map", "split", "two", "running", "blind"):
            check_explained(checks, vmmu, keep / f"{name}.dat")
        full = collections.Counter(n for n, _ in reports["full"][0])
        checks.expect("and can be read", full["kvm_tdp_mmu_spte_changed"] > 10000, full)
        split = collections.Counter(n for n, _ in reports["split"][0])
        checks.expect("large pages are split", split["kvm_mmu_split_huge_page"] >= 4, split)
        checks.expect("exits and entries", split["kvm_exit"] > 10 and split["kvm_entry"] > 10, split)
        checks.expect("stacks of zaps", split["kernel_stack"] > 0, split)
        said = subprocess.run([vmmu, "zaps", keep / "split.dat"], capture_output=True, text=True).stdout
        checks.expect("stacks tell who took pages away", "for a memory slot that was deleted" in said, said)
    else:
        events = collections.Counter(n for n, _ in reports["map"][0])
        checks.expect("shadow: leaves are told", events["kvm_mmu_set_spte"] > 64, events)
    slots = {s.split()[1] for s in markers(reports["two"][0]) if s.startswith("slot ")}
    checks.expect("slots of VMs that a command starts", len(slots) == 2, slots)
    checks.expect("two VMs in one recording", len({s for s in markers(reports["two"][0]) if s.startswith("vm ")}) == 2 or
                  machine == "bochs", markers(reports["two"][0]))
    if machine != "shadow":
        check_found(checks, reports["running"][0], machine)
        checks.expect("blind: it says what will be missing", "entries written before now" in log["blind"] and
                      not any(s.startswith("found ") for s in markers(reports["blind"][0])), log["blind"])
    else:
        checks.expect("shadow: it says what will be missing", "outside its TDP MMU" in log["running"] and
                      "entries written before now" in log["running"], log["running"])
    checks.expect("a running VM is found", any(s.startswith("vm ") for s in markers(reports["running"][0])), "")


def check_qemu(checks, result, keep, vmmu):
    log, guest = (result.files.get(name, b"").decode(errors="replace") for name in ("web1.log", "guest.log"))
    checks.expect("the guest's guest runs through", "PASS touch" in guest and "FAIL" not in guest, guest)
    checks.expect("recorded by QEMU's name", "status 0" in log and "guests' guests" in log, log)
    lines, text = report(keep / "web1.dat")
    events, said = collections.Counter(name for name, _ in lines), markers(lines)
    checks.expect("it ends with the VM", said and said[-1] == "end" and result.files.get("rest") == b"", said[-2:])
    checks.expect("the VM has its name", any('name="web1"' in s and 'comm="qemu-system-x86"' in s for s in said), said)
    checks.expect("vCPUs have theirs", any('comm="CPU 0/KVM"' in s for s in said), said)
    checks.expect("tables were there already", any(s.startswith("found ") for s in said), log)
    checks.expect("switches to the nested guest", events["kvm_nested_vmenter"] > 100, events)
    checks.expect("tables of the nested guest", events["kvm_mmu_set_spte"] > 100 and events["kvm_mmu_sync_page"] > 0, events)
    check_explained(checks, vmmu, keep / "web1.dat")


def run_qemu(o):
    qemu, files = lab.with_qemu()
    files["/guest/visor.elf"] = (o.build / "visor.elf").read_bytes()
    files["/guest/guest.elf"] = (o.build / "guest/guest.elf").read_bytes()
    return lab.run("qemu", o.kernel, o.build / "kvm-lab", JOB_QEMU, programs=[o.build / "vmmu", qemu], files=files)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path(".cache/kernels/cloud-amd64"))
    parser.add_argument("--machine", choices=["qemu", "bochs", "shadow", "nested"], default="qemu",
                        help="NPT on QEMU, EPT on Bochs, shadow tables on QEMU, a nested guest on QEMU")
    parser.add_argument("--keep", type=pathlib.Path, help="where the recordings go")
    o = parser.parse_args()
    keep = o.keep or o.build / "kvm-lab" / f"record-{o.machine}"
    keep.mkdir(parents=True, exist_ok=True)
    checks = Checks()
    try:
        result = run_qemu(o) if o.machine == "nested" else lab.run("bochs" if o.machine == "bochs" else "qemu", o.kernel, o.build / "kvm-lab", JOB,
                         vendor="npt=0" if o.machine == "shadow" else "", programs=[o.build / "vmmu"])
        for name, data in result.files.items():
            (keep / name).write_bytes(data)
        checks.expect("the job runs through", result.status == 0 and "never came" not in result.console,
                      result.console[-2000:])
        if o.machine == "nested":
            check_qemu(checks, result, keep, o.build / "vmmu")
        else:
            check(checks, result, o.machine, keep, o.build / "vmmu")
    except lab.LabError as why:
        checks.expect("the machine runs", False, str(why))
    print(f"{checks.passed} passed, {checks.failed} failed, 0 skipped")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
