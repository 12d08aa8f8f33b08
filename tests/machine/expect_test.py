#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""expect_test.py EXPECT: does `expect` find what it is there to find?

Traces made by hand, one without and each other with one fault: `expect` must
accept the first and name the fault of the others.
"""
import pathlib
import struct
import subprocess
import sys
import tempfile

VM, SLOT, SPTE_CHANGED, DROPS = 1, 3, 6, 14
VIOLATION, SLOT_CREATE, SLOT_DELETE = 1, 12, 13
READ_ONLY, LOG_DIRTY = 1, 2
EPT, FEATURES = 1, 0b1011  # 2 MiB and 1 GiB pages, accessed and dirty bits

WRITABLE, READABLE, LARGE = 0x337, 0x335, 0x3b7  # EPT leaves, write-back (SDM vol. 3, table 29-7)
PROMISES = "EXPECT once 0x100000 0x2000\nEXPECT read-only 0x200000 0x1000\nEXPECT untouched 0xd0000000 0x100000\n"


class Trace:
    """A VM with RAM at 1 MiB, a read-only slot at 2 MiB and a logged one at 4 MiB."""

    def __init__(self):
        self.records = []
        self.dropped = 0
        self.complete = 1
        self.add(VM, a=(EPT, 4, 46, FEATURES))
        self.slot(0, 0x100, 2)
        self.slot(1, 0x200, 1, flags=READ_ONLY)
        self.slot(2, 0x400, 512, flags=LOG_DIRTY)
        self.leaf(0x100, WRITABLE)
        self.leaf(0x101, WRITABLE)
        self.leaf(0x200, READABLE)

    def add(self, event, level=0, cause=0, index=0, aux=0, a=()):
        number = len(self.records)
        a = tuple(a) + (0,) * (4 - len(a))
        self.records.append(struct.pack("<QIHBBHHIHHI4Q", number, number, event, level, cause, 1, 0, 0, 0, index,
                                        aux, *a))

    def slot(self, slot_id, gfn, pages, flags=0, cause=SLOT_CREATE):
        self.add(SLOT, cause=cause, index=flags, aux=slot_id, a=(gfn, pages))

    def leaf(self, gfn, entry, level=1):
        self.add(SPTE_CHANGED, level, VIOLATION, gfn & 511, a=(0x1000, gfn, 0, entry | 0x40000000))

    def bytes(self):
        header = struct.pack("<8sIIQQQQII32s", b"VMMUTRC", 1, 64, 0, len(self.records), self.dropped, 1,
                             self.complete, 0, b"by hand")
        return header.ljust(512, b"\0") + b"".join(self.records)


def twice(t):
    t.leaf(0x100, WRITABLE)


def never(t):
    del t.records[5]
    t.records[5:] = renumbered(t.records[5:], 5)


def outside(t):
    t.leaf(0x300, WRITABLE)


def after_delete(t):
    t.slot(0, 0x100, 2, cause=SLOT_DELETE)
    t.leaf(0x101, WRITABLE)


def writable_in_read_only(t):
    t.leaf(0x200, WRITABLE)


def large_in_log(t):
    t.leaf(0x400, LARGE, level=2)


def device_mapped(t):
    t.slot(3, 0xd0000, 16)
    t.leaf(0xd0001, WRITABLE)


def reserved_bit(t):
    t.leaf(0x101, (WRITABLE & ~0x38) | 2 << 3)


def gap(t):
    del t.records[-1]
    t.leaf(0x200, READABLE)
    t.records[-1] = renumbered(t.records[-1:], 99)[0]


def drops_record(t):
    t.add(DROPS, a=(5,))


def drops_in_header(t):
    t.dropped = 1


def cut_short(t):
    t.complete = 0


def renumbered(records, first):
    return [r[:8] + struct.pack("<I", first + i) + r[12:] for i, r in enumerate(records)]


FAULTS = (
    (twice, "was mapped 2 times instead of once"), (never, "was mapped 0 times instead of once"),
    (outside, "which no slot covers"), (after_delete, "which no slot covers"),
    (writable_in_read_only, "is writable at gfn 0x200 in a read-only slot"),
    (large_in_log, "be written without a log"), (device_mapped, "was mapped, where nothing is"),
    (reserved_bit, "has a reserved bit set"), (gap, "number 99 instead of"),
    (drops_record, "5 records were dropped"), (drops_in_header, "1 records were dropped"),
    (cut_short, "cut short"),
)


def run(program, folder, trace):
    (folder / "trace").write_bytes(trace.bytes())
    (folder / "console").write_text(PROMISES)
    done = subprocess.run([program, folder / "trace", folder / "console"], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout + done.stderr


def main():
    program, failed = sys.argv[1], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        status, said = run(program, folder, Trace())
        if status != 0:
            failed.append(f"a sound trace was refused: {said}")
        for fault, words in FAULTS:
            trace = Trace()
            fault(trace)
            status, said = run(program, folder, trace)
            if status == 0 or words not in said:
                failed.append(f"{fault.__name__}: status {status}, not \"{words}\": {said}")
    print("\n".join(failed + [f"{len(FAULTS) + 1 - len(failed)} passed, {len(failed)} failed, 0 skipped"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
