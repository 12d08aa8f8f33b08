# SPDX-License-Identifier: BSD-2-Clause
"""The figures of `make claims` that README.md and docs/claims.md show: held to a run, or written from one.

A figure may be off by a twentieth, or by 64: timers come at other instructions each time.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import held  # noqa: E402

PART, NEAR = 0.05, 64  # how far off a figure may be
README, CLAIMS = "README.md", "docs/claims.md"
FORK_TOUCH, MMAP = "fork, touch 4 MiB x 20", "mmap 4 MiB x 10"


def exits(phase):
    return phase["exits"]


def invlpg(phase):
    return phase["exits_by_cause"]["INVLPG"]


def millions(phase):
    return phase["instructions"] / 1e6


# How the guest was run -> (document, how the header of its table begins, run, column, figure of a phase)
COLUMNS = {
    "usual": [(README, "| phase | EPT |", run, column, exits)
              for run, column in (("ept-bochs", 1), ("npt-qemu", 2), ("shadow-bochs", 4), ("shadow-qemu", 5))] +
             [(CLAIMS, "| phase | exits | without |", "shadow-qemu", 1, exits),
              (CLAIMS, "| phase | exits | without |", "shadow-qemu", 4, millions)],
    "no-run-ahead": [(CLAIMS, "| phase | exits | without |", "shadow-qemu", 2, exits),
                     (CLAIMS, "| phase | exits | without |", "shadow-qemu", 5, millions)],
    "intercept-invlpg": [(CLAIMS, "| phase | vmmu, intercepted |", "shadow-qemu", 1, invlpg)],
}
# How the guest was run -> (document, words around the figures, [(run, phase, figure)])
WORDS = {
    "usual": [(CLAIMS, r"instead of ([\d,]+)\. Under NPT", [("shadow-qemu", FORK_TOUCH, exits)])],
    "no-run-ahead": [(README, r'"fork, touch" takes ([\d,]+) exits on SVM and "mmap" takes ([\d,]+)\.',
                      [("shadow-qemu", FORK_TOUCH, exits), ("shadow-qemu", MMAP, exits)])],
    "intercept-invlpg": [(README, r'"fork, touch" has ([\d,]+) exits for INVLPG', [("shadow-qemu", FORK_TOUCH, invlpg)]),
                         (CLAIMS, r'"Fork, touch" then takes ([\d,]+) exits in all', [("shadow-qemu", FORK_TOUCH, exits)]),
                         (CLAIMS, r'makes the same INVLPGs exit \(([\d,]+) in "fork, touch"\)', [("npt-qemu", FORK_TOUCH, invlpg)])],
}


def off(said, measured):
    return abs(said - measured) > max(NEAR, PART * max(said, measured))


def compare(variant, found, write=False, root=held.ROOT):
    """One line for each figure that is not what this run measured; `found`: run -> its phases."""
    runs, wrong = {run: {phase["title"]: phase for phase in phases} for run, phases in found.items()}, []
    for document, header, run, column, figure in COLUMNS[variant]:
        titles = [cells[0] for _, cells in held.rows((root / document).read_text().splitlines(), header)]
        figures = {(title, column): figure(runs[run][title]) for title in titles if run in runs}
        wrong += held.hold_table(document, header, figures, off, write, root)
    for document, words, figures in WORDS[variant]:
        if all(run in runs for run, _, _ in figures):
            wrong += held.hold_words(document, words, [figure(runs[run][title]) for run, title, figure in figures], off, write, root)
    return wrong
