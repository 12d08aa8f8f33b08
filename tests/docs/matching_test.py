#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Does documents_test.py see where a document and a command differ?"""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import documents_test as documents  # noqa: E402


class Matching(unittest.TestCase):
    def same(self, expected, printed):
        return documents.differs(expected.splitlines(), printed.splitlines()) is None

    def test_numbers_and_gaps_may_differ(self):
        self.assertTrue(self.same("fault 1  0.1 s  read at 0x1000", "fault 22 4.5 s read at 0xdeadbeef"))
        self.assertTrue(self.same("36,1 rows", "1 rows"))

    def test_words_may_not(self):
        self.assertFalse(self.same("fault 1 read", "fault 1 write"))

    def test_lines_in_order_and_none_left_over(self):
        self.assertFalse(self.same("one\ntwo", "two\none"))
        self.assertFalse(self.same("one", "one\ntwo"))
        self.assertFalse(self.same("one\ntwo", "one"))

    def test_dots(self):
        self.assertTrue(self.same("one\n...\nfour", "one\ntwo\nthree\nfour"))
        self.assertTrue(self.same("one\n...", "one\ntwo\nthree"))
        self.assertTrue(self.same("...\ntwo", "one\ntwo"))
        self.assertFalse(self.same("...\nfive", "one\ntwo"))
        self.assertFalse(self.same("...\none", "one\ntwo"))


class Documents(unittest.TestCase):
    TEXT = "Text\n```console\n$ echo one\none\n$ false\n[1]\n```\n```sh\n$ not run\n```\n"

    def test_commands(self):
        self.assertEqual(documents.commands_of(self.TEXT), [[3, "echo one", ["one"], 0], [5, "false", [], 1]])

    def test_run(self):
        with tempfile.TemporaryDirectory(dir=documents.ROOT) as folder:
            path = pathlib.Path(folder) / "a.md"
            path.write_text(self.TEXT)
            self.assertEqual(documents.check(path, "build"), (2, 0))
            path.write_text(self.TEXT.replace("\none\n", "\ntwo\n").replace("[1]", "[2]"))
            sys.stdout.flush()
            self.assertEqual(documents.check(path, "build"), (0, 2))


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
