#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The visor and Linux's KVM side by side, in instructions from guest to guest: `make compare`.

Both run on the same emulated machines, QEMU with -icount and Bochs, whose TSC counts
instructions. Both guests execute the same loop (tests/kvm/vmm/measure.h): under KVM in the
small VMM of the lab (tests/kvm/vmm) on Debian's kernel, under the visor in its test guest.
What the loop itself takes is measured on each side, and taken off.

Prints a table for each machine, what differs between the sides, and the rows that are
missing. Writes compare.csv, compare.json and compare.svg to the folder of --out. Says where
docs/performance.md shows other figures (--write puts them there).
"""
import argparse
import csv
import json
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/kvm/lab"))
sys.path.insert(0, str(ROOT / "bench"))
import held  # noqa: E402
import lab  # noqa: E402

DOCUMENT = "docs/performance.md"
VISOR_COLUMNS, RATIO_COLUMNS = (1, 6), (3, 5, 8)  # of its tables; the others are KVM's

KVM_FILE = pathlib.Path(__file__).with_name("kvm.json")
NESTED = {"qemu": "npt", "bochs": "ept"}
TITLE = {"qemu": "QEMU (SVM, NPT)", "bochs": "Bochs (VMX, EPT)"}
# KVM's modes: parameters of kvm.ko and of the vendor's module.
KVM_MODES = {"nested": ("", {"qemu": "", "bochs": ""}),
             "legacy": ("tdp_mmu=0", {"qemu": "", "bochs": ""}),
             "shadow": ("", {"qemu": "npt=0", "bochs": "ept=0"})}
# The VMM's steps, in order, and what of them is a figure.
STEPS_4K = [("nothing", "nothing:1000"), (None, "cpuid:200"), ("cpuid", "cpuid:1000"), ("fault-4k-table", "write:16:512:8192"), ("fault-4k-first", "write:4096"),
            ("mapped-4k", "write:4096"), (None, "deny:4096"), (None, "allow:4096"), ("fault-4k-again", "write:4096"),
            (None, "log:on"), ("dirty-first-write", "write:1024")]
# KVM's own interrupt controllers, which make each exit a little dearer: not in the VM of the other rows.
STEPS_APIC = [("apic-nothing", "nothing:1000"), (None, "apic:4"), ("apic-read", "apic:1000")]
# The guest's own page tables: in a VM of their own as well.
STEPS_PAGED = [("paged-nothing", "nothing:1000"), ("cr3-switch", "switch:512"), ("pf-delivery", "deliver:512"),
               ("demand-fault", "demand:512"), ("copy-on-write", "copy:512")]
STEPS_2M = [("fault-2m-first", "write2m:16"), ("mapped-2m", "write2m:16"), (None, "deny:8192"), (None, "allow:8192"),
            ("fault-2m-again", "write2m:16")]
# Figure, statistic, title, the modes of which it can be said.
ALL = ("nested", "legacy", "shadow")
AROUND = 64  # pages that a violation of the visor's maps at most, in its best mode
ROWS = [
    ("cpuid", "median", "CPUID exit", ALL),
    ("apic-read", "median", "read of the local APIC's ID", ALL),
    ("fault-4k-again", "median", "4 KiB violation, table present", ("nested",)),
    ("fault-4k-asked", "median", "the same, of frames that are no run: the visor's host is asked for each", ("nested",)),
    ("fault-4k-table", "median", "4 KiB violation that needs a new table", ALL),
    ("fault-4k-first", "mean", "4 KiB pages in order, first touch, mean a page", ALL),
    ("fault-4k-again", "mean", "4 KiB pages in order, tables present, mean a page", ALL),
    ("fault-4k-around", "mean", f"the same in the best mode: with up to {AROUND} pages at a violation", ("nested", "legacy")),
    ("fault-2m-first", "min", "2 MiB page, first touch (least of 16)", ALL),
    ("fault-2m-again", "min", "2 MiB page, taken away and touched again (least of 16)", ALL),
    ("dirty-first-write", "median", "first write under a dirty log", ALL),
    ("cr3-switch", "median", "the guest loads CR3", ALL),
    ("pf-delivery", "median", "the guest's own #PF, to its handler and back", ALL),
    ("demand-fault", "median", "... which makes the entry; the access again", ALL),
    ("copy-on-write", "median", "... which changes the entry for a write; INVLPG; the access again", ALL),
]
MISSING = [
    "PML in the visor: it takes an exit for each first write under a dirty log, where kvm-intel takes none",
    "a boot of Linux: `make claims` has it, beside figures of KVM that were taken by hand",
]
DIFFERENCES = [
    "KVM finds a page by way of the process that backs it (gfn -> hva -> pfn: its page tables, a reference count); the "
    "visor owns its frames. Where they are one run (--prealloc, all rows but one) its engine need not ask for each page; "
    "where they are not, the visor finds one in an array. No backing of the visor's looks up the same way as KVM, so this "
    "part of KVM's figure is not told apart.",
    "Taken away: KVM by mprotect and back, which its MMU notifier hears of; the visor by a command of its test device. The "
    "tables of both stay.",
    "Dirty log: KVM protects pages that are mapped; the visor's slot has the log from the beginning, and the page was read "
    "before. kvm-intel logs by PML: no exit, and its figure is the write alone.",
    "The best mode for pages in order is the visor's --fault-around, and KVM's legacy paging; KVM's other has nothing like it.",
    "KVM's legacy and shadow paging map up to 7 neighbours at a fault, the visor's shadow paging 16 or 64: the mean "
    "over pages in order says what a page costs.",
    "KVM on QEMU decodes the instruction that exits, as its SVM saves no next RIP; the visor reads its two bytes.",
    "A new table: the least that a first touch in 2 MiB can find missing. KVM clears a frame for it, the visor has one from "
    "its stock, which it clears before the start and while the guest sleeps (512 of KVM's instructions); the visor's shadow "
    "paging fills 16 of its entries, and 64 at a time where the guest goes on in order; KVM's fills 8.",
    "mitigations=off in KVM's kernel; the visor does what the CPU asks for, and these CPUs ask for nothing.",
]


class Failed(Exception):
    """No comparison."""


class Progress:
    def __init__(self, total):
        self.total, self.done, self.begin = total, 0, time.monotonic()

    def next(self, what):
        self.done += 1
        print(f"compare: {self.done}/{self.total}, {time.monotonic() - self.begin:.0f} s: {what}", file=sys.stderr, flush=True)


# ---- the two sides -----------------------------------------------------------------


def statistics(text):
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}


def visor_run(build, machine, mode, page, around=0, run=True):
    """{figure: statistics} of one run of the test guest."""
    command = [str(build / "vmmu"), "run", "--machine", machine, "--quiet", "--page-size", page, "--memory", "128M",
               "--test-device", "--timeout", "400", "--kernel", str(build / "guest/guest.elf"), "--append",
               f"tests=compare page={page}" + (" mmu=shadow" if mode == "shadow" else "") + (f" around={around}" if around else "")]
    command += ["--fault-around", str(around)] if around else []
    command += ["--prealloc"] if run else []
    command += ["--icount"] if machine == "qemu" else []
    command += ["--mmu", "shadow"] if mode == "shadow" else []
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{shlex.join(command)}\nended with status {done.returncode}:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return {name: statistics(rest) for name, rest in re.findall(r"^FIGURE (\S+) (.*)$", done.stdout.replace("\r", ""), re.M)}


def visor_figures(build, machine, mode, progress):
    progress.next(f"the visor, {mode if mode == 'shadow' else NESTED[machine]}, on {machine}")
    small, large = (visor_run(build, machine, mode, page) for page in ("4k", "2m"))
    found = {**small, **{name: value for name, value in large.items() if "2m" in name}}
    if mode != "shadow":
        found["fault-4k-around"] = visor_run(build, machine, mode, "4k", AROUND)["fault-4k-around"]
        found["fault-4k-asked"] = visor_run(build, machine, mode, "4k", run=False)["fault-4k-again"]
    return found


def steps_of(log, steps):
    """The lines of the VMM's steps, which come in order; those without a report have none."""
    lines = re.findall(r"^vmm: (\S+) vcpu=0 (.*)$", log, re.M)
    timed = [(name, step) for name, step in steps if step.split(":")[0] in ("nothing", "cpuid", "apic", "write", "write2m",
                                                                                   "switch", "deliver", "demand", "copy")]
    if [step for _, step in timed] != [step for step, _ in lines]:
        raise Failed(f"the small VMM has not carried out its steps:\n{log[-1500:]}")
    return {name: statistics(rest) for (name, _), (_, rest) in zip(timed, lines) if name}


