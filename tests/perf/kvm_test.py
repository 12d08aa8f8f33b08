#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Do `make bench-record`, `make bench-nested` and `make bench-nested-boot` read what machines say, and hold the documents to it?"""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "kvm"))
import nested  # noqa: E402
import nested_boot  # noqa: E402
import overhead  # noqa: E402

TABLE = f"""{overhead.HEADER} `vmmu record` | `--exits` |
|---|---|---|---|
| {overhead.OPERATIONS[0][0]} | 2,000 | 3,000 (+50 %) | 4,000 (+100 %) |
| {overhead.OPERATIONS[1][0]} | 2,000 | 3,000 (+50 %) | 4,000 (+100 %) |
| {overhead.OPERATIONS[2][0]} | 2,000 | 3,200 (+60 %) | 4,000 (+100 %) |
| {overhead.OPERATIONS[3][0]} | 2,000 | 2,000 (+0 %) | 4,000 (+100 %) |

About 600 instructions for an event.
"""
SUMMARY = "It costs some 600 instructions for each event, which makes a first touch of a\n4 KiB page 50 % more expensive.\n"


def rows(touch=3000, log=3200):
    recorded = [touch, 3000, log, 2000]
    return [(title, [2000, figure, 4000]) for (title, _), figure in zip(overhead.OPERATIONS, recorded)]


class Documents(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "docs").mkdir()
        (self.root / overhead.TABLE).write_text(TABLE)
        (self.root / overhead.SUMMARY).write_text(SUMMARY)

    def test_what_was_measured_is_right(self):
        self.assertEqual(overhead.hold_documents(rows(), root=self.root), [])
        self.assertEqual(overhead.hold_documents(rows(3020), root=self.root), [])  # a timer interrupt

    def test_another_figure_is_told_in_each_place(self):
        self.assertEqual([line.split(":")[0] for line in overhead.hold_documents(rows(touch=3400), root=self.root)],
                         [overhead.TABLE, overhead.TABLE, overhead.SUMMARY])
        self.assertEqual([line.split(":")[0] for line in overhead.hold_documents(rows(log=3600), root=self.root)],
                         [overhead.TABLE, overhead.TABLE, overhead.TABLE, overhead.SUMMARY])

    def test_what_is_written_is_right_but_for_the_summary(self):
        overhead.hold_documents(rows(log=3600), write=True, root=self.root)
        self.assertIn("| 2,000 | 3,600 (+80 %) | 4,000 (+100 %) |", (self.root / overhead.TABLE).read_text())
        self.assertEqual([line.split(":")[0] for line in overhead.hold_documents(rows(log=3600), root=self.root)], [overhead.SUMMARY])


class Nested(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "docs").mkdir()
        (self.root / nested.DOCUMENT).write_text("\n".join(nested.table(self.found(1000, 3000))) + "\n")

    def found(self, visor, kvm):
        return {side: {step: {"min": number, "median": number} for _, step, _ in nested.OPERATIONS}
                for side, number in (("the visor", visor), ("KVM", kvm))}

    def test_what_was_measured_is_right(self):
        self.assertEqual(nested.hold_document(self.found(1000, 3000), root=self.root), [])
        self.assertEqual(nested.hold_document(self.found(1010, 3020), root=self.root), [])

    def test_another_figure_is_told(self):
        self.assertEqual(len(nested.hold_document(self.found(1000, 4000), root=self.root)), 2 * len(nested.OPERATIONS))
        self.assertEqual(len(nested.hold_document(self.found(1100, 3300), root=self.root)), 2 * len(nested.OPERATIONS))

    def test_another_machine_has_a_table_of_its_own(self):
        self.assertEqual(len(nested.hold_document(self.found(1000, 3000), root=self.root, machine="bochs")), len(nested.OPERATIONS))

    def test_what_is_written_is_right(self):
        nested.hold_document(self.found(1100, 4000), write=True, root=self.root)
        self.assertEqual(nested.hold_document(self.found(1100, 4000), root=self.root), [])


HISTOGRAM = """# event histogram
#
# trigger info: hist:keys=exit_reason:vals=hitcount:sort=hitcount:size=2048 [active]
#

{ exit_reason:        124 } hitcount:          7
{ exit_reason:       1024 } hitcount:      %d
{ exit_reason:        128 } hitcount:         30
{ exit_reason:         96 } hitcount:          3

Totals:
    Hits: 1234
    Entries: 4
    Dropped: 0
"""

REPORT = {"summary": {
    "guest_ns": 4305227764,
    "exits": {"npf": 100, "io": 20, "cpuid": 5, "msr-read": 7, "msr-write": 1, "nested-entry": 30, "nested-instruction": 120, "nested-exit": 9},
    "exits_l2": {"npf": 60, "cpuid": 2, "nested-exit": 9},
    "faults": {"fixed": 3, "reflect-to-l1": 50},
    "tables_made_nested": {"1": 3, "2": 1},
}}


def kvm_files(reflected=40):
    return {"kvm_exit": (HISTOGRAM % 100).encode(), "kvm_nested_vmexit": (HISTOGRAM % 60).replace("30", "0").encode(),
            "kvm_nested_vmexit_inject": (HISTOGRAM % reflected).replace("exit_reason:  ", "exit_code:  ").encode(),
            "stats": b"exits 500\nmmu_cache_miss 66\n", "begin": b"10.50 9.00\n", "end": b"14.75 9.00\n"}


