#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Counts of instructions in documents are those of bench/engine/baseline.json and bench/compare/kvm.json.

`make perf-check` holds the first file to the code, `make compare` measures the second. What
neither file has is held by `make bench`, `make compare`, `make claims` and `make curves` (bench/held.py).

    figures_test.py [--write]     and write the figures into the documents
"""
import json
import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import bench  # noqa: E402
import held  # noqa: E402

ROWS = {name: row["instructions"] for name, row in json.loads((ROOT / "bench/engine/baseline.json").read_text())["rows"].items()}
PARTS = json.loads((ROOT / "bench/engine/baseline.json").read_text())["rows"]
PERFORMANCE, SECURITY, README = "docs/performance.md", "docs/security.md", "README.md"
TESTING, SCENARIOS = "docs/testing.md", r'^\t\{"[a-z]'  # a line of a list of scenarios
ENGINE = {
    "fault of 4 KiB, table present (in order, at random; EPT, NPT)": "fault-4k-npt",
    "pages in order with `fault_around`, a page: 16 / 64 at a violation": ("fault-around-16-page", "fault-around-64-page"),
    "fault of 4 KiB with a trace / the host's run known": ("fault-4k-traced", "fault-4k-run-traced"),
    "the same, the host's run known: table present / one new table": ("fault-4k-run", "fault-new-table-run"),
    "fault that needs one new table": "fault-new-table",
    "fault of 2 MiB / of 1 GiB": ("fault-2m", "fault-1g"),
    "the entry is there already: reported present / lost a race": ("spurious-present", "spurious-race"),
    "MMIO entry met again / made": ("mmio-cached", "mmio-first"),
    "first write under a dirty log": "log-first-write",
    "prefault, a page: the host asked for each / once for a run of 64": ("prefault-page", "prefault-run-page"),
    "dirty log switched on, a page of 16,384": "log-on-page",
    "dirty log fetched, a page of 16,384, all dirty": "log-harvest-page",
    "dirty log of a clean GiB fetched, without the zeros of the bitmap": "log-clean-gib",
    "dirty log by `vmmu_dirty_next`: a clean GiB / a dirty page among 512": ("log-next-clean-gib", "log-next-sparse-page"),
    "one page invalidated, begin and end, any `max_vcpus`": "invalidate-page",
    "64 MiB unmapped page by page, a page": "unmap-by-page",
    "64 MiB unmapped at once, a page": "unmap-at-once-page",
    "slot of 16,384 pages deleted": "slot-delete",
    "where a gpa leads (`vmmu_translate`; before: `vmmu_path_of`)": "lookup",
    "path of a gpa, decoded (`vmmu_path_of`)": "path-decoded",
}


def rows_of(name):
    return [ROWS[name]] if isinstance(name, str) else [ROWS[one] for one in name]


def off(said, now):
    return abs(said - now) > 0.01 * now + 3


def lines_of(path, pattern):
    return len(re.findall(pattern, (ROOT / path).read_text(), re.M))


def rounded(said, now):
    """Not the figure as it is written: to the same number of decimals."""
    return abs(said - now) > 0.5 + 1e-9


def about(said, now):
    return abs(said - now) > 0.05 * now


def readme(title, column):
    cells = next(cells for _, cells in held.rows((ROOT / README).read_text().splitlines(), bench.README_INSTRUCTIONS)
                 if cells[0] == title)
    return held.value(held.NUMBER.search(cells[column])[0])


def held_tables():
    """(document, header, figures, how far off a figure may be)."""
    operations = bench.README_OPERATIONS.items()
    kvm = {"qemu": 3, "bochs": 6}
    return [
        (README, bench.README_INSTRUCTIONS, {(title, 1): ROWS[f"guest-npt-{name}"] for title, name in operations}, off),
        (README, bench.README_INSTRUCTIONS, {(title, column): bench.KVM[machine][name] for title, name in operations
                                             for machine, column in kvm.items()}, rounded),
        (PERFORMANCE, "| instructions | e97d7e4", {(title, 2): rows_of(name) for title, name in ENGINE.items()}, rounded),
        (PERFORMANCE, "| part | NPT | EPT |", {("sum", 1): ROWS["guest-npt-fault-4k-again"],
                                               ("sum", 2): readme("4 KiB fault, table present", 4)}, off),
        (PERFORMANCE, "| of a trace | NPT | EPT |",
         {("sum", n): readme("4 KiB fault, table present", column + 1) - readme("4 KiB fault, table present", column)
          for n, column in ((1, 1), (2, 4))}, off),
        (PERFORMANCE, "| part | instructions | why |", {("sum", 1): ROWS["fault-4k-npt"]}, rounded),
    ]


def held_words():
    """(document, the words with their figures, figures, how far off)."""
    page, prefault = PARTS["invalidate-page"]["functions"], PARTS["prefault-run-page"]["functions"]
    traced = [readme("4 KiB fault, table present", column + 1) / readme("4 KiB fault, table present", column)
              for column in (1, 4)]
    return [
        (SECURITY, r"on a path of ([\d,]+) instructions", [ROWS["guest-npt-fault-4k-again"]], off),
        (PERFORMANCE, r"On QEMU the exit takes some ([\d,]+) instructions more", [readme("CPUID exit", 1) - readme("CPUID exit", 4)], about),
        (PERFORMANCE, r"closings of the gate take (\d+), the removal (\d+), the flush (\d+),",
         [page["vmmu_gate_close"], page["vmmu_leaf_drop"] + page["vmmu_direct_zap_page"], page["vmmu_op_flush"]], about),
        (PERFORMANCE, r"the host's answer \((\d+); nothing for a run\)", [ROWS["prefault-page"] - ROWS["prefault-run-page"]], about),
        (PERFORMANCE, r"the writer's loop \((\d+)\)", [prefault["fill_unwatched"]], about),
        (PERFORMANCE, r"takes (\d\.\d\d)\ntimes an untraced one under NPT, and (\d\.\d\d) times under EPT", traced, about),
        (TESTING, r"`tests/schedule/shadow\.c`: (\d+) scenarios", [lines_of("tests/schedule/shadow.c", SCENARIOS)], rounded),
    ]


class Figures(unittest.TestCase):
    def test_tables(self):
        for table in held_tables():
            self.assertEqual(held.hold_table(*table), [])

    def test_words(self):
        for words in held_words():
            self.assertEqual(held.hold_words(*words), [])

    def test_parts_are_the_sum(self):
        lines = (ROOT / PERFORMANCE).read_text().splitlines()
        for header, columns in (("| part | NPT | EPT |", (1, 2)), ("| of a trace | NPT | EPT |", (1, 2)), ("| part | instructions | why |", (1,))):
            for column in columns:
                *parts, total = [held.value(cells[column]) for _, cells in held.rows(lines, header)]
                self.assertEqual(sum(parts), total, f"{header} column {column}")

    def test_each_engine_row_is_held(self):
        lines = (ROOT / PERFORMANCE).read_text().splitlines()
        self.assertEqual({cells[0] for _, cells in held.rows(lines, "| instructions | e97d7e4")}, set(ENGINE))


class Held(unittest.TestCase):
    """The means themselves: what is wrong is told, and what is written is right."""
    TEXT = "# A\n\n| a | b | c |\n|---|---|---|\n| one | 1,000 | 5 KiB / 2.5 |\n| two | 7 |  |\n\nIt takes 12\ninstructions.\n"
    TABLE = {("one", 1): 2000, ("one", 2): [6, 3.25], ("two", 1): 7}

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        (self.root / "a.md").write_text(self.TEXT)

    def tearDown(self):
        self.folder.cleanup()

    def table(self, figures, **more):
        return held.hold_table("a.md", "| a |", figures, rounded, root=self.root, **more)

    def words(self, now, **more):
        return held.hold_words("a.md", r"takes (\d+) instructions", [now], rounded, root=self.root, **more)

    def test_each_figure_that_is_off_is_told_with_its_line(self):
        self.assertEqual(self.table(self.TABLE), ["a.md:5: one: 1,000, measured 2,000", "a.md:5: one: 5, measured 6",
                                                  "a.md:5: one: 2.5, measured 3.25"])
        self.assertEqual(self.words(13), ["a.md:8: 12, measured 13"])

    def test_what_was_written_holds(self):
        self.table(self.TABLE, write=True)
        self.words(13, write=True)
        self.assertEqual((self.table(self.TABLE), self.words(13)), ([], []))
        self.assertEqual((self.root / "a.md").read_text(),
                         self.TEXT.replace("1,000", "2,000").replace("5 KiB / 2.5", "6 KiB / 3.2").replace("12", "13"))

    def test_what_the_document_has_not_is_wrong(self):
        self.assertEqual(len(self.table({("three", 1): 1})), 1)
        self.assertEqual(len(self.table({("two", 2): 1})), 1)
        self.assertEqual(len(held.hold_table("a.md", "| other |", {("one", 1): 1}, rounded, root=self.root)), 1)
        self.assertEqual(len(held.hold_words("a.md", r"costs (\d+)", [1], rounded, root=self.root)), 1)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        for table in held_tables():
            held.hold_table(*table, write=True)
        for words in held_words():
            held.hold_words(*words, write=True)
    result = unittest.main(argv=sys.argv[:1], exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
