#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Hostile random guests, seed after seed, on one emulator and MMU or on all of them.

Three kinds take turns: one that does what a hypervisor must answer (stress-hostile), one
that runs random bytes as its kernel (stress-code), and a 32-bit one that runs random
programs (stress-modes). The last two may end in any way. Some have --nested.
After each run the visor must be there to tell of it: an end, no finding of the audit,
its own memory unchanged by its checksums, and no exit longer than allowed. What fails
says its seed and stays in the output folder. For each machine one line with what was
tried; the last line is "N passed, N failed, N skipped".
"""
import argparse
import collections
import dataclasses
import json
import pathlib
import re
import resource
import shutil
import sys
import time

from cases import HOSTILE_MACHINES, Files, guest, hostile_code, hostile_modes
from machine_test import TIMEOUT, Failure, Runner

# Emulator, MMU, and the CPU if it is not the usual one: ryzen is SVM on Bochs.
MACHINES = [(machine, mmu, "") for machine, mmu in HOSTILE_MACHINES] + [("bochs", mmu, "ryzen") for mmu in ("npt", "shadow")]
# On both emulators a tick of the TSC is an instruction. Bochs' serial port is as slow as a real one,
# and an exit may write a line of the log there: a register refused for the first time, a device noted.
LONGEST_EXIT_NS = {"qemu": 1_000_000, "bochs": 12_000_000}
TRIES = 4                    # for a guest whose emulator was kept waiting by a busy host ...
ENOUGH = 0.7                 # ... that is, had a CPU for less of its time
TELL_EVERY = 30              # seconds between two lines of progress
SECONDS_OF_ONE = {"qemu": 15, "bochs": 30}  # for a guest that runs in circles


def hostile(machine, mmu, seed):
    return guest(f"{machine}-hostile-{mmu}", "hostile instructions, registers, ports and memory", machine, ("stress-hostile",),
                 mmu=mmu, words=f"load={100 if machine == 'qemu' else 30} seed={seed} mmu={mmu}", trace=False)


def case_of(machine, mmu, cpu, seed):
    # Bochs 2.7's SVM panics at an exit out of virtual-8086 mode ("VM is set in long mode"), and keeps the visor out
    # while the guest has interrupts off: there only the kind that ends by itself.
    if seed % 4 == 0 or cpu:
        case = hostile(machine, mmu, seed)
    elif seed % 4 == 2:
        case = hostile_modes(machine, mmu, seed, load=50, seconds=SECONDS_OF_ONE[machine])
    else:
        case = hostile_code(machine, mmu, seed, seconds=SECONDS_OF_ONE[machine])
    options = case.options + (("--cpu", cpu) if cpu else ()) + (("--nested",) if seed % 3 == 0 and mmu != "shadow" else ())
    return dataclasses.replace(case, name=f"{case.name}{'-' if cpu else ''}{cpu}-seed-{seed}", page_size="4k" if seed % 2 else "2m",
                               large="" if seed % 2 else "2", options=options)


class Tally:
    """What was tried on one machine, and what came of it."""

    def __init__(self):
        self.ends = collections.Counter()
        self.runs = self.inputs = self.exits = self.failed = self.longest = self.repeated = 0
        self.longest_kind = ""

    def add(self, folder, longest_allowed):
        told = json.loads((folder / "report.json").read_text())
        summary, console = told["summary"], (folder / "console").read_text(errors="replace")
        longest = summary["longest_exit"]
        if longest["ns"] > self.longest:
            self.longest, self.longest_kind = longest["ns"], longest["kind"]
        self.ends[told["end"]["status"]] += 1
        self.exits += sum(summary["exits"].values())
        done = re.findall(r"^stress-hostile: (\d+) done, (\d+) refused", console, re.M)
        rounds = [int(n) for n in re.findall(r"^stress-(?:code|modes): (\d+)", console, re.M)]
        self.inputs += sum(int(a) + int(b) for a, b in done) + max(rounds, default=0)
        if longest["ns"] > longest_allowed:
            raise Failure(f"an exit took {longest['ns']} ns: {longest}")

    def line(self):
        ends = ", ".join(f"{name} {count}" for name, count in self.ends.most_common())
        again = f"; {self.repeated} got too little of a busy host, and were run again" if self.repeated else ""
        return (f"{self.runs} guests, {self.inputs:,} inputs, {self.exits:,} exits, {self.failed} faults; "
                f"longest exit {self.longest / 1e6:.3f} ms ({self.longest_kind}); ends: {ends}{again}")


def seconds_of_emulators():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_with_its_time(runner, case, tally):
    """A time-out counts only where the emulator has had a CPU for most of that time."""
    for last in (False,) * (TRIES - 1) + (True,):
        began, used = time.monotonic(), seconds_of_emulators()
        try:
            runner.run(case)
            return
        except Failure:
            took, got = time.monotonic() - began, seconds_of_emulators() - used
            if last or took < TIMEOUT[case.machine] or got > took * ENOUGH:
                raise
        tally.repeated += 1


def run(runner, case, tally):
    tally.runs += 1
    folder = runner.work / case.name
    try:
        run_with_its_time(runner, case, tally)
        tally.add(folder, LONGEST_EXIT_NS[case.machine])
    except Failure as why:
        tally.failed += 1
        print(f"FAIL {case.name}: {why} (see {folder})", flush=True)
        return
    shutil.rmtree(folder)


def name_of(machine, mmu, cpu):
    return "-".join(word for word in (machine, cpu, mmu) if word)


def soak(runner, which, seconds, seed):
    name = name_of(*which)
    tally, start, told = Tally(), time.monotonic(), time.monotonic()
    while time.monotonic() - start < seconds:
        run(runner, case_of(*which, seed), tally)
        seed += 1
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            print(f"{name}: {told - start:.0f} of {seconds} s, {tally.line()}", flush=True)
    print(f"{'FAIL' if tally.failed else 'PASS'} {name} {time.monotonic() - start:.0f} s, seeds up to {seed - 1}: "
          f"{tally.line()}", flush=True)
    return tally.failed == 0


def main():
    parser = argparse.ArgumentParser(description="hostile random guests, seed after seed")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="build directory")
    parser.add_argument("--seconds", type=int, default=600, help="for each machine and MMU")
    parser.add_argument("--seed", type=int, default=1, help="of the first guest")
    parser.add_argument("--only", default="", metavar="REGEX", help="machines whose name, as in qemu-npt or bochs-ryzen-npt, contains this")
    arguments = parser.parse_args()
    work = arguments.build / "tests" / "machine" / "soak-hostile"
    runner = Runner(arguments.build.resolve(), Files(arguments.build, None, work), work)
    chosen = [which for which in MACHINES if re.search(arguments.only, name_of(*which))]
    results = [soak(runner, which, arguments.seconds, arguments.seed) for which in chosen]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed, 0 skipped")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