def kvm_figures(build, kernel, machine, mode, progress):
    progress.next(f"KVM, {NESTED[machine] if mode == 'nested' else mode}, in Debian's kernel on {machine}")
    job = "".join(f"vmm --memory 64 {words} {' '.join(step for _, step in steps)} >/out/{name}.log 2>&1 || exit 1\n"
                  for name, words, steps in (("4k", "", STEPS_4K), ("apic", "--irqchip", STEPS_APIC), ("paged", "", STEPS_PAGED), ("2m", "--huge", STEPS_2M)))
    kvm, vendor = KVM_MODES[mode][0], KVM_MODES[mode][1][machine]
    result = lab.run(machine, kernel, build / "kvm-lab", job, kvm=kvm, vendor=vendor, icount=machine == "qemu", progress=True)
    logs = [result.files.get(name, b"").decode(errors="replace") for name in ("4k.log", "apic.log", "paged.log", "2m.log")]
    if result.status:
        raise Failed("the small VMM failed:\n" + "\n".join(log[-1000:] for log in logs))
    found = {**steps_of(logs[0], STEPS_4K), **steps_of(logs[1], STEPS_APIC), **steps_of(logs[2], STEPS_PAGED),
             **steps_of(logs[3], STEPS_2M)}
    found["fault-4k-around"] = found["fault-4k-again"]  # legacy paging maps neighbours without being told
    found["fault-4k-asked"] = found["fault-4k-again"]   # it looks up each page in any case
    return found


