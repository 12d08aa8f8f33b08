#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How the engine's costs grow with a VM: instructions over size, and the exponent of each curve.

A curve's exponent is the slope of log(instructions) over log(size), by least squares. The
counts repeat exactly, so that a curve which has become steeper than its bound fails. So does
a figure of docs/performance.md that is not what was counted (--write puts it there). The short
sweep knows the first figure of each row, the long one all.
"""
import argparse
import csv
import math
import pathlib
import subprocess
import sys
import time

import count
import perf_check

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import held  # noqa: E402

# name: (what grows, what is counted, the exponent that it must have, the bound that is held now)
CURVES = {
    "table-removed-by-tables-alive": ("tables alive", "a table removed, with one page in it", 0.0, 0.05),
    "table-of-a-vm-taken-down": ("tables alive", "a table, as its VM goes", 0.0, 0.05),
    "table-removed-by-pages-in-it": ("pages in a table", "a table removed", 0.0, 0.2),
    "page-invalidated-by-possible-vcpus": ("possible vCPUs", "a page invalidated", 0.0, 0.02),
    "fault-by-open-invalidations": ("open invalidations", "a fault elsewhere", 0.0, 0.15),
    "first-slot-deleted-and-made-by-slots": ("slots", "the first slot deleted and made again", 0.0, 0.15),
    "fault-in-another-slot-by-slots": ("slots", "a fault in another slot", 0.0, 0.15),
    "fault-elsewhere-by-gib": ("GiB of the VM", "a fault elsewhere, a first time", 0.0, 0.1),
    "page-invalidated-elsewhere-by-gib": ("GiB of the VM", "a page invalidated elsewhere", 0.0, 0.05),
    "page-invalidated-under-shadow-by-blocks": ("parts of 2 MiB that are mapped", "a page invalidated under shadow paging", 0.0, 0.05),
    "log-fetched-by-gib": ("GiB of a slot", "a log with one dirty page fetched (`vmmu_dirty_next`)", 0.0, 0.12),
}
DOCUMENT, HEADER = "docs/performance.md", "| what is counted, a piece | by |"  # a row's first cell: what is counted
COST, EXPONENT = 2, 3  # columns
COUNTED_AT = "table-removed-by-pages-in-it@1"  # a table whose entries are not all alike
COUNTING = r"This costs some ([\d,]+) instructions, and some ([\d,]+) more where"
TEARDOWN = r"At the (\d+) instructions of the second row"


def exponent(points):
    """The slope of log y over log x."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return (sum((x - mean_x) * (y - mean_y) for x, y in logs) /
            sum((x - mean_x) ** 2 for x, _ in logs))


def curves_of(found):
    """{curve: [(size, instructions)]}, as count.count gives them: curve@size."""
    curves = {}
    for row, figure in found.items():
        name, _, size = row.partition("@")
        curves.setdefault(name, []).append((int(size), figure["instructions"]))
    return {name: sorted(points) for name, points in curves.items()}


def judge(curves, bounds):
    """[(curve, points, exponent, verdict)]: "ok", "steep" (known: not what it must be), or "FAIL"."""
    verdicts = []
    for name, (_, _, must, bound) in bounds.items():
        points = curves.get(name, [])
        if len(points) < 2:
            verdicts.append((name, points, math.nan, "FAIL"))
            continue
        slope = exponent(points)
        word = "FAIL" if slope > bound else "steep" if slope > must + 0.2 else "ok"
        verdicts.append((name, points, slope, word))
    return verdicts


def show(verdicts):
    for name, points, slope, word in verdicts:
        grows, counted = CURVES[name][:2]
        figures = ", ".join(f"{size:,}: {cost:,.0f}" for size, cost in points)
        print(f"{word:5} {slope:5.2f} (at most {CURVES[name][3]:.2f})  {counted}, by {grows}: {figures}")


def write_csv(verdicts, path):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["curve", "size", "instructions", "exponent", "bound"])
        for name, points, slope, _ in verdicts:
            for size, cost in points:
                writer.writerow([name, size, cost, f"{slope:.3f}", CURVES[name][3]])


def cost_off(said, now):
    return abs(said - now) > perf_check.TOLERANCE * now + perf_check.SLACK


