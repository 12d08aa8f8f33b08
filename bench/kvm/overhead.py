#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What recording costs the VM: instructions from a guest's access to its next instruction, without a recording and
with one. KVM of Debian's kernel with NPT inside QEMU, whose clock counts instructions (`make bench-record`).

Prints a table in Markdown; --json FILE writes the figures, too. Fails where docs/kvm-recording.md
or docs/kvm.md shows other figures (--write puts them there).
"""

import argparse
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/kvm/lab"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import held  # noqa: E402
import lab  # noqa: E402

TABLE, SUMMARY = "docs/kvm-recording.md", "docs/kvm.md"
HEADER = "| instructions, median | not recorded |"
EVENTS = 2  # that a write under a dirty log records: the fault, and the change of the entry

# Title, the step of the VMM whose median counts, the step as it is printed.
OPERATIONS = [
    ("4 KiB page, first touch", "write:4096"),
    ("4 KiB page, first touch of 2 MiB: a table as well", "write:30:512:4608"),
    ("first write under a dirty log", "write:4000"),
    ("CPUID: an exit without any entry", "cpuid:1000"),
]
STEPS = "cpuid:200 cpuid:1000 write:4096 write:30:512:4608 log:on write:4000"
MODES = [
    ("not recorded", ""),
    ("`vmmu record`", "vmmu record --quiet --buffer 32M -o /tmp/r.dat -- "),
    ("`--exits`", "vmmu record --quiet --buffer 32M --exits -o /tmp/r.dat -- "),
]


def measure(build, kernel):
    """{mode: {step: median}}"""
    job = "".join(f"{command}vmm --memory 80 {STEPS} >/out/{i}.log 2>&1 || exit 1\n"
                  for i, (_, command) in enumerate(MODES))
    result = lab.run("qemu", kernel, build / "kvm-lab", job, programs=[build / "vmmu"], icount=True, timeout=600)
    logs = [result.files.get(f"{i}.log", b"").decode() for i in range(len(MODES))]
    if result.status:
        raise lab.LabError("\n".join(logs))
    return [dict(re.findall(r"^vmm: (\S+) vcpu=0 .* median=(\d+)", log, re.M)) for log in logs]


def more(usual, figure):
    """In per cent."""
    return (figure - usual) * 100 / usual


def off(said, measured):
    """Of a per cent that is one or two more or less, and of a timer interrupt."""
    return abs(said - measured) > max(2, 0.02 * measured)


def about(said, measured):
    return abs(said - measured) > 0.05 * measured


def hold_documents(rows, write=False, root=held.ROOT):
    """One line for each figure of the documents that is not what this run measured; rows: [(title, figure of each mode)]."""
    figures, by_title = {}, dict(rows)
    for title, (usual, *others) in rows:
        figures[title, 1] = usual
        figures.update({(title, column): [figure, more(usual, figure)] for column, figure in enumerate(others, 2)})
    touch, log = by_title[OPERATIONS[0][0]], by_title[OPERATIONS[2][0]]
    event = (log[1] - log[0]) / EVENTS
    return held.hold_table(TABLE, HEADER, figures, off, write, root) + \
        held.hold_words(TABLE, r"About (\d+) instructions for an event", [event], about, write, root) + \
        held.hold_words(SUMMARY, r"some (\d+) instructions for each event, which makes a first touch of a 4 KiB page (\d+) % more",
                        [event, more(touch[0], touch[1])], about, False, root)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path(".cache/kernels/cloud-amd64"))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--write", action="store_true", help=f"write the figures into {TABLE}")
    o = parser.parse_args()
    try:
        found = measure(o.build, o.kernel)
        rows = [(title, [int(figures[step]) for figures in found]) for title, step in OPERATIONS]
    except (lab.LabError, KeyError) as why:
        sys.exit(f"overhead: {why}")
    print("| instructions, median | " + " | ".join(title for title, _ in MODES) + " |")
    print("|---" * (len(MODES) + 1) + "|")
    for title, figures in rows:
        cells = [f"{figures[0]:,}"] + [f"{n:,} ({more(figures[0], n):+.0f} %)" for n in figures[1:]]
        print(f"| {title} | " + " | ".join(cells) + " |")
    if o.json:
        o.json.write_text(json.dumps([{"operation": title, "instructions": dict(zip((m for m, _ in MODES), figures))}
                                      for title, figures in rows], indent=1) + "\n")
    if o.write:
        hold_documents(rows, write=True)
    wrong = hold_documents(rows)
    for line in wrong:
        print(f"overhead: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
