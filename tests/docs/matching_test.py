#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Does documents_test.py see where a document and a command differ?"""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import documents_test as documents  # noqa: E402
import shell_test as shell  # noqa: E402


class Matching(unittest.TestCase):
    def same(self, expected, printed):
        return documents.differs(expected.splitlines(), printed.splitlines()) is None

    def test_addresses_times_and_gaps_may_differ(self):
        self.assertTrue(self.same("fault 1  0.1 s  read at 0x1000", "fault 12 4.5 s read at 0xdeadbeef"))
        self.assertTrue(self.same("L1 0x1000[  1] 00000000deadbeef", "L1 0x2000[511] 0000000000000001"))

    def test_counts_may_differ_a_little(self):
        self.assertTrue(self.same("4109", "4112"))
        self.assertTrue(self.same("1,010 loads", "1,200 loads"))
        self.assertTrue(self.same("0", "16"))
        self.assertFalse(self.same("0", "17"))
        self.assertFalse(self.same("0", "1,016"))
        self.assertFalse(self.same("1,016 loads", "18 loads"))
        self.assertFalse(self.same("20,560 exits for 0x10", "10,000 exits for 0x10"))

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
    TEXT = "Text\n```console\n$ echo one\none\n$ false\n[1]\n```\n```sh\n$ not run\n```\n```console long\n$ echo 0x2\n0x1\n```\n"

    def setUp(self):
        self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(dir=documents.ROOT))) / "a.md"

    def test_commands(self):
        self.assertEqual([(c.line, c.words, c.expected, c.at, c.status, c.long) for c in documents.commands_of(self.TEXT)],
                         [(3, "echo one", ["one"], [4], 0, False), (5, "false", [], [], 1, False),
                          (12, "echo 0x2", ["0x1"], [13], 0, True)])

    def test_run(self):
        self.path.write_text(self.TEXT)
        self.assertEqual(documents.check(self.path, "build"), (2, 0, 1))
        self.assertEqual(documents.check(self.path, "build", long=True), (3, 0, 0))
        self.path.write_text(self.TEXT.replace("\none\n", "\ntwo\n").replace("[1]", "[2]"))
        sys.stdout.flush()
        self.assertEqual(documents.check(self.path, "build"), (0, 2, 1))

    def test_indented(self):
        text = "1. Text\n\n   ```console\n   $ echo '  a 0x2'\n     a 0x1\n   ```\n"
        self.path.write_text(text)
        self.assertEqual(documents.check(self.path, "build", write=True), (1, 0, 0))
        self.assertEqual(self.path.read_text(), text.replace("0x1", "0x2"))

    def test_write(self):
        text = "```console\n$ printf 'a 0x2\\nb 3.5  s\\nc 4\\n'\na 0x1\n\n...\nc 1\n```\nText\n"
        self.path.write_text(text)
        self.assertEqual(documents.check(self.path, "build"), (1, 0, 0))
        self.assertEqual(self.path.read_text(), text)
        self.assertEqual(documents.check(self.path, "build", write=True), (1, 0, 0))
        self.assertEqual(self.path.read_text(), text.replace("a 0x1", "a 0x2").replace("c 1", "c 4"))


class Shell(unittest.TestCase):
    def test_commands(self):
        text = "```sh\nmake     # all\n\n# a remark\nvmmu run \\\n    --kernel K \\\n    -q   # quietly\nmake run\n```\n"
        self.assertEqual(shell.commands_of(text), [(2, "make"), (5, "vmmu run --kernel K -q"), (8, "make run")])


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
