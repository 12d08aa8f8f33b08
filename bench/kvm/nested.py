#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a guest's guest pays: instructions from L2's access to its next instruction (`make bench-nested`).

L1 is Debian's KVM and L2 the guest of a small VMM, twice: once on the visor, and once on Debian's KVM,
which the same VMM of `tests/kvm/vmm/linux.c` boots. The emulator's clock counts instructions.

Prints a table in Markdown; --json FILE writes the figures, too. Fails where docs/nested.md shows other
figures (--write puts them there).
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/kvm/lab"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import held  # noqa: E402
import lab  # noqa: E402

DOCUMENT = "docs/nested.md"
TITLES = {"qemu": "instructions, NPT on QEMU", "bochs": "instructions, EPT on Bochs"}

# Title, the step of the VMM, which of its statistics count.
OPERATIONS = [
    ("CPUID", "cpuid:1000", "median"),
    ("4 KiB page, first touch: least", "write:2048", "min"),
    ("4 KiB page, first touch: median", "write:2048", "median"),
    ("first write under a dirty log: median", "write:2000", "median"),
]
STEPS = "cpuid:100 cpuid:1000 write:2048 log:on write:2000"
NESTED = {"qemu": "npt=1", "bochs": "ept=1"}
L1_WORDS = "console=ttyS0 quiet nokaslr panic=-1 mitigations=off"


class Failed(Exception):
    """A machine has not said what was asked."""


def figures_in(console):
    """{step: {statistic: number}}; a step that comes twice counts with its last line."""
    return {step: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", rest)}
            for step, rest in re.findall(r"^vmm: (\S+) vcpu=0 (.*)$", console.replace("\r", ""), re.M)}


def inner_image(machine, kernel, tools):
    """What L1 runs: its console is all that it says."""
    job = f"exec >/dev/console 2>&1; vmm --memory 40 {STEPS}; echo vmm-ended $?"
    return lab.image(machine, kernel, tools, job, 3000, vendor=NESTED[machine])


def on_visor(machine, build, kernel):
    with tempfile.TemporaryDirectory(prefix="vmmu-nested-") as folder:
        initrd = pathlib.Path(folder, "initrd")
        initrd.write_bytes(inner_image(machine, kernel, build / "kvm-lab"))
        command = [build / "vmmu", "run", "--machine", machine, "--nested", "-q", "--memory", "512M", "--kernel", kernel / "vmlinuz",
                   "--initrd", initrd, "--append", "quiet nokaslr mitigations=off"]
        command += ["--icount"] if machine == "qemu" else []
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=3000)
    if "vmm-ended 0" not in done.stdout:
        raise Failed(f"the visor:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return figures_in(done.stdout)


def on_kvm(machine, build, kernel):
    tools = build / "kvm-lab"
    files = {"/guest/vmlinuz": (kernel / "vmlinuz").read_bytes(), "/guest/initrd": inner_image(machine, kernel, tools)}
    job = f'linux --memory 512 --initrd /guest/initrd --append "{L1_WORDS}" --until vmm-ended /guest/vmlinuz'
    result = lab.run(machine, kernel, tools, job, vendor=NESTED[machine], programs=[tools / "linux"], files=files,
                     icount=machine == "qemu", timeout=3000, progress=True)
    if "vmm-ended 0" not in result.console:
        raise Failed(f"KVM:\n{result.console[-3000:]}")
    return figures_in(result.console)


def table(found, machine="qemu"):
    """Lines in Markdown; figures of a side that was not asked for are left out."""
    sides = list(found)
    lines = [f"| {TITLES[machine]} | " + " | ".join(f"KVM on {side}" for side in sides) + " |" + (" ratio |" if len(sides) == 2 else ""),
             "|---" + "|---:" * (len(sides) + (len(sides) == 2)) + "|"]
    for title, step, statistic in OPERATIONS:
        values = [found[side][step][statistic] for side in sides]
        cells = [f"{value:,}" for value in values] + ([f"{values[1] / values[0]:.1f}"] if len(sides) == 2 else [])
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def off(said, measured):
    """Timers of three kernels come at other instructions each time; a ratio has one decimal."""
    return abs(said - measured) > max(0.05 * measured, 0.06 if measured < 100 else 0)


def hold_document(found, write=False, root=held.ROOT, machine="qemu"):
    """One line for each figure of the document that is not what this run measured."""
    figures = {}
    header, _, *lines = table(found, machine)
    for line in lines:
        title, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        figures.update({(title, column): held.value(cell) for column, cell in enumerate(cells, 1)})
    return held.hold_table(DOCUMENT, header, figures, off, write, root)


def options(about, document):
    """What a comparison of nested guests is asked for."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--machine", choices=list(NESTED), default="qemu")
    parser.add_argument("--side", choices=["visor", "kvm"], action="append", help="only this one")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path(".cache/kernels/cloud-amd64"))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--write", action="store_true", help=f"write the figures into {document}")
    return parser.parse_args()


def main():
    o = options(__doc__, DOCUMENT)
    sides = {"visor": ("the visor", on_visor), "kvm": ("KVM", on_kvm)}
    try:
        found = {title: measure(o.machine, o.build, o.kernel.resolve())
                 for name, (title, measure) in sides.items() if not o.side or name in o.side}
        print("\n".join(table(found, o.machine)))
    except (lab.LabError, Failed, KeyError, subprocess.TimeoutExpired) as why:
        sys.exit(f"nested: {why}")
    if o.json:
        o.json.write_text(json.dumps(found, indent=1) + "\n")
    if o.side:
        return 0
    if o.write:
        hold_document(found, write=True, machine=o.machine)
    wrong = hold_document(found, machine=o.machine)
    for line in wrong:
        print(f"nested: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
