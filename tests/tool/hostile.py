#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Traces and kernels that no vmmu writes, each meant to cost its reader far more than its size.

    tests/tool/hostile.py KIND FILE [N]

A kind is a function below; N is how many records of the costly sort it has.
"""
import gzip
import struct
import sys

# docs/trace-format.md
VM, ROOT_LOAD, PAGE_FAULT, FAULT_END, SPTE, GET_PAGE, DUMP, DUMP_END = 1, 2, 4, 5, 6, 7, 15, 16
NPT = 2
TABLE, LEAF = 0x27, 0x67  # present, writable, user, accessed; and dirty (APM vol. 2, 5.3)


class Trace:
    def __init__(self, levels=4):
        self.records = []
        self.streams = {}
        self.machine = b"hostile"
        self.add(VM, words=(NPT, levels, 48, 0x3f))

    def add(self, event, level=0, index=0, aux=0, fault=0, vm=1, vcpu=0, root=1, words=()):
        seq = self.streams.get((vm, vcpu), 0)
        self.streams[vm, vcpu] = seq + 1
        self.records.append(struct.pack("<QIHBBHHIHHI4Q", len(self.records) + 1, seq, event, level, event == SPTE,
                                        vm, vcpu, fault, root, index, aux, *words, *[0] * (4 - len(words))))

    def table(self, level, hpa, gfn=0):
        self.add(GET_PAGE, level=level, aux=1, words=(hpa, gfn))

    def write(self, level, table, index, new, old=0, gfn=0, **more):
        self.add(SPTE, level=level, index=index, words=(table, gfn, old, new), **more)

    def file(self):
        header = struct.pack("<8sIIQQQQII32s", b"VMMUTRC\0", 1, 64, 0, len(self.records), 0, 10**9, 1, 0, self.machine)
        return header.ljust(512, b"\0") + b"".join(self.records)


def shared(_):
    """Each of 512 entries of a table names the same table one level down: 2^36 paths."""
    t = Trace(5)
    tables = {level: 0x100000 + level * 4096 for level in range(1, 6)}
    t.add(ROOT_LOAD, level=5, words=(tables[5], tables[5]))
    for level in range(1, 5):
        t.table(level, tables[level])
    for level in range(5, 1, -1):
        for index in range(512):
            t.write(level, tables[level], index, tables[level - 1] | TABLE)
    t.write(1, tables[1], 0, 0x200000 | LEAF)
    t.add(DUMP_END)
    return t.file()


def streams(n):
    """Every record in a stream of its own."""
    t = Trace()
    for i in range(n):
        t.add(FAULT_END, vm=1 + (i >> 16), vcpu=i & 0xffff)
    return t.file()


def vms(n):
    """As many VMs as there can be, again and again."""
    t = Trace()
    for i in range(n):
        t.add(VM, vm=i % 65536, words=(NPT, 4, 48, 0x1f))
    return t.file()


def tables(n):
    """Tables without entries."""
    t = Trace()
    for i in range(n):
        t.table(1, 0x100000 + i * 4096)
    return t.file()


def far_tables(n):
    """Tables whose addresses differ in few bits, and those high ones."""
    t = Trace()
    for i in range(n):
        t.table(1, i << 26)
    return t.file()


def early(n):
    """Writes that follow nothing, all in one table."""
    t = Trace()
    t.table(1, 0x100000)
    for i in range(n):
        t.write(1, 0x100000, 1 + i % 511, 0x66660000007, old=0x5555000000007)
    return t.file()


def early_alike(n):
    """Writes of one entry that all wait for the same value."""
    t = Trace()
    t.table(1, 0x100000)
    for i in range(n):
        t.write(1, 0x100000, 7, 0x5555000000007 if i % 9 else 0, old=0x5555000000007)
    return t.file()


def one_entry(n):
    """One entry, written again and again under one old fault."""
    t = Trace()
    t.add(ROOT_LOAD, level=4, words=(0x100000, 0x100000))
    t.add(PAGE_FAULT, fault=7, aux=2, words=(0x1000, 6, 0x1000))
    for i in range(n):
        t.write(4, 0x100000, 0, TABLE, old=TABLE if i else 0, fault=7)
    return t.file()


def dumps(n):
    """A dump's end after each entry of the dump."""
    t = Trace()
    t.add(ROOT_LOAD, level=4, words=(0x100000, 0x100000))
    for i in range(512):
        t.write(4, 0x100000, i, (0x200000 + i * 4096) | TABLE)
    for _ in range(n):
        t.add(DUMP, level=4, words=(0x100000, 0, 0x200000 | TABLE))
        t.add(DUMP_END, words=(1,))
    return t.file()


def escape(_):
    """A machine whose name is an order to the terminal."""
    t = Trace()
    t.machine = b"\x1b]0;PWNED\x07\x1b[31mred\x9b8m"
    t.add(ROOT_LOAD, level=4, words=(0x100000, 0x100000))
    t.write(4, 0x100000, 0, 0x200000 | TABLE)
    return t.file()


def kernel(n):
    """A bzImage of n words that each look like the beginning of a symbol table (tool/symbols/symbols_kallsyms.c)."""
    word = struct.pack("<II", 0x000f4207, 0)  # 999,943 symbols; read as names, length 7 after length 7
    elf = bytearray(b"\x7fELF\x02\x01\x01".ljust(64, b"\0"))
    struct.pack_into("<HHI", elf, 16, 2, 62, 1)
    struct.pack_into("<H", elf, 52, 64)
    struct.pack_into("<HHH", elf, 54, 0, 0, 64)
    tokens = b"".join(bytes([c or 1]) + b"\0" for c in range(256))
    index = b"".join(struct.pack("<H", 2 * i) for i in range(256))
    payload = gzip.compress(bytes(elf) + word * n + tokens + index + b"\0" * 64, 9)
    payload += b"\0" * (-len(payload) % 16)
    setup = bytearray(5 * 512)
    setup[0x1f1] = 4
    struct.pack_into("<H", setup, 0x1fe, 0xaa55)
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, 0x20f)
    struct.pack_into("<I", setup, 0x1f4, len(payload) // 16)
    struct.pack_into("<II", setup, 0x248, 0, len(payload))
    return bytes(setup) + payload


def main():
    kind, path = sys.argv[1:3]
    with open(path, "wb") as file:
        file.write(globals()[kind](int(sys.argv[3]) if len(sys.argv) > 3 else 0))


if __name__ == "__main__":
    main()
