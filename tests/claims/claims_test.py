#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What `make claims` makes of a run: figures, bounds and tables, from reports made here."""
import json
import pathlib
import sys
import tempfile
import unittest

CLAIMS = pathlib.Path(__file__).resolve().parent.parent.parent / "bench" / "claims"
sys.path.insert(0, str(CLAIMS))
import bounds  # noqa: E402
import claims  # noqa: E402
import documents  # noqa: E402
import figures  # noqa: E402
import tables  # noqa: E402

NAMES = ["boot", "touch", "fork", "fork-touch", "exec", "mmap", "switch", "mprotect"]


def console(names=NAMES):
    lines = [f"vmmu-phases: {i + 1} {name} {i * 10} faults\r" for i, name in enumerate(names)]
    return "[    0.0] Linux\r\n" + "\n".join(lines) + "\nvmmu-phases: PASS\r\n"


def phase(number, exits=None, entries=None, zapped=None, **more):
    told = {"event": "phase", "number": number, "ticks": 1500000, "exits": exits or {"cr3-write": 0, "cr3-read": 0, "invlpg": 0},
            "faults": {}, "entries": entries or {}, "zapped": zapped or {},
            "tables_allocated": 0, "tables_freed": 0, "flushes": 0}
    return {**told, **more}


def report(**changed):
    """Eight phases; `changed` has some of them by name, as arguments of phase()."""
    return {"phases": [phase(i + 1, **changed.get(name.replace("-", "_"), {})) for i, name in enumerate(NAMES)]}


def figures_of(run="npt-qemu", told=None):
    return figures.figures(told or report(), console(), run, figures.kvm())


class Figures(unittest.TestCase):
    def test_phases_are_those_of_the_reference_in_its_order(self):
        self.assertEqual([p["name"] for p in figures_of()], NAMES)

    def test_numbers_may_come_in_any_order(self):
        told = report(touch={"flushes": 7})
        told["phases"].reverse()
        self.assertEqual(figures_of(told=told)[1]["flushes"], 7)

    def test_exits_are_added_up_by_cause(self):
        exits = {"page-fault": 5, "cr3-write": 2, "cr3-read": 1, "invlpg": 2, "npf": 11, "cpuid": 1, "msr-write": 20, "hlt": 1}
        fork = figures_of(told=report(fork={"exits": exits}))[2]
        self.assertEqual(fork["exits"], 43)
        self.assertEqual(fork["exits_by_cause"],
                         {"CR3 write": 2, "CR3 read": 1, "INVLPG": 2, "#PF": 5, "violation": 11, "CPUID": 1,
                          "other": 21})

    def test_misconfigurations_are_violations(self):
        boot = figures_of(told=report(boot={"exits": {"ept-violation": 7, "ept-misconfiguration": 2}}))[0]
        self.assertEqual(boot["exits_by_cause"]["violation"], 9)

    def test_entries_are_added_up_over_levels(self):
        entries = {"violation": {"1": 5, "4": 1}, "prefetch": {"1": 7}}
        self.assertEqual(figures_of(told=report(mmap={"entries": entries}))[5]["written"],
                         {"violation": 6, "prefetch": 7})

    def test_kvm_stands_beside_its_own_run_only(self):
        self.assertEqual(figures_of("npt-qemu")[0]["kvm"]["exits"], 25839)
        self.assertEqual(figures_of("shadow-qemu")[3]["kvm"]["INVLPG"], 20574)
        self.assertEqual(figures_of("ept-bochs")[1]["kvm"], {})

    def test_a_phase_that_was_not_told_is_an_error(self):
        told = report()
        del told["phases"][4]
        with self.assertRaisesRegex(figures.Malformed, 'nothing was told of the phase "exec"'):
            figures_of(told=told)

    def test_a_phase_that_the_guest_does_not_name_is_an_error(self):
        with self.assertRaisesRegex(figures.Malformed, '"mprotect"'):
            figures.figures(report(), console(NAMES[:-1]), "npt-qemu", figures.kvm())

    def test_a_visor_without_phases_is_an_error(self):
        with self.assertRaises(figures.Malformed):
            figures_of(told={"summary": {}})

    def test_a_guest_that_failed_is_an_error(self):
        with self.assertRaisesRegex(figures.Malformed, "mmap of 4194304 bytes: Cannot allocate memory"):
            figures.guest_names("vmmu-phases: FAIL mmap of 4194304 bytes: Cannot allocate memory\r\n")

    def test_a_guest_that_stopped_half_way_is_an_error(self):
        with self.assertRaisesRegex(figures.Malformed, "did not come to the end"):
            figures.guest_names(console().replace("PASS", ""))


