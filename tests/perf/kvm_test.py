#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Do `make bench-record` and `make bench-nested` hold the documents to what they measured?"""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "kvm"))
import nested  # noqa: E402
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

    def test_what_is_written_is_right(self):
        nested.hold_document(self.found(1100, 4000), write=True, root=self.root)
        self.assertEqual(nested.hold_document(self.found(1100, 4000), root=self.root), [])


class Tree(unittest.TestCase):
    def test_the_document_has_each_row_of_a_nested_guest(self):
        lines = (nested.held.ROOT / nested.DOCUMENT).read_text().splitlines()
        self.assertEqual([cells[0] for _, cells in nested.held.rows(lines, nested.HEADER)], [title for title, _, _ in nested.OPERATIONS])

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
