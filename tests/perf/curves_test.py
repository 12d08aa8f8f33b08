#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Does `make curves` fit the right exponent, and fail where one is too steep?"""
import csv
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "engine"))
import curves   # noqa: E402

SIZES = (64, 512, 4096)


def points_of(cost):
    return [(size, cost(size)) for size in SIZES]


class Fit(unittest.TestCase):
    def test_exponents(self):
        for power in (0.0, 0.5, 1.0, 2.0):
            self.assertAlmostEqual(curves.exponent(points_of(lambda n, p=power: 7 * n ** p)), power)

    def test_points_come_in_the_order_of_their_sizes(self):
        found = {"a@512": {"instructions": 3}, "a@64": {"instructions": 2}, "b@1": {"instructions": 5}}
        self.assertEqual(curves.curves_of(found), {"a": [(64, 2), (512, 3)], "b": [(1, 5)]})


class Judge(unittest.TestCase):
    BOUNDS = {"flat": ("n", "flat", 0.0, 0.1), "line": ("n", "line", 0.0, 1.01)}

    def words(self, flat, line):
        return [word for *_, word in curves.judge({"flat": points_of(flat), "line": points_of(line)}, self.BOUNDS)]

    def test_within_the_bounds(self):
        self.assertEqual(self.words(lambda n: 5, lambda n: 5), ["ok", "ok"])

    def test_known_to_be_steep_is_said_and_does_not_fail(self):
        self.assertEqual(self.words(lambda n: 5, lambda n: 3 * n), ["ok", "steep"])

    def test_steeper_than_its_bound_fails(self):
        self.assertEqual(self.words(lambda n: n, lambda n: n * n), ["FAIL", "FAIL"])

    def test_a_curve_that_is_gone_fails(self):
        self.assertEqual([word for *_, word in curves.judge({}, self.BOUNDS)], ["FAIL", "FAIL"])


class Output(unittest.TestCase):
    def test_csv_and_plot_hold_every_point(self):
        name = next(iter(curves.CURVES))
        verdicts = [(name, points_of(lambda n: n), 1.0, "ok")]
        with tempfile.TemporaryDirectory() as folder:
            table, picture = pathlib.Path(folder) / "a b.csv", pathlib.Path(folder) / "a b.svg"
            curves.write_csv(verdicts, table)
            with open(table, encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
            self.assertEqual([(row["size"], row["instructions"]) for row in rows], [(str(n), str(n)) for n in SIZES])
            curves.plot(verdicts, picture)
            self.assertIn("tables alive: 1.00", picture.read_text(encoding="utf-8"))


class Document(unittest.TestCase):
    """The table of a document is held to the counts: the first of a row by the short sweep, all by the long one."""
    NAMES = ("table-removed-by-tables-alive", "table-of-a-vm-taken-down")
    TEXT = (f"{curves.HEADER} instructions | exponent |\n|---|---|---:|---:|\n"
            "| a table removed, with one page in it | 64 to 4,096 | 500 to 1,000 | 0.10 |\n"
            "| a table, as its VM goes | 64 to 4,096 | 700 | 0.00 |\n\n"
            "At the 700 instructions of the second row it takes long.\n")

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        (self.root / "docs").mkdir()
        (self.root / curves.DOCUMENT).write_text(self.TEXT)

    def tearDown(self):
        self.folder.cleanup()

    def hold(self, first, last, long, flat=700, slope=0.1, write=False):
        verdicts = [(self.NAMES[0], [(64, first), (4096, last)], slope, "ok"), (self.NAMES[1], [(64, flat), (4096, flat)], 0.0, "ok")]
        return len(curves.hold_document(verdicts, long, write, self.root))

    def test_what_was_counted_is_right(self):
        self.assertEqual(self.hold(500, 1000, True), 0)
        self.assertEqual(self.hold(504, 1000, False), 0)

    def test_each_figure_that_was_not_counted_is_told(self):
        self.assertEqual(self.hold(520, 1000, False), 1)
        self.assertEqual(self.hold(500, 1100, True), 1)
        self.assertEqual(self.hold(500, 1000, True, slope=0.12), 1)
        self.assertEqual(self.hold(500, 1000, True, flat=720), 2)  # in the table, and in the sentence
        self.assertEqual(self.hold(500, 500, True), 1)  # one figure, where the document has two

    def test_the_short_sweep_does_not_know_the_last_figure(self):
        self.assertEqual(self.hold(500, 800, False, slope=0.5), 0)

    def test_written(self):
        self.hold(520, 1100, True, 720, 0.12, write=True)
        self.assertEqual((self.root / curves.DOCUMENT).read_text(),
                         self.TEXT.replace("700", "720").replace("500 to 1,000", "520 to 1,100").replace("0.10", "0.12"))

    def test_what_counting_a_tables_leaves_takes(self):
        def told(leaves, mixed):
            parts = {"count_leaves.isra.0": leaves, "count_mixed": mixed, "vmmu_entry_write": 68.0}
            return len(curves.hold_counting({curves.COUNTED_AT: {"functions": parts}}, root=self.root))
        (self.root / curves.DOCUMENT).write_text("This costs some 1,000\ninstructions, and some 200 more where they differ.\n")
        self.assertEqual([told(1010, 203), told(1100, 200), told(1100, 300)], [0, 1, 2])

    def test_every_curve_has_its_row(self):
        lines = (curves.held.ROOT / curves.DOCUMENT).read_text().splitlines()
        self.assertEqual([cells[0] for _, cells in curves.held.rows(lines, curves.HEADER)],
                         [counted for _, counted, _, _ in curves.CURVES.values()])


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
