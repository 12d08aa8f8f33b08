#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run what the documents print.

In a block marked `console` each line that begins with "$ " is a command, run from the
root of the tree, and what follows it is what it prints. Numbers may be others than in
the document, words and order may not; a line of three dots stands for any lines. The
blocks of one document run in order, so that a later one can use what an earlier one
has made. The status of the last command of a pipe must be 0, unless "[N]" follows.

    documents_test.py [--build DIR] [DOCUMENT...]     default: all documents
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
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d[\d,]*(?:\.\d+)?")
ANY = "..."
# Documents whose commands run elsewhere, since they want files that a test has to lay out.
OTHERS = {"kvm.md": "tests/questions", "kvm-cases.md": "tests/questions", "doctor.md": "tests/questions"}


def documents():
    for name, test in OTHERS.items():
        if not any(name in path.read_text(errors="replace") for path in (ROOT / test).iterdir() if path.is_file()):
            sys.exit(f"documents: {test} does not run the commands of docs/{name}")
    return [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in OTHERS)]


def commands_of(text):
    """[(line number, command, [expected lines], status)]"""
    found = []
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1)) + 1
        for offset, words in enumerate(block[1].splitlines()):
            if words.startswith("$ "):
                found.append([line + offset, words[2:], [], 0])
            elif found and re.fullmatch(r"\[\d+\]", words):
                found[-1][3] = int(words[1:-1])
            elif found and words.startswith("> "):
                found[-1][1] += "\n" + words[2:]
            elif found:
                found[-1][2].append(words)
    return found


def plain(line):
    """What must be alike: the words, with numbers and the width of gaps taken out."""
    return re.sub(r"\s+", " ", NUMBER.sub("#", line)).strip()


def differs(expected, printed):
    """The first expected line that is not there in its place; None: all are."""
    printed = [plain(line) for line in printed if line.strip()]
    at, free = 0, False
    for line in expected:
        if not line.strip():
            continue
        if line.strip() == ANY:
            free = True
            continue
        wanted = plain(line)
        if free:
            while at < len(printed) and printed[at] != wanted:
                at += 1
        if at >= len(printed) or printed[at] != wanted:
            return line
        at, free = at + 1, False
    return None if free or at == len(printed) else f"(nothing more, but there is: {printed[at]})"


def run(command, build):
    environment = dict(os.environ, NO_COLOR="1", COLUMNS="120", LC_ALL="C.UTF-8")
    if build != "build":
        command = command.replace("build/", f"{build}/")
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=False,
                          errors="replace")


def check(path, build):
    """Runs the commands of a document. (passed, failed)"""
    passed = failed = 0
    for line, command, expected, status in commands_of(path.read_text()):
        begun = time.monotonic()
        done = run(command, build)
        output = done.stdout + done.stderr
        missing = differs(expected, output.splitlines()) if expected else None
        if missing is None and done.returncode == status:
            passed += 1
            continue
        failed += 1
        print(f"FAIL {path.relative_to(ROOT)}:{line}: {command} ({time.monotonic() - begun:.1f} s)")
        if done.returncode != status:
            print(f"  ended with status {done.returncode}, the document says {status}")
        if missing is not None:
            print(f"  not printed in its place: {missing}")
        print("  it printed:\n" + "\n".join("    " + text for text in output.splitlines()[:40]))
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description="run the commands that the documents print")
    parser.add_argument("--build", default="build", help="build directory")
    parser.add_argument("documents", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    passed = failed = 0
    for path in arguments.documents or documents():
        ok, wrong = check(path.resolve(), arguments.build)
        passed, failed = passed + ok, failed + wrong
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