# ---- what comes out ----------------------------------------------------------------


def value_of(figures, figure, statistic):
    """Instructions of the access alone, never below 0; None: not measured."""
    if figures is None or figure not in figures:
        return None
    return max(figures[figure][statistic] - figures["nothing"]["median"], 0)


def ratio(kvm, visor):
    if kvm is None or visor is None:
        return ""
    if not kvm:
        return "no exit"
    return f"{kvm / max(visor, 1):.1f}"


def cell(value):
    return "" if value is None else f"{value:,}"


def table_of(found, machine):
    """Lines of the machine's table in Markdown."""
    nested = NESTED[machine].upper()
    lines = [f"| instructions, {TITLE[machine]} | visor {nested} | KVM {nested} | ratio | KVM legacy | ratio | visor shadow | KVM shadow | ratio |",
             "|---" + "|---:" * 8 + "|"]
    for figure, statistic, title, modes in ROWS:
        def of(side, mode, wanted):
            return value_of(found.get((machine, side, mode)), figure, statistic) if wanted in modes else None
        visor, kvm = of("visor", "nested", "nested"), of("kvm", "nested", "nested")
        legacy = of("kvm", "legacy", "legacy")
        visor_shadow, kvm_shadow = of("visor", "shadow", "shadow"), of("kvm", "shadow", "shadow")
        lines.append(f"| {title} | {cell(visor)} | {cell(kvm)} | {ratio(kvm, visor)} | {cell(legacy)} | {ratio(legacy, visor)} | "
                     f"{cell(visor_shadow)} | {cell(kvm_shadow)} | {ratio(kvm_shadow, visor_shadow)} |")
    return lines


def off(said, measured):
    """A timer interrupt comes now and then."""
    return abs(said - measured) > max(0.02 * measured, 4)


def off_by_kvm(said, measured):
    """KVM takes 600 instructions more or less for the same from run to run (3,527 and 4,127, 8,845 and 9,445)."""
    return abs(said - measured) > max(0.2 * measured, 4)


def ratio_off(said, measured):
    return abs(said - measured) > max(0.2 * measured, 0.3)


def hold_document(found, machines, write=False, root=ROOT):
    """One line for each figure of docs/performance.md that is not what this run measured."""
    wrong = []
    for machine in machines:
        ours, kvms, ratios = {}, {}, {}
        for line in table_of(found, machine)[2:]:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            for column in range(1, len(cells)):
                if held.NUMBER.fullmatch(cells[column]):
                    figures = ours if column in VISOR_COLUMNS else ratios if column in RATIO_COLUMNS else kvms
                    figures[cells[0], column] = held.value(cells[column])
        for figures, how_far in ((ours, off), (kvms, off_by_kvm), (ratios, ratio_off)):
            wrong += held.hold_table(DOCUMENT, f"| instructions, {TITLE[machine]} |", figures, how_far, write, root)
    return wrong


def records(found):
    for (machine, side, mode), figures in found.items():
        for figure, statistic, title, modes in ROWS:
            value = value_of(figures, figure, statistic) if mode in modes else None
            if value is not None:
                yield {"machine": machine, "side": side, "mode": mode, "operation": title, "figure": figure,
                       "statistic": statistic, "instructions": value}