class Bounds(unittest.TestCase):
    def test_nothing_at_all_keeps_every_bound(self):
        for run in claims.RUNS:
            self.assertEqual(bounds.exceeded(run, figures_of(run)), [])

    def test_no_exit_for_the_guests_own_paging(self):
        for name, cause in (("cr3-write", "CR3 write"), ("cr3-read", "CR3 read"), ("invlpg", "INVLPG"), ("page-fault", "#PF")):
            for run in ("npt-qemu", "ept-bochs"):
                lines = bounds.exceeded(run, figures_of(run, report(switch={"exits": {name: 1}})))
                self.assertEqual(lines, [f"{run}, switch: 1 exits for {cause}, not one is allowed"])

    def test_as_many_exits_as_kvm_are_too_many(self):
        at = report(mprotect={"exits": {"msr-write": 197}})
        below = report(mprotect={"exits": {"msr-write": 196}})
        self.assertEqual(bounds.exceeded("npt-qemu", figures_of(told=at)),
                         ["npt-qemu, mprotect: 197 exits are not fewer than KVM's 197"])
        self.assertEqual(bounds.exceeded("npt-qemu", figures_of(told=below)), [])

    def test_every_phase_is_bounded_under_npt(self):
        self.assertEqual(set(bounds.FEWER["npt-qemu"]), set(NAMES))

    def test_parts_of_kvms(self):
        half = report(fork_touch={"exits": {"page-fault": 32655}})
        more = report(fork_touch={"exits": {"page-fault": 32656}})
        self.assertEqual(bounds.exceeded("shadow-qemu", figures_of("shadow-qemu", half)), [])
        self.assertEqual(bounds.exceeded("shadow-qemu", figures_of("shadow-qemu", more)),
                         ["shadow-qemu, fork-touch: 32,656 exits are more than 50% of KVM's 65,311"])

    def test_every_phase_is_bounded_under_shadow_paging(self):
        self.assertEqual(set(bounds.FEWER["shadow-qemu"]) | set(bounds.AT_MOST["shadow-qemu"]), set(NAMES))
        self.assertLessEqual(max(bounds.AT_MOST["shadow-qemu"].values()), 0.5)

    def test_bounds_name_phases_and_runs_that_there_are(self):
        for bound in (bounds.FEWER, bounds.AT_MOST):
            for run, phases in bound.items():
                self.assertIn(run, claims.RUNS)
                for name in phases:
                    self.assertIn("exits", figures_of(run)[NAMES.index(name)]["kvm"])


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


class Tables(unittest.TestCase):
    def test_columns_line_up(self):
        lines = tables.table(["what", "n"], [["a", "1"], ["longer", "1,000"]]).splitlines()
        self.assertEqual(lines, ["| what   |     n |", "|--------|------:|", "| a      |     1 |", "| longer | 1,000 |"])

    def test_exits_show_the_ratio_to_kvms(self):
        told = report(boot={"exits": {"npf": 12000, "cpuid": 920}})
        row = cells(tables.exits(figures_of(told=told)).splitlines()[2])
        self.assertEqual(row, ["boot to init", "12,920", "0", "0", "0", "0", "12,000", "920", "0", "25,839", "0.50"])

    def test_where_nothing_is_known_of_kvm_there_is_no_column(self):
        self.assertNotIn("KVM", tables.exits(figures_of("ept-bochs")))

    def test_causes_are_those_that_occur(self):
        told = report(mmap={"entries": {"prefetch": {"1": 9}, "violation": {"1": 2}}},
                      exec={"entries": {"violation": {"2": 50}}})
        lines = tables.entries(figures_of(told=told), "written", "entries").splitlines()
        self.assertEqual(cells(lines[0]), ["entries", "all", "violation", "prefetch"])
        self.assertEqual(cells(lines[7]), ["mmap 4 MiB x 10", "11", "2", "9"])

    def test_rare_causes_share_a_column(self):
        told = report(boot={"entries": {f"cause-{n}": {"1": 10 - n} for n in range(9)}})
        lines = tables.entries(figures_of(told=told), "written", "entries").splitlines()
        self.assertEqual(cells(lines[0]), ["entries", "all", *(f"cause-{n}" for n in range(6)), "rest"])
        self.assertEqual(cells(lines[2]), ["boot to init", "54", "10", "9", "8", "7", "6", "5", "9"])

    def test_tables_show_instructions_in_millions(self):
        row = cells(tables.tables(figures_of(told=report(mmap={"tables_allocated": 3, "flushes": 1234}))).splitlines()[7])
        self.assertEqual(row, ["mmap 4 MiB x 10", "3", "0", "1,234", "1.5", "47.7", "0.03"])

    def test_what_was_run_ahead_to_is_shown_where_there_is_any(self):
        self.assertNotIn("run ahead", tables.tables(figures_of()))
        told = report(touch={"run_ahead": {"instructions": 40000, "faults": 8182}})
        self.assertEqual(cells(tables.tables(figures_of(told=told)).splitlines()[3])[4], "8,182")

    def test_the_whole_is_readable(self):
        exits = {"page-fault": 98765, "cr3-write": 18765, "cr3-read": 18765, "invlpg": 20574, "cpuid": 3000, "io": 9876}
        entries = {name: {"1": 234567} for name in ("violation", "permission", "protect", "guest-write", "remap",
                                                     "prefetch", "reclaim", "root")}
        told = report(fork_touch={"exits": exits, "entries": entries, "zapped": {"guest-write": 234567}})
        text = tables.whole({run: figures_of(run, told) for run in claims.RUNS}, figures.kvm()["source"])
        self.assertIn("measured with Linux 6.1's KVM on the same emulators", text)
        for run in claims.RUNS:
            self.assertIn(f"## {tables.TITLES[run]}\n", text)
        too_wide = [line for line in text.splitlines() if len(line) > 120]
        self.assertEqual(too_wide, [])