def exponent_off(said, now):
    return abs(said - now) > 0.005 + 1e-9


def counting_off(said, now):
    return abs(said - now) > 0.03 * now


def part(found, function):
    """The share of a function, which the compiler may have given a suffix (.isra.0)."""
    return sum(cost for name, cost in found[COUNTED_AT]["functions"].items() if name.partition(".")[0] == function)


def hold_counting(found, write=False, root=held.ROOT):
    """The same for the sentence about a removed table's leaves."""
    return held.hold_words(DOCUMENT, COUNTING, [part(found, "count_leaves"), part(found, "count_mixed")], counting_off, write, root)


def ends(points, long):
    """The figures that the document must show of a curve; None: this sweep does not know it."""
    first, last = points[0][1], points[-1][1]
    if not long:
        return [first, None]
    return [first] if round(first) == round(last) else [first, last]


def hold_document(verdicts, long, write=False, root=held.ROOT):
    """One line for each figure of the document that is not what was counted."""
    known = {CURVES[name][1]: (points, slope) for name, points, slope, _ in verdicts if points}
    costs = {(title, COST): ends(points, long) for title, (points, _) in known.items()}
    wrong = held.hold_table(DOCUMENT, HEADER, costs, cost_off, write, root)
    if long:
        slopes = {(title, EXPONENT): abs(slope) for title, (_, slope) in known.items()}  # the sign stands before the number
        wrong += held.hold_table(DOCUMENT, HEADER, slopes, exponent_off, write, root)
        taken_down = known[CURVES["table-of-a-vm-taken-down"][1]][0]
        wrong += held.hold_words(DOCUMENT, TEARDOWN, [taken_down[-1][1]], cost_off, write, root)
    return wrong


def plot(verdicts, path):
    """A picture of all curves, each by what its first point costs; gnuplot draws it."""
    data, lines = [], []
    for i, (name, points, slope, _) in enumerate(verdicts):
        data.append("\n".join(f"{size} {cost / points[0][1]:.4f}" for size, cost in points))
        lines.append(f"$data index {i} with linespoints title '{CURVES[name][1]}, by {CURVES[name][0]}: {slope:.2f}'")
    script = ("set terminal svg size 1000,600 noenhanced\nset logscale xy\nset xlabel 'size'\n"
              "set ylabel 'instructions, by those of the first point'\nset key outside below\nset grid\n"
              "$data << END\n" + "\n\n\n".join(data) + "\nEND\nplot " + ", ".join(lines) + "\n")
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise count.Failed(f"gnuplot: {done.stderr.strip()}")
    pathlib.Path(path).write_text(done.stdout, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path, help="bench/engine/curves as built")
    parser.add_argument("--long", action="store_true", help="up to 262,144 tables, 32,764 slots, 1 TiB of log: half a minute more")
    parser.add_argument("--csv", type=pathlib.Path, help="write the points there")
    parser.add_argument("--svg", type=pathlib.Path, help="draw the curves there (gnuplot)")
    parser.add_argument("--compiler", help=f"the compiler that made it: if it is that of {perf_check.BASELINE.name}, {DOCUMENT} is held to the counts")
    parser.add_argument("--write", action="store_true", help=f"write the counts into {DOCUMENT}")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        print("curves: counting under callgrind ...", file=sys.stderr)
        found = count.count(arguments.program, ["--long"] if arguments.long else [])
        verdicts = judge(curves_of(found), CURVES)
        show(verdicts)
        if arguments.csv:
            write_csv(verdicts, arguments.csv)
        if arguments.svg:
            plot([v for v in verdicts if v[1]], arguments.svg)
        wrong = []
        if arguments.write:
            hold_document(verdicts, arguments.long, write=True)
            hold_counting(found, write=True)
        if arguments.write or (arguments.compiler and perf_check.is_baselines(arguments.compiler)):
            wrong = hold_document(verdicts, arguments.long) + hold_counting(found)
    except (count.Failed, OSError) as why:
        print(f"curves: {why}", file=sys.stderr)
        return 2
    for line in wrong:
        print(f"FAIL {line}")
    failed = sum(word == "FAIL" for *_, word in verdicts) + bool(wrong)
    print(f"curves: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"{len(verdicts) + 1 - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