def write_csv(found, path):
    rows = list(records(found))
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def plot(found, machines, path):
    """Bars of every row, one picture for each machine, on a logarithmic scale."""
    sides = [("visor", "nested"), ("kvm", "nested"), ("kvm", "legacy"), ("visor", "shadow"), ("kvm", "shadow")]
    script = [f"set terminal svg size 1100,{480 * len(machines)} font 'sans,11'", f"set output '{path}'",
              f"set multiplot layout {len(machines)},1", "set style data histograms", "set style fill solid 0.8",
              "set logscale y", "set yrange [1:*]", "set ylabel 'instructions'", "set key outside top center horizontal",
              "set xtics rotate by -12 font 'sans,9'", "set grid ytics", "set datafile missing '?'"]
    for machine in machines:
        lines = []
        for figure, statistic, title, modes in ROWS:
            values = [value_of(found.get((machine, side, mode)), figure, statistic) if mode in modes else None for side, mode in sides]
            lines.append(f'"{title}" ' + " ".join("?" if v is None else str(max(v, 1)) for v in values))
        titles = [f"visor {NESTED[machine]}", f"KVM {NESTED[machine]}", "KVM legacy", "visor shadow", "KVM shadow"]
        script += [f"${machine} << END", *lines, "END", f"set title '{TITLE[machine]}'",
                   "plot " + ", ".join(f"${machine} using {i + 2}:xtic(1) title '{t}'" for i, t in enumerate(titles))]
    done = subprocess.run(["gnuplot"], input="\n".join(script) + "\n", capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"gnuplot: {done.stderr[-800:]}")


def kvm_alone(found, machines):
    """KVM's figures of the nested mode, for bench.py."""
    names = {"apic-read": "mmio-read"}
    return {machine: {names.get(figure, figure): value_of(found[machine, "kvm", "nested"], figure, "min" if "2m" in figure else "median")
                      for figure in ("apic-read", "cpuid", "fault-4k-first", "fault-4k-again", "fault-2m-first", "fault-2m-again", "dirty-first-write")}
            | {"fault-4k-around": min(value_of(found[machine, "kvm", mode], "fault-4k-around", "mean") for mode in ("nested", "legacy"))}
            for machine in machines}


def measure(build, kernel, machines):
    progress = Progress(len(machines) * (2 + len(KVM_MODES)))
    found = {}
    for machine in machines:
        for mode in ("nested", "shadow"):
            found[machine, "visor", mode] = visor_figures(build, machine, mode, progress)
        for mode in KVM_MODES:
            found[machine, "kvm", mode] = kvm_figures(build, kernel, machine, mode, progress)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="build directory")
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path(".cache/kernels/cloud-amd64"), help="Debian's, with its modules")
    parser.add_argument("--machine", choices=["all", *NESTED], default="all")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the files (default BUILD/compare)")
    parser.add_argument("--update", action="store_true", help=f"keep KVM's figures in {KVM_FILE.relative_to(ROOT)}, which make bench prints")
    parser.add_argument("--write", action="store_true", help=f"write the figures into {DOCUMENT}")
    o = parser.parse_args()
    machines = list(NESTED) if o.machine == "all" else [o.machine]
    out = o.out or o.build / "compare"
    try:
        found = measure(o.build, o.kernel, machines)
        out.mkdir(parents=True, exist_ok=True)
        write_csv(found, out / "compare.csv")
        (out / "compare.json").write_text(json.dumps(list(records(found)), indent=1) + "\n")
        plot(found, machines, out / "compare.svg")
        if o.update:
            kept = json.loads(KVM_FILE.read_text()) if KVM_FILE.exists() else {}
            KVM_FILE.write_text(json.dumps({**kept, **kvm_alone(found, machines)}, indent=1) + "\n")
    except (Failed, lab.LabError, OSError) as why:
        print(f"compare: {why}", file=sys.stderr)
        return 2
    for machine in machines:
        print("\n".join(table_of(found, machine)), end="\n\n")
    print("A ratio is KVM's figure divided by the visor's for the same kind of tables.\n\nWhat differs between the sides:")
    print("\n".join(f"- {line}" for line in DIFFERENCES))
    print("\nMissing:")
    print("\n".join(f"- {line}" for line in MISSING))
    print(f"\nFiles: {out}/compare.csv, compare.json, compare.svg")
    wrong = hold_document(found, machines, o.write)
    for line in [] if o.write else wrong:
        print(f"compare: {line}", file=sys.stderr)
    return 1 if wrong and not o.write else 0


if __name__ == "__main__":
    sys.exit(main())
