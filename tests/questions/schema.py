#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""The JSON of every question is what docs/questions.md says of it.

    tests/questions/schema.py VMMU SAMPLE

Each question is asked of recordings of all kinds and of a vmmu trace. Every name that it
prints stands in its row of the document, every name of the row is printed by one of them,
and values have the form that the document says: addresses and words "0x...", times numbers of
seconds, the rest numbers, texts or truth values.
"""
import json
import re
import subprocess
import sys
import tempfile

RECORDINGS = ["tests/questions/data/" + name for name in ("thp.txt.zst", "few.txt.zst", "shadow.txt.zst", "tc.report.gz", "perf.data.zst")]
RECORDINGS += ["tests/kvm/traces/" + name for name in (
    "npt-map.dat.gz", "npt-split.dat.gz", "npt-two.dat.gz", "npt-found.dat.gz", "npt-stacks.dat.gz", "npt-nested.dat.gz",
    "npt-linux.dat.gz", "ept-map.txt.gz", "ept-split.dat.gz", "ept-two.dat.gz")]

HEX = {"gpa", "table", "entry", "old", "new", "first", "last", "hva", "rip", "error_code", "last_rip", "value"}
SECONDS = {"time", "since", "first_time", "last_time"}
# Names that are data: what they map to is looked at as far as it is a number.
MAPS = {"event_counts", "refault_origins", "not_looked_for", "causes"}

QUESTIONS = {
    "info": [[]],
    "check": [[]],
    "walk": [["--gpa", "0x40001000"], ["--gpa", "0x8000"], ["--gpa", "0x40001000", "--bits"], ["--gpa", "0x40001000", "--at", "10ms"]],
    "trace": [["--all"]],
    "dump": [[], ["--at", "5ms"], ["--at", "40ms"]],
    "faults": [[], ["--order"], ["--by", "function"]],
    "zaps": [[]],
    "pages": [[]],
    "mmio": [[]],
    "dirty": [[]],
    "doctor": [[]],
}
# What only other recordings have; the document says of what.
ELSEWHERE = {
    "check": {"records", "streams", "entries_compared", "cpu_set_bits", "passed_over", "differences", "first_difference", "writes", "lost"},
    "walk": {"ambiguous"}, "trace": {"ambiguous"}, "info": {"beside", "restarted"},
}


def documented():
    text = open("docs/questions.md").read()
    rows = {match[1]: match[2] for match in re.finditer(r"^\| `([a-z]+)` \| (.*) \|$", text, re.M)}
    write = re.search(r"\*write\* \(in.*?\n\n(.*?)\n\n", text, re.S)[1]
    names = lambda row: {word for span in re.findall(r"`([^`]*)`", row) for word in span.split() if re.fullmatch(r"[a-z0-9_]+", word)}
    writes = set()
    for line in write.splitlines():
        cells = line.strip("|").split("|")
        writes |= names(cells[0])
        if "`fault`" in cells[0]:
            writes |= names(cells[1])
    writes |= {"origin"}
    found = {question: names(row) for question, row in rows.items() if question in QUESTIONS or question == "diff"}
    found["trace"] = writes
    found["walk"] |= writes
    return found


class Checker:
    def __init__(self, question, names):
        self.question, self.names, self.seen, self.faults = question, names, set(), set()

    def fault(self, text):
        self.faults.add(text)

    def look(self, value, path):
        if isinstance(value, list):
            for item in value:
                self.look(item, path)
        if not isinstance(value, dict):
            return
        for name, inner in value.items():
            self.seen.add(name)
            if name not in self.names | {"warnings"}:
                self.fault("%s%s is not documented" % (path, name))
            self.form(name, inner, path)
            if name not in MAPS:
                self.look(inner, path + name + ".")

    def form(self, name, value, path):
        if isinstance(value, (dict, list)) or value is None:
            return
        if name in HEX and not (isinstance(value, str) and re.fullmatch(r"0x[0-9a-f]+", value)) and path + name != "steps.bits.value":
            self.fault("%s%s is %r, not 0x..." % (path, name, value))
        if name in SECONDS and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
            self.fault("%s%s is %r, not seconds" % (path, name, value))
        if name.endswith("_ns") and not isinstance(value, int):
            self.fault("%s%s is %r, not nanoseconds" % (path, name, value))
        if name == "vm" and not (isinstance(value, int) and value >= 1):
            self.fault("%s%s is %r, not the number of a VM" % (path, name, value))


def ask(vmmu, arguments):
    done = subprocess.run([vmmu, *arguments], capture_output=True, text=True, timeout=120)
    if done.returncode == 2:
        return []  # the legacy MMU and others cannot answer everything, and say why
    try:
        return [json.loads(done.stdout)]
    except ValueError:
        return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    vmmu, sample = sys.argv[1:3]
    faults, passed = [], 0
    with tempfile.TemporaryDirectory() as folder:
        trace = folder + "/sample.trace"
        subprocess.run([sample, trace], check=True)
        rows = documented()
        for question, forms in QUESTIONS.items():
            checker = Checker(question, rows[question])
            for path in RECORDINGS + [trace]:
                for form in forms:
                    # vmmu's own traces have a form of their own for these, unless an option asks for this one.
                    own = ["--host-clock"] if path == trace and question in ("walk", "trace", "dump") else []
                    if path == trace and question == "check":
                        continue
                    for answer in ask(vmmu, [question, "--json", "--no-index", *own, *form, path]):
                        checker.look(answer, "")
            for name in rows[question] - checker.seen - ELSEWHERE.get(question, set()):
                checker.fault("%s is documented, and nothing prints it" % name)
            faults += ["%s: %s" % (question, text) for text in sorted(checker.faults)]
            passed += not checker.faults
        checker = Checker("diff", rows["diff"])
        for first, second in (("tests/questions/data/thp.txt.zst@59.2ms", "@61ms"), ("tests/kvm/traces/npt-map.dat.gz@20ms", "tests/kvm/traces/npt-split.dat.gz@20ms")):
            for answer in ask(vmmu, ["diff", "--json", first, second]):
                checker.look(answer, "")
        for name in rows["diff"] - checker.seen:
            checker.fault("%s is documented, and nothing prints it" % name)
        faults += ["diff: " + text for text in sorted(checker.faults)]
        passed += not checker.faults
    for text in faults:
        print("FAILED: " + text)
    print("%d passed, %d failed, 0 skipped" % (passed, len(faults)))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
