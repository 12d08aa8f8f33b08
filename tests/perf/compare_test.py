#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Does `make compare` take the right figures from both sides, and say so where there is none?"""
import csv
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "compare"))
import compare   # noqa: E402


def line(step, median, mean=0, least=0):
    return f"vmm: {step} vcpu=0 count=9 min={least} p10=0 median={median} p90=0 max=0 mean={mean}\n"


class Steps(unittest.TestCase):
    LOG = "".join(line(step, number) for number, (_, step) in enumerate(compare.STEPS_4K)
                  if step.split(":")[0] in ("nothing", "cpuid", "apic", "write"))

    def test_each_figure_is_its_own_step(self):
        found = compare.steps_of(self.LOG, compare.STEPS_4K)
        self.assertEqual({name: found[name]["median"] for name in found},
                         {name: number for number, (name, _) in enumerate(compare.STEPS_4K) if name})

    def test_a_step_that_is_missing_is_no_figure_of_another(self):
        with self.assertRaises(compare.Failed):
            compare.steps_of("".join(self.LOG.splitlines(True)[:-1]), compare.STEPS_4K)

    def test_a_vmm_that_died_at_once(self):
        with self.assertRaises(compare.Failed):
            compare.steps_of("vmm: /dev/kvm: no such device\n", compare.STEPS_4K)


def figures(**of):
    return {name.replace("_", "-"): {"median": value, "mean": value + 1, "min": value} for name, value in of.items()}


class Figures(unittest.TestCase):
    def test_the_loop_itself_is_taken_off(self):
        found = figures(nothing=13, cpuid=406)
        self.assertEqual(compare.value_of(found, "cpuid", "median"), 393)
        self.assertEqual(compare.value_of(figures(nothing=13, cpuid=12), "cpuid", "median"), 0)

    def test_what_was_not_measured_is_empty(self):
        self.assertIsNone(compare.value_of(None, "cpuid", "median"))
        self.assertIsNone(compare.value_of(figures(nothing=13), "cpuid", "median"))
        self.assertEqual(compare.ratio(None, 393), "")

    def test_ratio(self):
        self.assertEqual(compare.ratio(2656, 393), "6.8")
        self.assertEqual(compare.ratio(0, 979), "no exit")

    def test_the_table_has_a_line_for_each_row(self):
        found = {("qemu", "visor", "nested"): figures(nothing=13, cpuid=406),
                 ("qemu", "kvm", "nested"): figures(nothing=13, cpuid=2669)}
        lines = compare.table_of(found, "qemu")
        self.assertEqual(len(lines), 2 + len(compare.ROWS))
        self.assertIn("| CPUID exit | 393 | 2,656 | 6.8 |", lines[2])
        self.assertEqual({text.count("|") for text in lines}, {10})

    def test_csv(self):
        found = {("qemu", "visor", "nested"): figures(nothing=13, cpuid=406)}
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "compare.csv"
            compare.write_csv(found, path)
            with open(path, encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
        self.assertEqual([(r["figure"], r["side"], r["instructions"]) for r in rows], [("cpuid", "visor", "393")])

    def test_the_plot_is_drawn_with_what_there_is(self):
        found = {("qemu", "visor", "nested"): figures(nothing=13, cpuid=406)}
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "it is here.svg"
            compare.plot(found, ["qemu"], path)
            self.assertIn("CPUID exit", path.read_text())


class Document(unittest.TestCase):
    """docs/performance.md is held to what was measured."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        (self.root / "docs").mkdir()
        self.write({})

    def tearDown(self):
        self.folder.cleanup()

    def found(self, **visor):
        return {("qemu", "visor", "nested"): figures(nothing=13, **{"cpuid": 406, **visor}),
                ("qemu", "kvm", "nested"): figures(nothing=13, cpuid=2669)}

    def write(self, visor):
        (self.root / compare.DOCUMENT).write_text("# A\n\n" + "\n".join(compare.table_of(self.found(**visor), "qemu")) + "\n")

    def hold(self, write=False, **visor):
        return compare.hold_document(self.found(**visor), ["qemu"], write, self.root)

    def test_what_was_measured_is_right(self):
        self.assertEqual(self.hold(), [])
        self.assertEqual(self.hold(cpuid=410), [])  # a timer interrupt

    def test_another_figure_is_told_with_its_line(self):
        self.assertEqual(self.hold(cpuid=506),
                         [f"{compare.DOCUMENT}:5: CPUID exit: 393, measured 493", f"{compare.DOCUMENT}:5: CPUID exit: 6.8, measured 5.4"])

    def test_what_is_written_is_right(self):
        self.hold(write=True, cpuid=506)
        self.assertEqual(self.hold(cpuid=506), [])

    def test_a_document_without_the_row(self):
        (self.root / compare.DOCUMENT).write_text("# A\n")
        self.assertIn("has no row", self.hold()[0])


if __name__ == "__main__":
    program = unittest.main(exit=False)
    result = program.result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)
