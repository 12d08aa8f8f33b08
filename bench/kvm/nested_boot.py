#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What it takes to boot Linux two levels down: exits by level and cause, and tables (`make bench-nested-boot`).

L1 is Debian's kernel with KVM, whose VMM (`tests/kvm/vmm/linux.c`) boots the same kernel as L2 to the workload of
the boot tests. L1 runs twice: on the visor, which counts its exits itself, and on Debian's KVM, whose
tracepoints kvm_exit, kvm_nested_vmexit and kvm_nested_vmexit_inject and whose statistics are read.

Prints a table in Markdown; --json FILE writes the figures, too. Fails where docs/nested.md shows other
figures of QEMU (--write puts them there).
"""

import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/kvm/lab"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import held  # noqa: E402
import lab  # noqa: E402
import linux_image  # noqa: E402
import nested  # noqa: E402

DOCUMENT, HEADER = nested.DOCUMENT, "| Linux as L2 | KVM on the visor | KVM on KVM |"
LIMIT = 3000
PASSED = "vmmu-workload: PASS"
EVENTS = ("kvm_exit", "kvm_nested_vmexit", "kvm_nested_vmexit_inject")

# Of each kind of exit: what the visor's summary calls it, and the CPU's numbers (AMD APM vol. 2, appendix C; Intel SDM
# vol. 3, appendix C). "other" has all the rest.
KINDS = {
    "fault": (("npf", "ept-violation", "ept-misconfig"), {"qemu": (0x400,), "bochs": (48, 49)}),
    "entry": (("nested-entry",), {"qemu": (0x80,), "bochs": (20, 24)}),
    "instruction": (("nested-instruction",), {"qemu": (0x82, 0x83, 0x84, 0x85), "bochs": (19, 21, 22, 23, 25, 26, 27, 50, 53)}),
    "msr": (("msr-read", "msr-write"), {"qemu": (0x7c,), "bochs": (31, 32)}),
    "io": (("io",), {"qemu": (0x7b,), "bochs": (30,)}),
}

# Title, level, kind or None for all of them, only those that L1 was told of.
ROWS = [
    ("exits of L1", "L1", None, False),
    ("... SVM's or VMX's instructions but for the entry", "L1", "instruction", False),
    ("... VMRUN, VM entry", "L1", "entry", False),
    ("... MSRs", "L1", "msr", False),
    ("... ports", "L1", "io", False),
    ("... memory faults", "L1", "fault", False),
    ("... all others", "L1", "other", False),
    ("exits of L2", "L2", None, False),
    ("... memory faults", "L2", "fault", False),
    ("... told to L1", "L2", "fault", True),
    ("... all others", "L2", "rest", False),
    ("... told to L1", "L2", "rest", True),
]


class Failed(Exception):
    """A machine has not said what was asked."""


# ---- what the machines say ---------------------------------------------------------------


def histogram(text):
    """{number: hits} of a tracefs histogram of one key."""
    return {int(key, 0): int(hits) for key, hits in re.findall(r"^\{ \w+:\s*(\w+)[^}]*\} hitcount:\s*(\d+)", text, re.M)}


def statistics(text):
    """{name: number} of KVM's statistics, a line for each."""
    return {name: int(number) for name, number in re.findall(r"^(\w+) (\d+)$", text, re.M)}


def by_kind(counted, names):
    """Exits of {name or number: count} by the kinds of KINDS; names(kind) are those of a kind."""
    found = collections.Counter({kind: sum(counted.get(name, 0) for name in names(kind)) for kind in KINDS})
    found["other"] = sum(counted.values()) - sum(found.values())
    return found


def from_visor(report):
    """Figures out of the file of `vmmu run --report`."""
    summary = report["summary"]
    l2 = collections.Counter(summary["exits_l2"])
    l1 = collections.Counter(summary["exits"])
    l1.subtract(l2)
    told_faults = summary["faults"].get("reflect-to-l1", 0)
    return {
        "L1": by_kind(l1, lambda kind: KINDS[kind][0]),
        "L2": by_kind(l2, lambda kind: KINDS[kind][0]),
        "told": {"fault": told_faults, "rest": l2["nested-exit"]},
        "tables": sum(summary["tables_made_nested"].values()),
        "ms": summary["guest_ns"] // 10**6,
    }


def from_kvm(machine, files):
    """Figures out of what the lab's job has left: histograms, statistics, the time before and after."""
    exits, of_l2, told = (histogram(files[event].decode()) for event in EVENTS)
    if not exits or not of_l2:
        raise Failed("KVM's tracepoints have counted nothing")
    l1 = collections.Counter(exits)
    l1.subtract(of_l2)
    names = lambda kind: KINDS[kind][1][machine]  # noqa: E731
    told_by_kind = by_kind(told, names)
    begin, end = (float(files[name].split()[0]) for name in ("begin", "end"))
    return {
        "L1": by_kind(l1, names),
        "L2": by_kind(of_l2, names),
        "told": {"fault": told_by_kind["fault"], "rest": sum(told_by_kind.values()) - told_by_kind["fault"]},
        "tables": statistics(files["stats"].decode())["mmu_cache_miss"],
        "ms": round((end - begin) * 1000),
    }


# ---- the machines -------------------------------------------------------------------------


def inner_image(machine, build, kernel):
    """What L1 runs: the VMM that boots the same kernel."""
    return linux_image.image(machine, kernel, build / "kvm-lab", build / "initramfs/workload.cpio.gz", LIMIT)


def tell(what):
    print(f"nested-boot: {what}", file=sys.stderr, flush=True)


