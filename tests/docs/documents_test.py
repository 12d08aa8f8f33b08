#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run what the documents print.

In a block marked `console` each line that begins with "$ " is a command, run from the
root of the tree, and what follows it is what it prints. The words and their order must
be as printed. Addresses and times may differ; a count may differ by a quarter, or by 16.
A line of three dots stands for any lines. The blocks of one document run in order, so
that a later one can use what an earlier one has made. The status of the last command of
a pipe must be 0, unless "[N]" follows. A block marked `console long` needs what `make run`
leaves in the build directory.

    documents_test.py [--build DIR] [DOCUMENT...]     default: all documents
    documents_test.py --long                          the blocks marked long, too
    documents_test.py --write                         and write into the documents what was printed
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT = 300
BLOCK = re.compile(r"^( *)```console( long)?\n(.*?)^\1```$", re.M | re.S)  # indented in a list
NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d[\d,]*(?:\.\d+)?")
COUNT = re.compile(r"\d[\d,]*")
INDEX = re.compile(r"\[ *\d+\]")
ALIKE, NEAR = 0.25, 16  # how far a count may be off: by this part of it, or by this many
ANY = "..."
# Documents whose commands run elsewhere, since they want files that a test has to lay out.
OTHERS = {"kvm.md": "tests/questions", "kvm-cases.md": "tests/questions", "doctor.md": "tests/questions"}


def documents():
    for name, test in OTHERS.items():
        if not any(name in path.read_text(errors="replace") for path in (ROOT / test).iterdir() if path.is_file()):
            sys.exit(f"documents: {test} does not run the commands of docs/{name}")
    return [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in OTHERS)]


class Command:
    """A command of a document and what it prints there."""

    def __init__(self, line, words, long=False, indent=""):
        self.line, self.words, self.long, self.indent = line, words, long, indent
        self.expected, self.at, self.status = [], [], 0  # lines, and where each stands in the document


def commands_of(text):
    found = []
    for block in BLOCK.finditer(text):
        first, own = text.count("\n", 0, block.start(3)) + 1, []
        for line, words in enumerate(block[3].splitlines(), first):
            words = words.removeprefix(block[1])
            if words.startswith("$ "):
                own.append(Command(line, words[2:], bool(block[2]), block[1]))
            elif own and re.fullmatch(r"\[\d+\]", words):
                own[-1].status = int(words[1:-1])
            elif own and words.startswith("> "):
                own[-1].words += "\n" + words[2:]
            elif own:
                own[-1].expected.append(words)
                own[-1].at.append(line)
        found += own
    return found


def plain(line):
    """What must be alike: the words, with numbers and the width of gaps taken out."""
    return re.sub(r"\s+", " ", NUMBER.sub("#", line)).replace("[ ", "[").strip()


def counts(line):
    """The numbers of a line that are no addresses, times or places in a table; None stands for those."""
    line = INDEX.sub(lambda found: found[0].replace(found[0].strip("[ ]"), "0x0"), line)
    return [int(n.replace(",", "")) if COUNT.fullmatch(n) else None for n in NUMBER.findall(line)]


def far(expected, printed):
    """Is there a count in this line that is not what the document says, not even about?"""
    return any(said is not None and is_now is not None and abs(said - is_now) > max(NEAR, ALIKE * max(said, is_now))
               for said, is_now in zip(counts(expected), counts(printed)))


def align(expected, printed):
    """([printed line, or None, for each expected line], None), or ([], what is wrong)."""
    printed = [line for line in printed if line.strip()]
    found, at, free = [], 0, False
    for line in expected:
        if not line.strip() or line.strip() == ANY:
            free = free or bool(line.strip())
            found.append(None)
            continue
        while free and at < len(printed) and plain(printed[at]) != plain(line):
            at += 1
        if at >= len(printed) or plain(printed[at]) != plain(line):
            return [], f"not printed in its place: {line}"
        if far(line, printed[at]):
            return [], f"another number: {line}"
        found.append(printed[at])
        at, free = at + 1, False
    if not free and at < len(printed):
        return [], f"nothing more is in the document, but it printed: {printed[at]}"
    return found, None


def differs(expected, printed):
    """What is wrong with the output; None: nothing."""
    return align(expected, printed)[1]


def run(command, build):
    environment = dict(os.environ, NO_COLOR="1", COLUMNS="120", LC_ALL="C.UTF-8")
    if build != "build":
        command = command.replace("build/", f"{build}/")
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=False,
                          errors="replace")


def check(path, build, long=False, write=False):
    """Runs the commands of a document. (passed, failed, skipped)"""
    passed = failed = skipped = 0
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    for command in commands_of(text):
        if command.long and not long:
            skipped += 1
            continue
        begun = time.monotonic()
        done = run(command.words, build)
        output = done.stdout + done.stderr
        found, wrong = align(command.expected, output.splitlines()) if command.expected else ([], None)
        for at, printed in zip(command.at, found):
            lines[at - 1] = command.indent + printed.rstrip() + "\n" if printed is not None else lines[at - 1]
        if wrong is None and done.returncode == command.status:
            passed += 1
            continue
        failed += 1
        print(f"FAIL {path.relative_to(ROOT)}:{command.line}: {command.words} ({time.monotonic() - begun:.1f} s)")
        if done.returncode != command.status:
            print(f"  ended with status {done.returncode}, the document says {command.status}")
        if wrong is not None:
            print(f"  {wrong}")
        print("  it printed:\n" + "\n".join("    " + words for words in output.splitlines()[:40]))
    if write:
        path.write_text("".join(lines))
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser(description="run the commands that the documents print")
    parser.add_argument("--build", default="build", help="build directory")
    parser.add_argument("--long", action="store_true", help="also what needs the traces of `make run`")
    parser.add_argument("--write", action="store_true", help="write into the documents what is printed now")
    parser.add_argument("documents", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    sums = [0, 0, 0]
    for path in arguments.documents or documents():
        done = check(path.resolve(), arguments.build, arguments.long, arguments.write)
        sums = [a + b for a, b in zip(sums, done)]
    print("{} passed, {} failed, {} skipped".format(*sums))
    return 1 if sums[1] or not sums[0] else 0


if __name__ == "__main__":
    sys.exit(main())
