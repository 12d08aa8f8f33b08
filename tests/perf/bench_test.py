#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Does `make bench` hold the README to what repeats, and let the means of traced operations differ?"""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import bench  # noqa: E402
import held  # noqa: E402


def results(median, mean):
    return {(machine, traced): {name: {"median": median, "mean": mean} for name in bench.README_OPERATIONS.values()}
            for machine in bench.MACHINES for traced in (False, True)}


class Readme(unittest.TestCase):
    def test_each_figure_of_the_table_is_held(self):
        exact, means = bench.held_instructions(results(10**9, 2 * 10**9))
        self.assertEqual(len(exact) + len(means), len(bench.README_OPERATIONS) * len(bench.README_COLUMNS))
        told = held.hold_table("README.md", bench.README_INSTRUCTIONS, {**exact, **means}, bench.instructions_off)
        self.assertEqual(len(told), len(exact) + len(means), told)
        self.assertFalse(any("has no row" in line for line in told), told)

    def test_only_traced_means_may_differ(self):
        exact, means = bench.held_instructions(results(100, 300))
        self.assertEqual({title for title, _ in means}, {title for title, name in bench.README_OPERATIONS.items() if name in bench.MEANS})
        self.assertEqual({column for _, column in means}, {bench.README_COLUMNS[machine, True] for machine in bench.MACHINES})
        self.assertEqual(sorted(set(exact.values())), [100, 300])  # untraced means are exact
        self.assertFalse(bench.traced_mean_off(215, 241))
        self.assertTrue(bench.instructions_off(215, 241))
        self.assertTrue(bench.traced_mean_off(100, 241))

    def test_boots_are_held(self):
        rows = [[f"{bench.MACHINES[machine]}, 4 KiB", "9,999,999", "9,999,999", "1", "1", "1", "1", "1 KiB", "2 KiB", "7 / 7", "1 s"]
                for machine in bench.MACHINES]
        told = held.hold_table("README.md", bench.README_BOOTS, bench.held_boots(rows), bench.boots_off)
        self.assertTrue(len(told) >= 2 * 4, told)
        self.assertFalse(any("has no row" in line for line in told), told)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
