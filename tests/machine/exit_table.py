# SPDX-License-Identifier: BSD-2-Clause
"""The exits of Debian's kernels that docs/visor.md shows ("Kernels and machines"): held to the machine
tests' own runs, or written from them (machine_test.py --write).

A figure may be off by a twentieth, or by 64. All exits of QEMU under NPT are not held: that machine's
clock is the host's, so a busy host makes more timer interrupts. The others count instructions.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import held  # noqa: E402

DOCUMENT, HEADER = "docs/visor.md", "| kernel, largest page | NPT, QEMU |"
PART, NEAR = 0.05, 64
COLUMNS = {("qemu", ""): 1, ("bochs", ""): 2, ("qemu", "shadow"): 3, ("bochs", "shadow"): 4}
KERNELS = {"linux": "cloud-amd64, 4 levels", "linux-pae": "686-pae", "linux-32": "686",
           "linux-5-level": "cloud-amd64, 5 levels", "linux-kpti": "cloud-amd64, `pti=on`"}
PAGES = {"4k": "4 KiB", "2m": "2 MiB"}
MEMORY = ("ept-violation", "ept-misconfiguration", "npf", "page-fault")
NAME = re.compile(r"(qemu|bochs)-(?:(shadow)-)?(linux(?:-\w+)*?)-(4k|2m)")


def place(name):
    """(row, column) of a case, or None: the table does not have it."""
    found = NAME.fullmatch(name)
    if not found or found[3] not in KERNELS:
        return None
    return f"{KERNELS[found[3]]}, {PAGES[found[4]]}", COLUMNS[found[1], found[2] or ""]


def figures(exits, column):
    """All exits, those for memory and, on shadow tables, those for loads of CR3."""
    counted = [sum(exits.values()), sum(exits.get(name, 0) for name in MEMORY)]
    return counted + ([exits["cr3-write"]] if column > 2 else [])


def off(said, measured):
    return abs(said - measured) > max(NEAR, PART * max(said, measured))


def differences(name, exits, root=ROOT):
    """What the document says otherwise of this case; the document need not have it."""
    at = place(name)
    if not at:
        return []
    counted = figures(exits, at[1])
    return held.hold_table(DOCUMENT, HEADER, {at: [None, *counted[1:]] if at[1] == 1 else counted}, off, root=root)


def write(exits_of, root=ROOT):
    """Put all of these cases into the document: name -> exits."""
    at = {place(name): figures(exits, place(name)[1]) for name, exits in exits_of.items() if place(name)}
    held.hold_table(DOCUMENT, HEADER, at, off, write=True, root=root)
