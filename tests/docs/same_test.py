#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What several documents show of one run is the same in all of them.

The walk that README.md prints stands again as a table in docs/answer.md. (docs/images/draw.py
draws it from README.md, and tests/docs/pictures holds the picture to that.) The claims of
docs/answer.md link to steps of docs/tour.md, and each step answers one. A figure in the words
of docs/tour.md and docs/tutorial.md stands in the output that the document prints, too.
"""
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs/images"))
import draw  # noqa: E402

BLOCK = re.compile(r"^ *```console.*?^ *```$", re.M | re.S)
FIGURE = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)+(?![\w.,]*\w)")  # with a comma or a point: a count, a time or a size


def anchor(heading):
    """The name that a heading can be linked by."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


class Same(unittest.TestCase):
    answer, tour = ((ROOT / "docs" / name).read_text() for name in ("answer.md", "tour.md"))

    def test_walk(self):
        rows = re.findall(r"^\| (\d) \| `0x(\w+)` \| (\d+) \| `0x(\w+)` \| .*`0x(\w+)` \|$", self.answer, re.M)
        tables, page = draw.readme_walk()
        leads = [table[1] for table in tables[1:]] + [page]
        self.assertEqual([(int(level), int(at, 16), int(index), int(entry, 16), int(to, 16))
                          for level, at, index, entry, to in rows],
                         [(level, at, index, at + 8 * index, to) for (level, at, index, _), to in zip(tables, leads)])

    def test_each_claim_has_its_step(self):
        steps = {anchor(heading) for heading in re.findall(r"^## (\d+\. .*)$", self.tour, re.M)}
        linked = set(re.findall(r"tour\.md#([\w-]+)", self.answer))
        self.assertEqual(linked - steps, set())
        self.assertTrue(len(linked) >= 8)


    def test_figures_in_the_words_are_those_of_the_output(self):
        """documents_test.py holds the output, and writes it; the words around it must follow."""
        for name, least in (("tour.md", 2), ("tutorial.md", 2)):
            text = (ROOT / "docs" / name).read_text()
            printed = re.findall(r"\d+(?:\.\d+)?", " ".join(BLOCK.findall(text)).replace(",", ""))
            words = re.sub(r"`[^`]*`|\[[^]]*\]\([^)]*\)", "", BLOCK.sub("", text))
            figures = set(FIGURE.findall(words))
            self.assertTrue(len(figures) >= least, (name, figures))
            self.assertEqual([figure for figure in figures
                              if not any(now.startswith(figure.replace(",", "")) for now in printed)], [], name)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
