# SPDX-License-Identifier: BSD-2-Clause
"""What the phases of one run cost: from the report of `vmmu run` to figures, KVM's beside them."""
import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent

# Exits by the visor's names (docs/visor.md) -> columns; all others are "other".
CAUSES = {"cr3-write": "CR3 write", "cr3-read": "CR3 read", "invlpg": "INVLPG", "page-fault": "#PF", "npf": "violation",
          "ept-violation": "violation", "ept-misconfiguration": "violation", "cpuid": "CPUID"}
COLUMNS = ("CR3 write", "CR3 read", "INVLPG", "#PF", "violation", "CPUID", "other")


class Malformed(Exception):
    """The run did not tell what it should; the text says what is missing."""


def kvm():
    """KVM's figures, and with them the phases: names, titles, order."""
    return json.loads((HERE / "kvm.json").read_text())


def exits_by_cause(exits):
    found = dict.fromkeys(COLUMNS, 0)
    for name, count in exits.items():
        found[CAUSES.get(name, "other")] += count
    return found


def by_cause(entries):
    """Cause -> level -> count, levels added up."""
    return {cause: sum(levels.values()) for cause, levels in entries.items()}


def guest_names(console):
    """Phases by number, as the guest has named them; only of a run that it calls good."""
    console = console.replace("\r", "")
    failed = re.search(r"^vmmu-phases: FAIL (.*)$", console, re.M)
    if failed:
        raise Malformed(f"the guest says: {failed.group(1)}")
    if not re.search(r"^vmmu-phases: PASS$", console, re.M):
        raise Malformed("the guest did not come to the end of its phases")
    return {int(number): name for number, name in re.findall(r"^vmmu-phases: (\d+) (\S+) \d+ faults$", console, re.M)}


def figures(report, console, run, reference):
    """The figures of each phase, in the reference's order; `run` is for example "npt-qemu"."""
    numbers = {name: number for number, name in guest_names(console).items()}
    told = {phase["number"]: phase for phase in report.get("phases", [])}
    found = []
    for phase in reference["phases"]:
        counted = told.get(numbers.get(phase["name"]))
        if not counted:
            raise Malformed(f"nothing was told of the phase \"{phase['name']}\"")
        found.append({
            "name": phase["name"], "title": phase["title"],
            "exits": sum(counted["exits"].values()),
            "exits_by_cause": exits_by_cause(counted["exits"]),
            "exits_by_name": counted["exits"],
            "faults": counted["faults"],
            "written": by_cause(counted["entries"]),
            "zapped": counted["zapped"],
            "tables_made": counted["tables_allocated"], "tables_freed": counted["tables_freed"],
            "flushes": counted["flushes"],
            "instructions": counted["ticks"],
            "run_ahead": counted.get("run_ahead", {"instructions": 0, "faults": 0}),
            "kvm": phase.get(run, {}),
        })
    return found
