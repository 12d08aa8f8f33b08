# SPDX-License-Identifier: BSD-2-Clause
"""Figures that documents show, held to what was measured or written from it.

A table of a document is found by how its header begins, a row by its first cell, and the
numbers of a cell by their order. A figure in a sentence is found by the words around it.
"""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def value(text):
    return float(text.replace(",", ""))


def shown(said, now):
    """The figure as the document writes such figures: as many decimals as before."""
    decimals = len(said.partition(".")[2])
    return f"{now:,.{decimals}f}"


def plain(number):
    return f"{number:,.2f}".rstrip("0").rstrip(".")


def replaced(text, figures, off):
    """(text with the figures in the place of its numbers, [(said, figure)] of those that are off).

    A figure of None is not known, and its number stays.
    """
    found = list(NUMBER.finditer(text))
    if len(found) != len(figures) and None not in figures:
        return text, [(text, figure) for figure in figures]
    known = [(number, now) for number, now in zip(found, figures) if now is not None]
    wrong = [(number[0], now) for number, now in known if off(value(number[0]), now)]
    for number, now in reversed(known):
        text = text[:number.start()] + shown(number[0], now) + text[number.end():]
    return text, wrong


def rows(lines, header):
    """(number of the line, its cells) of the table whose header begins so."""
    begin = next((i for i, line in enumerate(lines) if line.startswith(header)), len(lines))
    for i in range(begin + 2, len(lines)):
        if not lines[i].startswith("|"):
            return
        yield i, [cell.strip() for cell in lines[i].strip().strip("|").split("|")]


def hold_table(name, header, figures, off, write=False, root=ROOT):
    """One line for each figure that is off. figures: {(first cell, column): figure, or several of one cell}.

    With `write` the figures are put into the document. A row that the document has not is wrong, too.
    """
    path, wrong, missing = root / name, [], set(figures)
    lines = path.read_text().splitlines(keepends=True)
    for i, cells in list(rows(lines, header)):
        for column in range(1, len(cells)):
            if (cells[0], column) not in figures:
                continue
            missing.discard((cells[0], column))
            wanted = figures[cells[0], column]
            cells[column], bad = replaced(cells[column], wanted if isinstance(wanted, (list, tuple)) else [wanted], off)
            wrong += [f"{name}:{i + 1}: {cells[0]}: {said}, measured {plain(now)}" for said, now in bad]
        if write:
            lines[i] = "| " + " | ".join(cells) + " |\n"
    if write:
        path.write_text("".join(lines))
    return wrong + [f"{name}: the table \"{header}\" has no row \"{row}\"" for row in sorted({row for row, _ in missing})]


def hold_words(name, pattern, figures, off, write=False, root=ROOT):
    """The same for a sentence: the groups of `pattern` are the figures; a space in it is any gap."""
    path = root / name
    text = path.read_text()
    found = re.search(pattern.replace(" ", r"\s+"), text)
    if not found:
        return [f"{name}: nothing reads \"{pattern}\""]
    wrong = []
    for group, now in reversed(list(enumerate(figures, 1))):
        if off(value(found[group]), now):
            wrong.append(f"{name}:{text.count(chr(10), 0, found.start(group)) + 1}: {found[group]}, measured {plain(now)}")
        text = text[:found.start(group)] + shown(found[group], now) + text[found.end(group):]
    if write:
        path.write_text(text)
    return wrong