class NestedBoot(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "docs").mkdir()
        (self.root / nested_boot.DOCUMENT).write_text("\n".join(nested_boot.table(self.found())) + "\n")

    def found(self, reflected=40):
        return {"the visor": nested_boot.from_visor(REPORT), "KVM": nested_boot.from_kvm("qemu", kvm_files(reflected))}

    def test_a_histogram_is_read(self):
        self.assertEqual(nested_boot.histogram(HISTOGRAM % 1000), {124: 7, 1024: 1000, 128: 30, 96: 3})

    def test_the_exits_of_the_visor_are_told_apart(self):
        found = nested_boot.from_visor(REPORT)
        self.assertEqual(found["L1"], {"fault": 40, "entry": 30, "instruction": 120, "msr": 8, "io": 20, "other": 3})
        self.assertEqual(found["L2"], {"fault": 60, "entry": 0, "instruction": 0, "msr": 0, "io": 0, "other": 11})
        self.assertEqual((found["told"], found["tables"], found["ms"]), ({"fault": 50, "rest": 9}, 4, 4305))

    def test_those_of_kvm_too(self):
        found = nested_boot.from_kvm("qemu", kvm_files())
        self.assertEqual(found["L1"], {"fault": 40, "entry": 30, "instruction": 0, "msr": 0, "io": 0, "other": 0})
        self.assertEqual(found["L2"], {"fault": 60, "entry": 0, "instruction": 0, "msr": 7, "io": 0, "other": 3})
        self.assertEqual((found["told"], found["tables"], found["ms"]), ({"fault": 40, "rest": 40}, 66, 4250))

    def test_tracepoints_that_count_nothing_are_no_figures(self):
        with self.assertRaises(nested_boot.Failed):
            nested_boot.from_kvm("qemu", {**kvm_files(), "kvm_nested_vmexit": b"# event histogram\n"})

    def test_sums(self):
        figures = nested_boot.cells(self.found())
        self.assertEqual(figures[0], ("exits of L1", [221, 70]))
        self.assertEqual(figures[7:10], [("exits of L2", [71, 70]), ("... memory faults", [60, 60]), ("... told to L1", [50, 40])])
        self.assertEqual(figures[10:12], [("... all others", [11, 10]), ("... told to L1", [9, 40])])

    def test_a_console_without_the_workload_is_a_failure(self):
        nested_boot.require_pass("vmmu-workload: PASS\nlinux-ended 0\n", "KVM")
        for console in ("linux-ended 0\n", "vmmu-workload: PASS\nlinux-ended 1\n"):
            with self.assertRaises(nested_boot.Failed):
                nested_boot.require_pass(console, "KVM")

    def test_the_document_is_held(self):
        self.assertEqual(nested_boot.hold_document(self.found(), root=self.root), [])
        self.assertEqual(nested_boot.hold_document(self.found(80), root=self.root), [])  # timers
        self.assertEqual(len(nested_boot.hold_document(self.found(4000), root=self.root)), 1)
        nested_boot.hold_document(self.found(4000), write=True, root=self.root)
        self.assertEqual(nested_boot.hold_document(self.found(4000), root=self.root), [])

    def test_other_rows_are_told(self):
        path = self.root / nested_boot.DOCUMENT
        path.write_text(path.read_text().replace("| ... ports |", "| ... devices |"))
        self.assertEqual(len(nested_boot.hold_document(self.found(), root=self.root)), 1)

    def test_a_command_that_ends_is_read_to_its_end(self):
        self.assertEqual(nested_boot.patiently(["echo", "vmmu-workload: PASS"], self.root / "console"), "vmmu-workload: PASS\n")


class Tree(unittest.TestCase):
    def test_the_document_has_each_row_of_a_nested_boot(self):
        lines = (nested_boot.held.ROOT / nested_boot.DOCUMENT).read_text().splitlines()
        self.assertEqual([cells[0] for _, cells in nested_boot.held.rows(lines, nested_boot.HEADER)],
                         [title for title, *_ in nested_boot.ROWS] + ["tables made for L2", "virtual time, ms"])

    def test_the_document_has_each_row_of_a_nested_guest(self):
        lines = (nested.held.ROOT / nested.DOCUMENT).read_text().splitlines()
        for machine in nested.NESTED:
            header = nested.table({side: {step: {"min": 1, "median": 1} for _, step, _ in nested.OPERATIONS} for side in ("the visor", "KVM")}, machine)[0]
            self.assertEqual([cells[0] for _, cells in nested.held.rows(lines, header)], [title for title, _, _ in nested.OPERATIONS])

    def test_the_documents_have_every_figure(self):
        """With figures that nothing can show each one is told."""
        told = overhead.hold_documents([(title, [10**9, 3 * 10**9, 4 * 10**9]) for title, _ in overhead.OPERATIONS])
        self.assertEqual(sum(line.startswith(overhead.TABLE) for line in told), 5 * len(overhead.OPERATIONS) + 1)
        self.assertEqual(sum(line.startswith(overhead.SUMMARY) for line in told), 2)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
