#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Does `make perf-check` see what has grown, and say where?"""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "engine"))
import count        # noqa: E402
import perf_check   # noqa: E402


def row(instructions, **functions):
    return {"instructions": instructions, "functions": functions}


class Compare(unittest.TestCase):
    def compare(self, old, new):
        return perf_check.compare({"fault": old}, {"fault": new})

    def test_equal(self):
        self.assertEqual(self.compare(row(434.0), row(434.0)), ([], []))

    def test_within_tolerance(self):
        self.assertEqual(self.compare(row(1000), row(1011)), ([], []))

    def test_grown_names_row_and_function(self):
        grown, shrunk = self.compare(row(1000, walk=400, write=80), row(1100, walk=500, write=80))
        self.assertEqual(shrunk, [])
        self.assertIn("fault: 1,000 -> 1,100 instructions (+10.0 %)", grown[0])
        self.assertIn("walk 400 -> 500", grown[0])
        self.assertNotIn("write", grown[0])

    def test_small_rows_may_move_by_a_register(self):
        self.assertEqual(self.compare(row(41), row(43)), ([], []))
        self.assertEqual(len(self.compare(row(41), row(44))[0]), 1)

    def test_shrunk_is_told_and_does_not_fail(self):
        grown, shrunk = self.compare(row(1000), row(900))
        self.assertEqual((len(grown), len(shrunk)), (0, 1))

    def test_lost_and_new_rows_fail(self):
        grown, _ = perf_check.compare({"gone": row(1)}, {"fresh": row(1)})
        self.assertEqual(len(grown), 2)


DUMP = """desc: Trigger: Client Request: fault-4k 2
fl=(1) engine/table/write.c
fn=(1) vmmu_entry_write
10 20
fi=(2) engine/table/tables.h
12 4
fe=(1)
11 6
calls=2 5
13 1000
fl=(3) bench/engine/host.c
fn=(2) host_backing
7 8
"""


class Parse(unittest.TestCase):
    def test_own_cost_only(self):
        dump = count.Dump(DUMP)
        self.assertEqual((dump.row, dump.operations), ("fault-4k", 2))
        self.assertEqual(dump.cost["engine/table/write.c", "vmmu_entry_write"], 26)
        self.assertEqual(dump.cost["engine/table/tables.h", "vmmu_entry_write"], 4)
        self.assertEqual(dump.cost["bench/engine/host.c", "host_backing"], 8)

    def test_the_host_is_left_out(self):
        self.assertTrue(count.is_engine("/somewhere/engine/map/direct/direct_map.c"))
        self.assertTrue(count.is_engine("engine/table/write.c"))
        self.assertFalse(count.is_engine("bench/engine/host.c"))
        self.assertFalse(count.is_engine("include/vmmu/exit.h"))


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
