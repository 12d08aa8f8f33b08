#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Hold the counts of instructions to bench/engine/baseline.json: `make perf-check`.

Two kinds of rows, both exact and repeatable: the engine's operations by themselves
(operations.c under callgrind), and what a guest pays from touch to touch
(tests/guest/bench.c on QEMU with -icount, the visor's instructions included). A row
that has grown by more than the tolerance fails; for the engine's rows the functions
that moved are named. Counts depend on the compiler, so the baseline names the one it
was made with, and another one is refused: status 3.
"""
import argparse
import json
import pathlib
import re
import shlex
import subprocess
import sys

import count

BASELINE = pathlib.Path(__file__).with_name("baseline.json")
TOLERANCE = 0.01
SLACK = 2          # instructions: one per cent of a small row is less than a register's move
TIMEOUT = 300      # seconds, for one guest
GUEST_RUNS = (("4k", 0, True), ("2m", 0, True), ("4k", 64, True), ("4k", 0, False))  # largest page, pages that a violation maps, is memory one run?
ASKED = {"fault-4k-again": "fault-4k-asked"}  # of all there is where memory is no run: only these
MEANS = ("fault-4k-around-first", "fault-4k-around")  # few of their accesses exit: a median says nothing
TROUBLE, FOREIGN = 2, 3


class Failed(Exception):
    """Why nothing can be said."""


def compiler_of(words):
    """Make and version: "(Debian 12.2.0-14+deb12u1) 12.2.0"."""
    done = subprocess.run([*shlex.split(words), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].partition(" ")[2]   # without the name it was called by


def is_baselines(words):
    """Is this the compiler that the baseline was made with? Else no count can be compared."""
    return json.loads(BASELINE.read_text())["compiler"] == compiler_of(words)


def guest_rows(build):
    """{row: {"instructions": median or mean}} of the bench guest on QEMU, tracing off."""
    found = {}
    for page, around, runs in GUEST_RUNS:
        command = [str(build / "vmmu"), "run", "--machine", "qemu", "--icount", "--quiet", "--page-size", page,
                   "--memory", "128M", "--test-device", "--timeout", str(TIMEOUT),
                   "--kernel", str(build / "guest" / "guest.elf"), "--append", f"tests=bench page={page}" + (f" around={around}" if around else "")]
        command += ["--fault-around", str(around)] if around else []
        command += ["--prealloc"] if runs else []
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{shlex.join(command)}\nended with status {done.returncode}:\n"
                         f"{done.stdout[-1000:]}{done.stderr[-1000:]}")
        for name, median, mean in re.findall(r"^FIGURE (\S+) .*\bmedian=(\d+) mean=(\d+)", done.stdout.replace("\r", ""), re.M):
            name = name if runs else ASKED.get(name)
            if name:
                found.setdefault(f"guest-npt-{name}", {"instructions": int(mean if name in MEANS else median)})
    if not found:
        raise Failed("the bench guest has printed no figures")
    return found


def moved(old, new):
    """The functions whose share has changed most, with both figures."""
    before, after = old.get("functions", {}), new.get("functions", {})
    changes = [(after.get(f, 0) - before.get(f, 0), f) for f in {*before, *after}]
    changes = sorted((c for c in changes if abs(c[0]) >= 0.5), key=lambda c: -abs(c[0]))[:4]
    return "; ".join(f"{f} {before.get(f, 0):,.0f} -> {after.get(f, 0):,.0f}" for _, f in changes)


def has_grown(old, new):
    return new > old * (1 + TOLERANCE) + SLACK


def compare(baseline, found):
    """Lines about what has grown, and about what has shrunk."""
    grown, shrunk = [], []
    for row, old in baseline.items():
        new = found.get(row)
        if new is None:
            grown.append(f"{row}: there is no such figure any more")
            continue
        was, now = old["instructions"], new["instructions"]
        words = f"{row}: {was:,.0f} -> {now:,.0f} instructions ({(now / was - 1) * 100:+.1f} %)"
        parts = moved(old, new)
        words += f"\n    {parts}" if parts else ""
        if has_grown(was, now):
            grown.append(words)
        elif has_grown(now, was):
            shrunk.append(words)
    grown += [f"{row}: not in the baseline" for row in found if row not in baseline]
    return grown, shrunk


def show(found):
    for row, figure in found.items():
        parts = ", ".join(f"{f} {n:,.0f}" for f, n in list(figure.get("functions", {}).items())[:4])
        print(f"{row:26} {figure['instructions']:>11,.0f}  {parts}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="build directory")
    parser.add_argument("--compiler", default="gcc", help="the compiler that made it")
    parser.add_argument("--native", action="store_true", help="the engine's own rows only")
    parser.add_argument("--show", action="store_true", help="print the figures, compare nothing")
    parser.add_argument("--write", action="store_true", help="make them the baseline")
    parser.add_argument("--or-skip", action="store_true", help="another compiler than the baseline's: skip, do not fail")
    parser.add_argument("--baseline", type=pathlib.Path, default=BASELINE, help="the file to hold them to")
    return parser.parse_args()


def measure(arguments):
    found = count.count(arguments.build / "bench" / "engine" / "operations")
    if not arguments.native:
        found.update(guest_rows(arguments.build))
    return found


def check(arguments, compiler):
    baseline = json.loads(arguments.baseline.read_text())
    if baseline["compiler"] != compiler and arguments.or_skip:
        print(f"perf-check: the baseline was made with {baseline['compiler']}, this is {compiler}")
        print(f"0 passed, 0 failed, {len(baseline['rows'])} skipped")
        return 0
    if baseline["compiler"] != compiler:
        print(f"perf-check: the baseline was made with {baseline['compiler']}, this is {compiler}: the counts cannot "
              "be compared; `make perf-baseline` makes one for this compiler", file=sys.stderr)
        return FOREIGN
    rows = {name: row for name, row in baseline["rows"].items()
            if not arguments.native or not name.startswith("guest-")}
    grown, shrunk = compare(rows, measure(arguments))
    for line in grown:
        print(f"FAIL {line}")
    for line in shrunk:
        print(f"less {line}")
    if shrunk:
        print("Where a row needs fewer instructions for good, `make perf-baseline` holds it to that.")
    print(f"perf-check: {len(grown)} rows beyond {TOLERANCE:.0%}, {len(shrunk)} better")
    print(f"{len(rows) - len(grown)} passed, {len(grown)} failed, 0 skipped")
    return 1 if grown else 0


def main():
    arguments = parse()
    try:
        if arguments.show:
            show(measure(arguments))
            return 0
        compiler = compiler_of(arguments.compiler)
        if not arguments.write:
            return check(arguments, compiler)
        rows = measure(arguments)
        arguments.baseline.write_text(json.dumps({"compiler": compiler, "rows": rows}, indent=1) + "\n")
        show(rows)
        return 0
    except (Failed, count.Failed, OSError, KeyError, json.JSONDecodeError) as why:
        print(f"perf-check: {why}", file=sys.stderr)
        return TROUBLE


if __name__ == "__main__":
    sys.exit(main())
