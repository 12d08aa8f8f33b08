# SPDX-License-Identifier: BSD-2-Clause
"""The figures as tables: Markdown whose columns line up, at most 120 characters wide."""
from figures import COLUMNS

TITLES = {"npt-qemu": "NPT on QEMU", "ept-bochs": "EPT on Bochs",
          "shadow-qemu": "shadow paging by SVM on QEMU", "shadow-bochs": "shadow paging by VMX on Bochs"}
SHORT = {"npt-qemu": "NPT", "ept-bochs": "EPT", "shadow-qemu": "shadow, SVM", "shadow-bochs": "shadow, VMX"}

HEADS = ["read" if column == "CR3 read" else column for column in COLUMNS]  # it stands behind "CR3 write"
CAUSES_SHOWN = 7  # columns: the rarest causes share the last one


def count(value):
    return "" if value is None else f"{value:,}"


def millions(value):
    return "" if value is None else f"{value / 1e6:,.1f}"


def ratio(ours, theirs):
    if not theirs:
        return ""
    return f"{ours / theirs:.2f}" if ours < 100 * theirs else f"{ours / theirs:,.0f}"


def table(head, rows):
    """The first column is text, the others are numbers."""
    widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(len(head))]

    def line(cells):
        first, *rest = (str(cell).ljust(w) if i == 0 else str(cell).rjust(w)
                        for i, (cell, w) in enumerate(zip(cells, widths)))
        return "| " + " | ".join((first, *rest)) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)]) + "\n"


def overview(runs):
    """Exits of every run side by side; `runs`: run -> figures."""
    head, columns = ["exits"], []
    for run in ("ept-bochs", "npt-qemu", "shadow-bochs", "shadow-qemu"):
        if run not in runs:
            continue
        head.append(SHORT[run])
        columns.append([count(p["exits"]) for p in runs[run]])
        if any("exits" in p["kvm"] for p in runs[run]):
            head += ["KVM's", "ratio"]
            columns.append([count(p["kvm"].get("exits")) for p in runs[run]])
            columns.append([ratio(p["exits"], p["kvm"].get("exits")) for p in runs[run]])
    titles = [p["title"] for p in next(iter(runs.values()))]
    return table(head, [[title, *(column[i] for column in columns)] for i, title in enumerate(titles)])


def exits(figures):
    known = any("exits" in p["kvm"] for p in figures)
    rows = []
    for p in figures:
        row = [p["title"], count(p["exits"]), *(count(p["exits_by_cause"][c]) for c in COLUMNS)]
        if known:
            row += [count(p["kvm"].get("exits")), ratio(p["exits"], p["kvm"].get("exits"))]
        rows.append(row)
    return table(["exits", "all", *HEADS] + (["KVM's", "ratio"] if known else []), rows)


def kvm_exits(figures):
    """What is known of KVM's by cause, of phases where anything is."""
    rows = [[p["title"], count(p["kvm"].get("exits")), *(count(p["kvm"].get(c)) for c in COLUMNS[:-1])]
            for p in figures if p["kvm"]]
    return table(["KVM's exits", "all", *HEADS[:-1]], rows) if rows else ""


def causes(figures, key):
    """Causes that occur, most frequent first."""
    sums = {}
    for phase in figures:
        for cause, number in phase[key].items():
            sums[cause] = sums.get(cause, 0) + number
    return sorted(sums, key=lambda cause: (-sums[cause], cause))


def entries(figures, key, title):
    names = causes(figures, key)
    shown = names if len(names) <= CAUSES_SHOWN else names[:CAUSES_SHOWN - 1]
    rest = names[len(shown):]
    rows = []
    for p in figures:
        row = [p["title"], count(sum(p[key].values())), *(count(p[key].get(cause, 0)) for cause in shown)]
        rows.append(row + ([count(sum(p[key].get(cause, 0) for cause in rest))] if rest else []))
    return table([title, "all", *shown] + (["rest"] if rest else []), rows)


def tables(figures):
    ahead = any(p["run_ahead"]["faults"] for p in figures)
    rows = []
    for p in figures:
        row = [p["title"], count(p["tables_made"]), count(p["tables_freed"]), count(p["flushes"])]
        row += [count(p["run_ahead"]["faults"])] if ahead else []
        rows.append(row + [millions(p["instructions"]), millions(p["kvm"].get("instructions")),
                           ratio(p["instructions"], p["kvm"].get("instructions"))])
    return table(["tables and time", "tables made", "freed", "TLB flushes"] + (["#PF run ahead to"] if ahead else []) +
                 ["10^6 instructions", "KVM's", "ratio"], rows)


def whole(runs, source):
    """All of it, as text."""
    parts = [f"KVM's figures: {source}.\n", overview(runs)]
    for run, figures in runs.items():
        parts += [f"## {TITLES[run]}\n", exits(figures), kvm_exits(figures),
                  entries(figures, "written", "entries written")]
        if causes(figures, "zapped"):
            parts.append(entries(figures, "zapped", "of these, present ones emptied"))
        parts.append(tables(figures))
    return "\n".join(part for part in parts if part)
