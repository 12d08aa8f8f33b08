#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""The colours of a report are told apart by colour-blind readers, and seen on their ground, light and dark."""

import itertools
import pathlib
import re
import sys

from colours import SEEN_BY, contrast, distance

STYLE = pathlib.Path(__file__).resolve().parent.parent.parent / "tool/report/page/style.css"
APART = 10.0   # CIEDE2000; 2 to 3 is what a trained eye sees side by side
SEEN = 2.5
READ = 4.5     # WCAG 2, text


def palettes():
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.S)
    return zip(("light", "dark"), (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks))


def main():
    passed = failed = 0
    for name, colours in palettes():
        complaints = []
        kinds = [colours[f"c{i}"] for i in range(1, 7)]
        for who in SEEN_BY:
            for a, b in itertools.combinations(kinds, 2):
                if distance(a, b, who) < APART:
                    complaints.append(f"{a} and {b} are {distance(a, b, who):.1f} apart for {who}")
        complaints += [f"{c} is hardly seen on {colours['card']}" for c in kinds if contrast(c, colours["card"]) < SEEN]
        complaints += [f"{text} cannot be read on {ground}" for text, ground in
                       itertools.product(("ink", "soft", "accent"), ("card", "page"))
                       if contrast(colours[text], colours[ground]) < READ]
        if contrast(colours["warn"], colours["warn-page"]) < READ:
            complaints.append("a notice cannot be read")
        for complaint in complaints:
            print(f"FAILED: {name}: {complaint}")
        passed += not complaints
        failed += bool(complaints)
    if passed + failed != 2:
        print("FAILED: the style sheet has not two palettes")
        failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


sys.exit(main())
