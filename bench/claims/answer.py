#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The claims of the 2013 mail, each checked by a run: the first table of `make claims`.

Small guests run under NPT and under shadow paging on QEMU; what the claim says is
counted in their traces and reports. docs/tour.md shows the same by hand.
"""
import argparse
import json
import pathlib
import re
import shlex
import subprocess
import sys

import figures

ENGINE = pathlib.Path(__file__).resolve().parents[2] / "engine"
TIMEOUT = 120   # seconds, for one guest that runs for one
PAGE = "201000"  # that the guest `claims` maps twice
SWITCHED = 2     # the phase of it after which it changes that mapping
EXECUTED = 1000  # loads of CR3, and INVLPGs, that it executes


class Failed(Exception):
    """Why there is nothing to check."""


class Runs:
    """One guest under one kind of tables: trace and report, made when first asked for."""

    def __init__(self, build):
        self.build, self.work = build, build / "bench" / "answer"
        self.work.mkdir(parents=True, exist_ok=True)
        self.done = set()

    def vmmu(self, *words):
        command = [str(self.build / "vmmu"), *map(str, words)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{shlex.join(command)}\nended with status {done.returncode}:\n{done.stdout[-800:]}{done.stderr[-800:]}")
        return done.stdout

    def make(self, guest, mmu):
        name = f"{guest}-{mmu}"
        image, test, options = {"claims": ("guest.elf", "claims", ["--test-device"]), "unpaged": ("legacy.elf", "touch", []),
                                "nested": ("guest.elf", "nested-svm", ["--test-device", "--nested"]),
                                "intercepted": ("guest.elf", "claims", ["--test-device", "--intercept=cr3,invlpg"])}[guest]
        if name not in self.done:
            self.vmmu("run", "--machine", "qemu", "--mmu", mmu, "--quiet", "--icount", "--page-size", "4k",
                      "--timeout", TIMEOUT, "--kernel", self.build / "guest" / image, "--append", f"tests={test}",
                      *options, "--trace", self.work / f"{name}.trace", "--report", self.work / f"{name}.json")
            self.done.add(name)
        return self.work / name

    def trace(self, guest, mmu, *words):
        """Every line of `vmmu trace --json`, decoded."""
        text = self.vmmu("trace", "--json", *words, self.make(guest, mmu).with_suffix(".trace"))
        return [json.loads(line) for line in text.splitlines()]

    def exits(self, guest, mmu):
        return json.loads(self.make(guest, mmu).with_suffix(".json").read_text())["summary"]["exits"]

    def walk(self, guest, mmu, *words):
        return self.vmmu("walk", *words, self.make(guest, mmu).with_suffix(".trace"))


def leaves(records):
    return [(r["level"], r["gpa"], r["cause"], r["fault"]["access"], r["fault"]["place"])
            for r in records if r.get("new", {}).get("kind") == "leaf"]


def events(records, name):
    return sum(r["event"] == name for r in records)


def sources_with(pattern):
    """The files of the engine in which the pattern stands, one line for each time."""
    for path in sorted(ENGINE.rglob("*.[ch]")):
        for _ in re.findall(pattern, path.read_text()):
            yield str(path.relative_to(ENGINE.parent))


# Each claim: its words, and a function of the runs that gives what is seen and whether it is so.

def lazily(runs):
    before = runs.walk("claims", "npt", "--gpa", PAGE, "--brief", "--at-record", 5)
    after = runs.walk("claims", "npt", "--gpa", PAGE, "--brief")
    levels = sum(line.startswith("  ") and line.split()[0] in "1234" for line in after.splitlines() if line.strip())
    return f"0 entries before the first fault, {levels} after", "not mapped" in before and levels == 4


def no_gva(runs):
    npt = runs.walk("claims", "npt", "--gpa", PAGE, "--rmap").count(" L1 table ")
    shadow = runs.walk("claims", "shadow", "--gpa", PAGE, "--rmap", "--at-phase", SWITCHED).count(" L1 table ")
    return f"one page at three addresses: {npt} entry under NPT, {shadow} under shadow paging", npt == 1 and shadow == 3


def entry_of(record):
    return record["table"], record["index"]


def only_a_pointer(runs):
    """The faults that add an entry to a page's list (the reverse map) write no other entry of that list."""
    records = runs.trace("claims", "shadow", "--all")
    end = next(i for i, r in enumerate(records) if r["event"] == "mark" and r["number"] == SWITCHED)
    writes = [r for r in records[:end] if r.get("gpa") == f"0x{PAGE}" and r.get("new", {}).get("kind") == "leaf"]
    listed, written = [], 0
    for added in (r for r in writes if r["old"]["kind"] == "empty"):
        written += sum(entry_of(r) in listed and r["fault"] == added["fault"] for r in writes)
        listed.append(entry_of(added))
    npt = runs.walk("claims", "npt", "--gpa", PAGE, "--rmap")
    return (f"shadow paging: {len(listed)} entries were added to the list of one page, and {written} that were in it already were "
            "written in doing so; NPT: no list"), len(listed) == len(set(listed)) == 3 and not written and "keeps no" in npt


