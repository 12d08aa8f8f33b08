#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The pictures of docs/, drawn from data: python3 docs/images/draw.py writes the SVG files beside it.

Each picture has a title and a description for those who cannot see it. Colours are told
apart by lightness as well as by hue. tests/docs/pictures holds the files to this script.
"""
import pathlib
import re
import sys
from xml.sax.saxutils import escape

INK, PALE, LINE = "#1b1f24", "#f3f5f7", "#57606a"
GUEST, HOST, SHADOW = "#cfe3fa", "#fbe3b5", "#d8f0d2"
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
MONO = "font-family='DejaVu Sans Mono, Menlo, monospace'"


class Picture:
    def __init__(self, name, width, height, title, description):
        self.name, self.parts = name, []
        self.head = (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' "
                     f"height='{height}' role='img' aria-labelledby='t d'>\n"
                     f"<title id='t'>{escape(title)}</title>\n<desc id='d'>{escape(description)}</desc>\n"
                     "<defs><marker id='arrow' markerWidth='9' markerHeight='9' refX='8' refY='4' orient='auto'>"
                     f"<path d='M0,0 L8,4 L0,8 z' fill='{INK}'/></marker></defs>\n"
                     f"<rect width='{width}' height='{height}' fill='white'/>\n")

    def box(self, x, y, w, h, fill=PALE, dashed=False):
        dash = " stroke-dasharray='5 4'" if dashed else ""
        self.parts.append(f"<rect x='{x}' y='{y}' width='{w}' height='{h}' rx='3' fill='{fill}' "
                          f"stroke='{LINE}'{dash}/>")

    def text(self, x, y, words, size=14, anchor="start", mono=False, bold=False):
        weight = " font-weight='bold'" if bold else ""
        self.parts.append(f"<text x='{x}' y='{y}' {MONO if mono else FONT} font-size='{size}' fill='{INK}' "
                          f"text-anchor='{anchor}'{weight}>{escape(words)}</text>")

    def arrow(self, *points, dashed=False):
        dash = " stroke-dasharray='5 4'" if dashed else ""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(f"<polyline points='{path}' fill='none' stroke='{INK}' stroke-width='1.5'"
                          f"{dash} marker-end='url(#arrow)'/>")

    def labelled(self, x, y, w, h, words, fill=PALE, size=14):
        self.box(x, y, w, h, fill)
        lines = words.split("\n")
        for i, line in enumerate(lines):
            self.text(x + w / 2, y + h / 2 + 5 + (i - (len(lines) - 1) / 2) * (size + 4), line, size, "middle")

    def svg(self):
        return self.head + "\n".join(self.parts) + "\n</svg>\n"


def readme_walk():
    """[(level, address of the table, index, entry's meaning)] of the walk that README.md prints, and the page's address."""
    text = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text()
    rows = re.findall(r"^  (\d) +\d+ \w+ +0x(\w+) +\[ *(\d+)\]  0x\w+  0x\w+  (.*)$", text, re.M)
    tables = [(int(level), int(at, 16), int(index), meaning) for level, at, index, meaning in rows]
    if [row[0] for row in tables] != [4, 3, 2]:
        sys.exit("draw: README.md has no walk of three levels")
    return tables, int(re.search(r"page 0x(\w+)", tables[-1][3])[1], 16)


def walk():
    """The README's walk: three tables, three pages."""
    (top, upper, lower), page = readme_walk()
    p = Picture("walk.svg", 940, 330, "A walk of the second-level tables for gpa 0x5600000",
                f"Three pages of 512 entries. Entry {top[2]} of the level 4 table at 0x{top[1]:08x} references the level 3 "
                f"table at 0x{upper[1]:08x}. Its entry {upper[2]} references the level 2 table at 0x{lower[1]:08x}. Its "
                f"entry {lower[2]}, at address 0x{lower[1] + 8 * lower[2]:08x}, maps the 2 MiB page at 0x{page:08x}.")
    tables = [("level 4 (PML4)", *top[1:3], f"0x{upper[1]:08x} rwx"), ("level 3", *upper[1:3], f"0x{lower[1]:08x} rwx"),
              ("level 2", *lower[1:3], f"0x{page:08x} rwx WB")]
    for i, (level, at, index, holds) in enumerate(tables):
        x, top = 20 + i * 235, 70
        row = top + 14 + index * 2
        p.text(x, 30, level, 15, bold=True)
        p.text(x, 52, f"page at 0x{at:08x}", 13, mono=True)
        p.box(x, top, 190, 200)
        p.box(x, row, 190, 30, HOST)
        p.text(x + 8, row + 20, f"[{index}]  {holds}", 13, mono=True)
        p.text(x, 292, f"entry at 0x{at + 8 * index:08x}", 13, mono=True)
        p.text(x, 312, f"= table + 8 x {index}", 13, mono=True)
        if i < 2:
            p.arrow((x + 190, row + 15), (x + 212, row + 15), (x + 212, 76), (x + 233, 76))
        else:
            p.arrow((x + 190, row + 15), (x + 233, row + 15))
    p.labelled(725, 70, 195, 200, f"guest memory\n2 MiB at\n0x{page:08x}", GUEST)
    p.text(725, 30, "the page", 15, bold=True)
    return p


def translations():
    """Which tables translate what, by mode."""
    p = Picture("translations.svg", 940, 420, "Three ways to translate a guest's addresses",
                "With paging on and nested paging, the guest's own tables translate gva to gpa, the EPT or NPT "
                "translates gpa to hpa. With paging on and shadow paging, the CPU walks shadow tables that go from "
                "gva to hpa at once; they are made from the guest's tables and the slots. With paging off, a gva is "
                "a gpa, and one direct map from gpa to hpa serves nested and shadow paging alike.")
    rows = [("Nested paging (EPT, NPT)", [("gva", 200), ("gpa", 480), ("hpa", 760)],
             [("the guest's own tables", 260, GUEST), ("second-level tables", 540, HOST)]),
            ("Shadow paging, guest paging on", [("gva", 200), ("hpa", 760)],
             [("shadow tables: what the guest's tables and the slots say together", 260, SHADOW)]),
            ("Guest paging off, either way", [("gva = gpa", 200), ("hpa", 760)],
             [("direct map: the same tables, the same function", 260, HOST)])]
    for i, (title, ends, tables) in enumerate(rows):
        y = 30 + i * 135
        p.text(20, y, title, 16, bold=True)
        last = None
        for words, x in ends:
            p.labelled(x - 60, y + 22, 120, 44, words)
            if last is not None:
                p.arrow((last + 60, y + 44), (x - 62, y + 44))
            last = x
        for words, x, fill in tables:
            width = 160 if len(tables) == 2 else 440
            p.labelled(x, y + 74, width, 30, words, fill, 12)
    return p


def held_and_parked():
    """A guest table, its shadow table, and the two states."""
    p = Picture("shadow.svg", 940, 400, "A shadow table, held and parked",
                "Held: the CPU's root reaches the shadow table, and the guest table's frame cannot be written. "
                "Parked: the shadow table is unlinked from its parents and the CPU cannot reach it; its contents "
                "stay, and the guest writes its table freely. Links beside each entry form the reverse map.")
    for x, title, lines, parked in (
            (20, "Held", ["A CPU may reach the shadow table.", "No CPU can write the guest table.",
                          "So the two always say the same."], False),
            (490, "Parked", ["No CPU reaches the shadow table.", "The guest writes its table without exits.",
                             "Before it is linked again, all 512 words", "are compared with those it was made from."],
             True)):
        p.text(x, 30, title, 17, bold=True)
        for i, line in enumerate(lines):
            p.text(x, 56 + 19 * i, line, 13)
        p.labelled(x, 150, 130, 60, "guest table\n(guest frame)", GUEST, 13)
        p.labelled(x + 290, 150, 130, 60, "shadow table", SHADOW, 13)
        p.text(x + 210, 172, "made from", 12, "middle")
        p.arrow((x + 290, 180), (x + 134, 180), dashed=True)
        p.labelled(x + 290, 300, 130, 50, "parent's entry", SHADOW, 13)
        if parked:
            p.text(x + 355, 262, "not linked", 13, "middle")
        else:
            p.arrow((x + 355, 300), (x + 355, 214))
        p.labelled(x, 300, 130, 50, "guest's CPU", PALE, 13)
        if parked:
            p.arrow((x + 65, 300), (x + 65, 214))
            p.text(x + 76, 262, "writes", 13)
        else:
            p.text(x + 65, 262, "read-only", 13, "middle")
    p.text(20, 385, "Each entry of a shadow table has a link. The links of all entries that map one frame, or reference "
                    "one table, form one list: the reverse map.", 12)
    return p


def two_dimensions():
    """The 24 references of a nested walk, 4 guest levels over 4 second-level levels."""
    p = Picture("two-dimensions.svg", 940, 430, "The 24 references of a two-dimensional walk",
                "Each of the guest's four tables is named by a gpa. To read one entry of it the CPU first walks the "
                "four second-level tables, which makes five references for each of four levels, and four more for "
                "the final gpa: 4 x 5 + 4 = 24.")
    p.text(20, 28, "4 guest levels x (4 second-level references + 1 guest entry) + 4 for the final gpa = 24", 15, bold=True)
    number, rows = 1, ["CR3 (gpa)", "level 4 entry", "level 3 entry", "level 2 entry", "level 1 entry"]
    for r, source in enumerate(rows):
        y = 50 + r * 74
        p.text(20, y + 32, source, 13)
        for c in range(4):
            x = 160 + c * 140
            p.labelled(x, y, 100, 52, f"{number}\nsecond level {4 - c}", HOST, 12)
            p.arrow((x - 38 if c else 128, y + 26), (x - 2, y + 26))
            number += 1
        p.arrow((680, y + 26), (730, y + 26))
        if r < 4:
            p.labelled(732, y, 170, 52, f"{number}\nguest level {4 - r} entry", GUEST, 12)
            number += 1
        else:
            p.labelled(732, y, 170, 52, "the data", PALE, 13)
    assert number == 25
    return p


PICTURES = (walk, translations, held_and_parked, two_dimensions)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    for draw in PICTURES:
        picture = draw()
        (folder / picture.name).write_text(picture.svg())


if __name__ == "__main__":
    main()
