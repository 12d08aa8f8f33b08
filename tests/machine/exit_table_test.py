#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Is the table of exits in docs/visor.md held to the runs that it shows, and to each of them?"""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import exit_table  # noqa: E402
from cases import CASES  # noqa: E402

TABLE = f"""{exit_table.HEADER} EPT, Bochs | shadow, QEMU | shadow, Bochs |
|---|---|---|---|---|
| 686-pae, 4 KiB | 1,000 (500) | 1,000 (500) | 3,000 (2,000, 900) | - |
"""
RUN = {"npf": 500, "hlt": 500}
SHADOW = {"page-fault": 2000, "cr3-write": 900, "hlt": 100}


class Held(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "docs").mkdir()
        (self.root / exit_table.DOCUMENT).write_text(TABLE)

    def told(self, name, **exits):
        return len(exit_table.differences(name, exits, self.root))

    def test_what_was_counted_is_right(self):
        self.assertEqual(self.told("qemu-linux-pae-4k", **RUN), 0)
        self.assertEqual(self.told("bochs-linux-pae-4k", **{"ept-violation": 400, "ept-misconfiguration": 90, "hlt": 500}), 0)
        self.assertEqual(exit_table.differences("qemu-shadow-linux-pae-4k", SHADOW, self.root), [])

    def test_another_count_is_told(self):
        self.assertEqual(self.told("qemu-linux-pae-4k", npf=700, hlt=300), 1)
        self.assertEqual(self.told("bochs-linux-pae-4k", **{"ept-violation": 700, "hlt": 300}), 1)
        self.assertEqual(len(exit_table.differences("qemu-shadow-linux-pae-4k", {**SHADOW, "cr3-write": 1800}, self.root)), 2)

    def test_timers_of_a_host_that_is_busy_do_not_count(self):
        self.assertEqual(self.told("qemu-linux-pae-4k", npf=500, hlt=5000), 0)
        self.assertEqual(self.told("bochs-linux-pae-4k", **{"ept-violation": 500, "hlt": 5000}), 1)

    def test_a_case_that_the_table_should_have(self):
        self.assertEqual(self.told("qemu-linux-32-4k", **RUN), 1)
        self.assertEqual(self.told("qemu-guest-4k", **RUN), 0)

    def test_written(self):
        exit_table.write({"qemu-linux-pae-4k": {"npf": 700, "hlt": 9}, "qemu-shadow-linux-pae-4k": {**SHADOW, "hlt": 101},
                          "qemu-guest-4k": RUN}, self.root)
        self.assertIn("| 686-pae, 4 KiB | 709 (700) | 1,000 (500) | 3,001 (2,000, 900) | - |\n",
                      (self.root / exit_table.DOCUMENT).read_text())


class Tree(unittest.TestCase):
    def test_each_run_of_debians_kernels_has_its_cell(self):
        lines = (exit_table.ROOT / exit_table.DOCUMENT).read_text().splitlines()
        shown = {(cells[0], column) for _, cells in exit_table.held.rows(lines, exit_table.HEADER)
                 for column in range(1, 5) if cells[column] != "-"}
        self.assertEqual(shown, {exit_table.place(case.name) for case in CASES if exit_table.place(case.name)})


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