def like_unpaged(runs):
    npt, shadow = (leaves(runs.trace("unpaged", mmu)) for mmu in ("npt", "shadow"))
    return (f"paging off: {len(npt):,} leaves under NPT, {len(shadow):,} under shadow paging, "
            f"{'no' if npt == shadow else 'some'} difference"), npt == shadow and len(npt) > 1000


def one_function(runs):
    found = {}
    for mmu in ("npt", "shadow"):
        found[mmu] = {r["map"] for r in runs.trace("unpaged", mmu, "--all") if r["event"] == "kvm_page_fault" and "map" in r}
    return (f"faults handled by: {', '.join(sorted(found['npt']))} (NPT), {', '.join(sorted(found['shadow']))} (shadow paging); "
            "both map by direct_map"), found == {"npt": {"direct"}, "shadow": {"unpaged"}}


def where(runs):
    """Only what has the writable view of the tables can store an entry (tests/check/one-writer proves it)."""
    files = sorted(set(sources_with(r"\btable_write_base\b")))
    records = runs.trace("claims", "npt", "--all")
    written = sum("new" in r for r in records)
    return f"stored by {' and '.join(files)} alone; {written:,} entries in one run, each with a record of its cause", \
        files == ["engine/table/write.c", "engine/table/write_fast.h"] and written > 0 and \
        all(r.get("cause") for r in records if "new" in r)


def shared_callbacks(_):
    """The maps that are made with the direct map's table of callbacks, and who calls direct_map."""
    maps = list(sources_with(r"vmmu_map_init\(map, &vmmu_direct_ops,"))
    callers = list(sources_with(r"(?<!void )\bvmmu_direct_map\((?!struct)"))
    return (f"vmmu_direct_ops serves the maps of {' and '.join(maps)}; direct_map is called in {' and '.join(callers)}"), \
        maps == ["engine/map/direct/direct.c", "engine/map/shadow/shadow_unpaged.c"] and \
        callers == ["engine/map/direct/direct_fault.c", "engine/map/shadow/shadow_build.c"]


def hardly_invalidated(runs):
    npt, shadow = (events(runs.trace("claims", mmu, "--all"), "flush_owed") for mmu in ("npt", "shadow"))
    return f"flushes: {npt} under NPT, {shadow} under shadow paging", npt == 0 and shadow > 0


def no_exits(runs):
    npt, shadow = (runs.exits("claims", mmu) for mmu in ("npt", "shadow"))
    kvm = sum(phase.get("shadow-qemu", {}).get("INVLPG", 0) for phase in figures.kvm()["phases"])
    told = f"; KVM's under shadow paging in all phases below: {kvm:,} INVLPG"
    return (f"executed {EXECUTED} loads of CR3 and {EXECUTED} INVLPG; exits {npt['cr3-write']} and {npt['invlpg']} under NPT, "
            f"{shadow['cr3-write']:,} and {shadow['invlpg']} under shadow paging{told}"), \
        npt["cr3-write"] == npt["invlpg"] == 0 and shadow["cr3-write"] >= EXECUTED


def unpaged_no_ops(runs):
    """sync and invlpg of the map for paging off: by count, beside the map for paging on."""
    causes = {guest: [r["cause"] for r in runs.trace(guest, "shadow")] for guest in ("unpaged", "claims")}
    synced = {guest: sum(cause in ("sync", "remap", "guest-write") for cause in causes[guest]) for guest in causes}
    written = len(causes["unpaged"])
    return (f"entries brought up to date: {synced['unpaged']} of {written:,} written with paging off, "
            f"{synced['claims']} of {len(causes['claims']):,} with paging on"), \
        synced["unpaged"] == 0 and written > 1000 and synced["claims"] > 0


