#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The stress guests with one seed after another, for as long as told.

Each round runs the 64-bit and the 32-bit guest of the machine tests (cases.py)
under every MMU of one machine, with the same seed; the next round has the next
seed. What fails says its seed and stays in the output folder. The last line is
"N passed, N failed, N skipped".
"""
import argparse
import concurrent.futures
import dataclasses
import pathlib
import shutil
import sys
import time

from cases import Files, stress
from machine_test import Runner, report

MMUS = {"qemu": ("npt", "shadow"), "bochs": ("ept", "shadow")}


def round_of(machine, seed, load):
    for mmu in MMUS[machine]:
        for kernel in ("guest", "legacy"):
            page_size = "2m" if seed % 2 else "4k"
            case = stress(machine, mmu, kernel, page_size, seed=seed, load=load)
            yield dataclasses.replace(case, name=f"{case.name}-seed-{seed}")


def passes(runner, case):
    """Run it; what passed leaves nothing behind."""
    passed = report(runner, case)
    if passed:
        shutil.rmtree(runner.work / case.name)
    return passed


def main():
    parser = argparse.ArgumentParser(description="run the stress guests with one seed after another")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="build directory")
    parser.add_argument("--seconds", type=int, default=600, help="begin no round after so long")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--load", type=int, default=200, help="work of each run, in percent of the machine tests'")
    parser.add_argument("--machine", choices=sorted(MMUS), default="qemu")
    parser.add_argument("--jobs", type=int, default=2, help="machines at once")
    arguments = parser.parse_args()
    work = arguments.build / "tests" / "machine" / "stress"
    runner = Runner(arguments.build.resolve(), Files(arguments.build, None, work), work)
    end, seed, passed, failed = time.monotonic() + arguments.seconds, arguments.seed, 0, 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        while time.monotonic() < end:
            results = list(pool.map(lambda c: passes(runner, c), round_of(arguments.machine, seed, arguments.load)))
            passed += sum(results)
            failed += len(results) - sum(results)
            seed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