class Runs(unittest.TestCase):
    def test_every_run_is_as_kvm_was_measured(self):
        for run in claims.RUNS:
            words = claims.command_of(run, pathlib.Path("build"), "vmlinuz", "report")
            self.assertEqual(words[words.index("--page-size") + 1], "4k")
            self.assertIn("--prealloc", words)
            self.assertIn("mitigations=off", words[words.index("--append") + 1])
            self.assertEqual("--icount" in words, claims.RUNS[run][0] == "qemu")

    def test_a_machine_that_dies_is_told_with_its_command(self):
        work = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        vmmu = work / "vmmu"
        vmmu.write_text("#!/bin/sh\necho 'vmmu: no such thing' >&2\nexit 121\n")
        vmmu.chmod(0o755)
        with self.assertRaisesRegex(claims.RunFailed, r"(?s)--mmu npt .*ended with status 121.*no such thing"):
            claims.measure(["npt-qemu"], work, "vmlinuz", figures.kvm())

    def test_documents_that_say_the_same(self):
        """README.md and docs/claims.md show figures of one run, and KVM's as kvm.json has them."""
        def rows(path, columns):
            lines = (CLAIMS.parents[1] / path).read_text().splitlines()
            cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
            return {row[0]: row[1:] for row in cells if len(row) == columns}

        readme, ahead, invlpg = rows("README.md", 7), rows("docs/claims.md", 7), rows("docs/claims.md", 3)
        for known in figures.kvm()["phases"]:
            row, shadow = readme[known["title"]], known["shadow-qemu"]
            self.assertEqual(row[2], f"{known['npt-qemu']['exits']:,}", known["title"])
            self.assertEqual(row[5], f"{shadow['exits']:,}", known["title"])
            if known["title"] in ahead:
                self.assertEqual([ahead[known["title"]][0], ahead[known["title"]][2]], [row[4], row[5]], known["title"])
            if known["title"] in invlpg and "INVLPG" in shadow:
                self.assertEqual(invlpg[known["title"]][1], f"{shadow['INVLPG']:,}", known["title"])
        self.assertEqual(sum(known["title"] in ahead for known in figures.kvm()["phases"]), 3)
        text = (CLAIMS.parents[1] / "README.md").read_text()
        for title in ("fork, touch 4 MiB x 20", "mmap 4 MiB x 10"):
            self.assertIn(ahead[title][1], text, "without running ahead")

    def test_documents_are_held_to_a_run_and_written_from_one(self):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (root / "docs").mkdir()
        for name in ("README.md", "docs/claims.md"):
            (root / name).write_text((CLAIMS.parents[1] / name).read_text())

        def phases(exits):
            return [{"title": known["title"], "exits": exits, "exits_by_cause": {"INVLPG": exits}, "instructions": exits * 1e5}
                    for known in figures.kvm()["phases"]]

        for variant, columns in documents.COLUMNS.items():
            words = documents.WORDS[variant]
            runs = {column[2] for column in columns} | {run for _, _, figures in words for run, _, _ in figures}
            told = documents.compare(variant, {run: phases(1_000_000) for run in runs}, root=root)
            self.assertEqual({line.split(":")[0] for line in told}, {shown[0] for shown in columns + words}, told)
            self.assertEqual(sum("measured 1,000,000" in line and line.count(":") == 2 for line in told),
                             sum(len(figures) for _, _, figures in words), told)
            documents.compare(variant, {run: phases(1_000_000) for run in runs}, write=True, root=root)
            self.assertEqual(documents.compare(variant, {run: phases(1_000_000) for run in runs}, root=root), [])
            self.assertEqual(documents.compare(variant, {run: phases(1_040_000) for run in runs}, root=root), [])
            self.assertNotEqual(documents.compare(variant, {run: phases(1_100_000) for run in runs}, root=root), [])
        readme = (root / "README.md").read_text()
        self.assertIn("| boot to init | 1,000,000 | 1,000,000 | 25,839 | 1,000,000 | 1,000,000 | 53,317 |\n", readme)
        self.assertIn("| 1,000,000 | 1,000,000 | 21,933 | 100,000.0 | 100,000.0 | 154.7 |\n", (root / "docs/claims.md").read_text())
        self.assertEqual(documents.compare("usual", {}, root=root), [])

    def test_figures_that_can_be_read_again(self):
        self.assertEqual(json.loads(json.dumps(figures_of())), figures_of())


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    wrong = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - wrong - len(result.skipped)} passed, {wrong} failed, {len(result.skipped)} skipped")
    sys.exit(1 if wrong else 0)
