#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The figures of the README, measured here: `make bench`.

Two tables in Markdown, each with the commands that make it, and whether README.md shows
the same figures (--write puts them there). Instructions are
counted by the emulators themselves: QEMU with -icount shift=0,sleep=off and
Bochs advance the TSC by one per instruction, the visor's included, so the
figures repeat.
"""
import argparse
import json
import pathlib
import re
import shlex
import subprocess
import sys

import held

MACHINES = {"qemu": "NPT on QEMU", "bochs": "EPT on Bochs"}
MIB = 1 << 20
TIMEOUT = 300  # seconds, for one run
README_BOOTS = "| machine, largest page |"
README_INSTRUCTIONS = "| operation | NPT | traced | KVM |"
README_OPERATIONS = {"4 KiB fault, table present": "fault-4k-again", "2 MiB fault, first touch": "fault-2m-first",
                     "4 KiB pages in order, best mode, a page": "fault-4k-around",
                     "first write under a dirty log": "dirty-first-write", "CPUID exit": "cpuid"}
README_COLUMNS = {("qemu", False): 1, ("qemu", True): 2, ("bochs", False): 4, ("bochs", True): 5}

AROUND = 64  # pages
MEANS = {"fault-4k-around"}  # one page in so many exits: a median says nothing

# Linux 6.1's KVM as the hypervisor, on the same emulated machines with the same way of
# counting: `make compare COMPARE_ARGS=--update` measures it. Median, instructions.
KVM = json.loads(pathlib.Path(__file__).with_name("compare").joinpath("kvm.json").read_text())
OPERATIONS = {
    "cpuid": "CPUID exit",
    "mmio-read": "read of a local APIC register",
    "fault-4k-first": "4 KiB fault, first touch",
    "fault-4k-again": "4 KiB fault, table present",
    "fault-4k-random": "4 KiB fault, table present, random order",
    "fault-4k-around": f"4 KiB pages in order, up to {AROUND} at a violation",
    "fault-2m-first": "2 MiB fault, first touch",
    "fault-2m-again": "2 MiB fault, table present",
    "dirty-first-write": "first write under a dirty log",
}


class Bench:
    def __init__(self, build, linux):
        self.vmmu = (build / "vmmu").resolve()
        self.guest = build / "guest" / "guest.elf"
        self.initrd = build / "initramfs" / "run.cpio.gz"
        self.linux = linux
        self.work = build / "bench"
        self.work.mkdir(parents=True, exist_ok=True)

    def run(self, words):
        """Run `vmmu run` with these words: its report and the console's text."""
        report = self.work / "report.json"
        command = [str(w) for w in [self.vmmu, "run", "--timeout", TIMEOUT, *words]]
        done = subprocess.run([*command, "--report", str(report)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"bench: {shlex.join(command)}\nended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr}")
        return json.loads(report.read_text()), done.stdout

    def boot_words(self, machine, page_size):
        return ["--machine", machine, "--page-size", page_size, "--memory", "256M", "--kernel", self.linux,
                "--initrd", self.initrd, "--append", "quiet"]

    def guest_words(self, machine, page_size, trace, around=0):
        words = ["--machine", machine, "--page-size", page_size, "--memory", "128M", "--prealloc", "--test-device",
                 "--kernel", self.guest, "--append", f"tests=bench page={page_size}" + (f" around={around}" if around else "")]
        if around:
            words += ["--fault-around", around]
        if machine == "qemu":
            words.append("--icount")
        return words + (["--trace", self.work / "trace"] if trace else [])


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def commands(lines):
    print("```sh")
    for words in lines:
        print("build/vmmu run " + shlex.join(str(w) for w in words))
    print("```\n")


def number(value):
    return f"{value:,}"


# ---- Linux boots -----------------------------------------------------------------

def mapped_bytes(summary):
    mapped = summary["mapped"]
    return mapped["4k"] * 4096 + mapped["2m"] * 2 * MIB + mapped["1g"] * 1024 * MIB


def boot_row(machine, page_size, report):
    summary = report["summary"]
    written = {}
    for levels in summary["entries"].values():
        for level, count in levels.items():
            written[level] = written.get(level, 0) + count
    exits = summary["exits"]
    faults = sum(exits.get(name, 0) for name in ("ept-violation", "ept-misconfiguration", "npf"))
    devices = summary["faults"].get("emulate-mmio", 0)
    per_gib = summary["table_bytes"] * 1024 * MIB // max(mapped_bytes(summary), 1)
    return [f"{MACHINES[machine]}, {page_size.replace('k', ' KiB').replace('m', ' MiB')}", number(faults - devices), number(devices),
            *(number(written.get(str(level), 0)) for level in (1, 2, 3, 4)),
            f"{summary['table_bytes'] // 1024} KiB", f"{per_gib / 1024:,.0f} KiB",
            f"{exits['cr3-write'] + exits['cr3-read']} / {exits['invlpg']}", f"{report['seconds']:.0f} s"]


def linux_boots(bench, machines):
    print("Debian's kernel to user space and off, 256 MiB of guest memory:\n")
    words = [(m, p, bench.boot_words(m, p)) for m in machines for p in ("4k", "2m")]
    rows = [boot_row(machine, page_size, bench.run(line)[0]) for machine, page_size, line in words]
    table(["machine, largest page", "violations", "device accesses", "entries, level 1", "level 2", "level 3", "level 4", "tables",
           "tables per GiB mapped", "CR3 / INVLPG exits", "real time"], rows)
    commands(line for _, _, line in words)
    return rows


def boots_off(said, measured):
    """Timers come at other moments of each boot."""
    return abs(said - measured) > max(16, 0.02 * measured)


def instructions_off(said, measured):
    return abs(said - measured) > max(4, 0.02 * measured)


def traced_mean_off(said, measured):
    """The trace's disk is the host's: in one run a mean was 1,044 and in another 1,525."""
    return abs(said - measured) > 0.5 * measured


def held_boots(rows):
    """What README.md must show of linux_boots()."""
    shown = [(row[0], [*row[1:8], row[9]]) for row in rows]
    return {(name, column): [held.value(n) for n in held.NUMBER.findall(cell)]
            for name, cells in shown for column, cell in enumerate(cells, 1)}


def held_instructions(results):
    """What README.md must show of instructions(): what repeats, and the means of traced operations."""
    exact, means = {}, {}
    for (machine, traced), found in results.items():
        for title, name in README_OPERATIONS.items():
            figures_of = means if traced and name in MEANS else exact
            figures_of[title, README_COLUMNS[machine, traced]] = found[name]["mean" if name in MEANS else "median"]
    return exact, means


# ---- Instructions ------------------------------------------------------------------

def figures(text):
    """FIGURE lines: name -> {min, median, mean, ...}."""
    found = {}
    for name, rest in re.findall(r"^FIGURE (\S+) (.*)$", text.replace("\r", ""), re.M):
        found[name] = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", rest)}
    return found


RUNS = (("4k", 0), ("2m", 0), ("4k", AROUND))  # largest page, pages at a violation


def measure(bench, machine, trace):
    found = {}
    for page_size, around in RUNS:
        for name, value in figures(bench.run(bench.guest_words(machine, page_size, trace, around))[1]).items():
            found.setdefault(name, value)
    return found


def instructions(bench, machines):
    print("Instructions from guest touch to guest touch (median, and mean where pages differ):\n")
    results = {(m, trace): measure(bench, m, trace) for m in machines for trace in (False, True)}
    head = ["operation"]
    for machine in machines:
        head += [f"{MACHINES[machine]}, tracing off", "on", "KVM on this emulator"]
    rows = []
    for name, title in OPERATIONS.items():
        row = [title]
        for machine in machines:
            for trace in (False, True):
                figure = results[machine, trace].get(name)
                row.append(f"{number(figure['median'])} (mean {number(figure['mean'])})" if figure else "")
            row.append(number(KVM[machine][name]) if KVM[machine].get(name) else "")
        rows.append(row)
    table(head, rows)
    commands(bench.guest_words(m, p, t, a) for m in machines for p, a in RUNS for t in (False, True))
    return results


def main():
    parser = argparse.ArgumentParser(description="measure the figures of the README")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="build directory")
    parser.add_argument("--linux", type=pathlib.Path, required=True, help="Debian's bzImage")
    parser.add_argument("--machine", choices=["all", *MACHINES], default="all")
    parser.add_argument("--only", choices=["boots", "instructions"], help="one of the two tables")
    parser.add_argument("--write", action="store_true", help="write the figures into README.md")
    arguments = parser.parse_args()
    machines = list(MACHINES) if arguments.machine == "all" else [arguments.machine]
    bench = Bench(arguments.build, arguments.linux)
    wrong = []
    if arguments.only != "instructions":
        wrong += held.hold_table("README.md", README_BOOTS, held_boots(linux_boots(bench, machines)), boots_off, arguments.write)
    if arguments.only != "boots":
        exact, means = held_instructions(instructions(bench, machines))
        wrong += held.hold_table("README.md", README_INSTRUCTIONS, exact, instructions_off, arguments.write)
        wrong += held.hold_table("README.md", README_INSTRUCTIONS, means, traced_mean_off, arguments.write)
    for line in [] if arguments.write else wrong:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if wrong and not arguments.write else 0


if __name__ == "__main__":
    sys.exit(main())