def spurious_flush(runs):
    records = runs.trace("intercepted", "npt", "--all")
    flushed = {name: sum(r["event"] == "guest_flush" and r["instruction"] == name for r in records)
               for name in ("mov-cr3", "invlpg")}
    owed, exits = events(records, "flush_owed"), runs.exits("intercepted", "npt")
    return (f"carried out by the visor under NPT: {flushed['mov-cr3']:,} loads of CR3 and {flushed['invlpg']:,} INVLPG, "
            f"a flush of everything for each; flushes that the tables needed: {owed}"), \
        owed == 0 and flushed == {"mov-cr3": exits["cr3-write"], "invlpg": exits["invlpg"]} and min(flushed.values()) >= EXECUTED


def invlpg_as_kvm(runs):
    exits = {guest: runs.exits(guest, "shadow")["invlpg"] for guest in ("claims", "intercepted")}
    return (f"shadow paging, {EXECUTED:,} INVLPG and four more executed: exits {exits['claims']}, "
            f"with --intercept=invlpg {exits['intercepted']:,}"), exits == {"claims": 0, "intercepted": EXECUTED + 4}


def root_once(runs):
    npt, shadow = (events(runs.trace("claims", mmu, "--all"), "root_load") for mmu in ("npt", "shadow"))
    return f"roots given to the CPU: {npt} under NPT, {shadow:,} under shadow paging", npt == 1 and shadow >= EXECUTED


def other_pages(runs):
    text = runs.walk("claims", "npt", "--gpa", PAGE, "--brief")
    at = [int(line.split("]")[1].split()[0], 16) >> 12 for line in text.splitlines() if "]" in line]
    return f"the {len(at)} entries of one walk stand in {len(set(at))} pages, one of them the top table", \
        len(at) == 4 and len(set(at)) == 4


def nested_mode(runs):
    """A guest hypervisor: its own faults and those of its guest go to two maps."""
    records = runs.trace("nested", "npt", "--all")
    maps = {name: sum(r["event"] == "kvm_page_fault" and r.get("map") == name for r in records) for name in ("direct", "nested")}
    walked = events(records, "kvm_mmu_paging_element")
    return (f"faults of a guest hypervisor: {maps['direct']:,} on the direct map; of its guest: {maps['nested']:,} on the nested map, "
            f"with {walked:,} entries of the hypervisor's own tables"), min(*maps.values(), walked) > 0


CLAIMS = (
    ("(where the entries are written)", where),
    ("the tables are built lazily", lazily),
    ("they leave only gva->gpa out", no_gva),
    ("very similar to shadow paging of a guest without paging", like_unpaged),
    ("many callbacks are shared with paging off", shared_callbacks),
    ("both page-fault handlers invoke direct_map", one_function),
    ("they are hardly ever invalidated", hardly_invalidated),
    ("nonpaging's sync and invlpg do nothing", unpaged_no_ops),
    ("neither INVLPG nor CR3 loads exit", no_exits),
    ("(shadow paging can intercept INVLPG, as KVM does)", invlpg_as_kvm),
    ("set_cr3 is hardly called", root_once),
    ("the emulator may cause a spurious flush", spurious_flush),
    ("pte_list_add changes a pointer, not an entry", only_a_pointer),
    ("the other addresses are pointers outside the PML4 page", other_pages),
    ("nested virtualization has a mode of its own", nested_mode),
)


def check(build):
    """(table of all claims, names of those that do not hold)"""
    runs, rows, wrong = Runs(build), [], []
    for claim, look in CLAIMS:
        seen, holds = look(runs)
        rows.append([claim, "yes" if holds else "NO", seen])
        if not holds:
            wrong.append(claim)
    return rows, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="build directory")
    arguments = parser.parse_args()
    try:
        rows, wrong = check(arguments.build)
    except Failed as why:
        sys.exit(f"answer: {why}")
    for claim, holds, seen in rows:
        print(f"{'ok  ' if holds == 'yes' else 'FAIL'}  {claim}\n      {seen}")
    print(f"{len(rows) - len(wrong)} passed, {len(wrong)} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
