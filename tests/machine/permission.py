#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every combination of permission bits on every machine (or one in N).

The machine tests (cases.py) try one combination in 61. Most of the time goes into
Bochs' shadow tables. The last line is "N passed, N failed, N skipped".
"""
import argparse
import concurrent.futures
import dataclasses
import pathlib
import sys

from cases import Files, permissions
from machine_test import Runner, compare_answers, report

HOURS = ("--timeout", "14400")  # the last one counts


def main():
    parser = argparse.ArgumentParser(description="every combination of permission bits on every machine")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="build directory")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one combination in N")
    parser.add_argument("--machine", choices=["all", "qemu", "bochs"], default="all")
    parser.add_argument("--jobs", type=int, default=2, help="machines at once")
    arguments = parser.parse_args()
    work = arguments.build / "tests" / "machine" / "permission"
    runner = Runner(arguments.build.resolve(), Files(arguments.build, None, work), work)
    cases = [dataclasses.replace(case, options=case.options + HOURS) for case in permissions(arguments.every)
             if arguments.machine in ("all", case.machine)]
    cases.sort(key=lambda c: -c.cost)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        passed = sum(pool.map(lambda c: report(runner, c), cases))
    same, different = compare_answers(runner, cases)
    failed = len(cases) - passed + different
    print(f"{passed + same} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