def patiently(command, console):
    """Run it with its output in a file, and say every ten seconds how far the console has come."""
    begin = shown = time.monotonic()
    with open(console, "wb") as out, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            while process.poll() is None:
                time.sleep(0.2)
                now = time.monotonic()
                if now - begin > LIMIT:
                    raise Failed(f"no end after {LIMIT} s")
                if now - shown >= 10:
                    lines = console.read_text(errors="replace").split("\n")
                    tell(f"{now - begin:.0f} s, {next((line.strip() for line in reversed(lines) if line.strip()), 'nothing on the console yet')}")
                    shown = now
        finally:
            if process.poll() is None:
                process.terminate()
    return console.read_text(errors="replace")


def require_pass(console, whose):
    if PASSED not in console or "linux-ended 0" not in console:
        raise Failed(f"{whose}: L2 has not passed its workload:\n{console[-3000:]}")


def on_visor(machine, build, kernel):
    with tempfile.TemporaryDirectory(prefix="vmmu-nested-") as folder:
        initrd, report, console = (pathlib.Path(folder, name) for name in ("initrd", "report", "console"))
        initrd.write_bytes(inner_image(machine, build, kernel))
        command = [build / "vmmu", "run", "--machine", machine, "--nested", "-q", "--memory", "512M", "--report", report,
                   "--kernel", kernel / "vmlinuz", "--initrd", initrd, "--append", "quiet nokaslr mitigations=off"]
        command += ["--icount"] if machine == "qemu" else []
        require_pass(patiently(command, console), "the visor")
        return from_visor(json.loads(report.read_text()))


JOB = """cd /sys/kernel/tracing
for event in kvm_exit kvm_nested_vmexit; do echo hist:keys=exit_reason:size=2048 >events/kvm/$event/trigger || exit 9; done
echo hist:keys=exit_code:size=2048 >events/kvm/kvm_nested_vmexit_inject/trigger || exit 9
cat /proc/uptime >/out/begin
linux --memory 512 --initrd /guest/initrd --append "%s" --until linux-ended --stats /out/stats /guest/vmlinuz
status=$?
cat /proc/uptime >/out/end
for event in %s; do cat events/kvm/$event/hist >/out/$event; done
exit $status
"""


def on_kvm(machine, build, kernel):
    tools = build / "kvm-lab"
    files = {"/guest/vmlinuz": (kernel / "vmlinuz").read_bytes(), "/guest/initrd": inner_image(machine, build, kernel)}
    result = lab.run(machine, kernel, tools, JOB % (nested.L1_WORDS, " ".join(EVENTS)), vendor=nested.NESTED[machine], programs=[tools / "linux"],
                     files=files, memory=1280, icount=machine == "qemu", timeout=LIMIT, progress=True)
    require_pass(result.console, "KVM")
    if result.status:
        raise Failed(f"KVM: the job ended with {result.status}:\n{result.console[-3000:]}")
    return from_kvm(machine, result.files)


# ---- the table ------------------------------------------------------------------------------


def value(side, level, kind, told):
    counts = side[level]
    if told:
        return side["told"][kind]
    if kind is None:
        return sum(counts.values())
    return sum(counts.values()) - counts["fault"] if kind == "rest" else counts[kind]


def cells(found):
    """(title, [figure of each side]) for each row."""
    sides = list(found.values())
    return [(title, [value(side, level, kind, told) for side in sides]) for title, level, kind, told in ROWS] + \
           [("tables made for L2", [side["tables"] for side in sides]),
            ("virtual time, ms", [side["ms"] for side in sides])]


def table(found):
    """Lines in Markdown; a side that was not asked for has no column."""
    return ["| Linux as L2 | " + " | ".join(f"KVM on {side}" for side in found) + " |", "|---" + "|---:" * len(found) + "|"] + \
           [f"| {title} | " + " | ".join(f"{figure:,}" for figure in figures) + " |" for title, figures in cells(found)]


def off(said, measured):
    """Timers of three kernels come at other instructions each time."""
    return abs(said - measured) > max(0.1 * measured, 50)


def hold_document(found, write=False, root=held.ROOT):
    """One line for each figure of the document that is not what this run measured. Rows are told apart by their order."""
    path, wrong = root / DOCUMENT, []
    lines = path.read_text().splitlines(keepends=True)
    shown, wanted = list(held.rows(lines, HEADER)), cells(found)
    if [row[0] for _, row in shown] != [title for title, _ in wanted]:
        return [f'{DOCUMENT}: the table "{HEADER}" has other rows']
    for (number, row), (title, figures) in zip(shown, wanted):
        for column, figure in enumerate(figures, 1):
            row[column], bad = held.replaced(row[column], [figure], off)
            wrong += [f"{DOCUMENT}:{number + 1}: {title}: {said}, measured {held.plain(now)}" for said, now in bad]
        lines[number] = "| " + " | ".join(row) + " |\n"
    if write:
        path.write_text("".join(lines))
    return wrong


def main():
    o = nested.options(__doc__, DOCUMENT)
    sides = {"visor": ("the visor", on_visor), "kvm": ("KVM", on_kvm)}
    found = {}
    try:
        for name, (title, measure) in sides.items():
            if not o.side or name in o.side:
                tell(f"Linux in KVM on {title}, {o.machine}")
                found[title] = measure(o.machine, o.build, o.kernel.resolve())
    except (lab.LabError, Failed, KeyError, OSError) as why:
        sys.exit(f"nested-boot: {why!r}" if isinstance(why, KeyError) else f"nested-boot: {why}")
    print("\n".join(table(found)))
    if o.json:
        o.json.write_text(json.dumps(found, indent=1) + "\n")
    if o.machine != "qemu" or o.side:
        return 0
    if o.write:
        hold_document(found, write=True)
    wrong = hold_document(found)
    for line in wrong:
        print(f"nested-boot: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
