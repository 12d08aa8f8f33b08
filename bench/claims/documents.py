# SPDX-License-Identifier: BSD-2-Clause
"""The figures of `make claims` that README.md and docs/claims.md show: held to a run, or written from one.

A figure may be off by a twentieth, or by 64: timers come at other instructions each time.
"""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PART, NEAR = 0.05, 64  # how far off a figure may be


def exits(phase):
    return phase["exits"]


def invlpg(phase):
    return phase["exits_by_cause"]["INVLPG"]


def millions(phase):
    return phase["instructions"] / 1e6


# How the guest was run -> (document, how the header of its table begins, run, column, figure of a phase)
COLUMNS = {
    "usual": [("README.md", "| phase | EPT |", run, column, exits)
              for run, column in (("ept-bochs", 1), ("npt-qemu", 2), ("shadow-bochs", 4), ("shadow-qemu", 5))] +
             [("docs/claims.md", "| phase | exits | without |", "shadow-qemu", 1, exits),
              ("docs/claims.md", "| phase | exits | without |", "shadow-qemu", 4, millions)],
    "no-run-ahead": [("docs/claims.md", "| phase | exits | without |", "shadow-qemu", 2, exits),
                     ("docs/claims.md", "| phase | exits | without |", "shadow-qemu", 5, millions)],
    "intercept-invlpg": [("docs/claims.md", "| phase | vmmu, intercepted |", "shadow-qemu", 1, invlpg)],
}


def rows(lines, header):
    """(number of the line, its cells) of the table whose header begins so."""
    begin = next(i for i, line in enumerate(lines) if line.startswith(header))
    for i in range(begin + 2, len(lines)):
        if not lines[i].startswith("|"):
            return
        yield i, [cell.strip() for cell in lines[i].strip().strip("|").split("|")]


def off(said, measured):
    return abs(said - measured) > max(NEAR, PART * max(said, measured))


def compare(variant, found, write=False, root=ROOT):
    """One line for each figure that is not what this run measured; `found`: run -> its phases."""
    wrong = []
    for name in sorted({column[0] for column in COLUMNS[variant]}):
        path = root / name
        lines = path.read_text().splitlines(keepends=True)
        for document, header, run, column, figure in COLUMNS[variant]:
            measured = {phase["title"]: figure(phase) for phase in found.get(run, ())}
            for i, cells in list(rows(lines, header)) if document == name and measured else ():
                now = measured[cells[0]]
                if off(float(cells[column].replace(",", "")), now):
                    wrong.append(f"{name}:{i + 1}: {cells[0]}, {run}: {cells[column]}, measured {now:,.0f}")
                cells[column] = f"{now:,.1f}" if figure is millions else f"{now:,}"
                lines[i] = "| " + " | ".join(cells) + " |\n"
        if write:
            path.write_text("".join(lines))
    return wrong
