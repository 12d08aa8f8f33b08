#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a document shows is what the command says.

    tests/questions/document.py VMMU DOCUMENT...     (UPDATE=1 writes what it says now)

Each block ```console holds commands ("$ vmmu ...") and their output. They run where the
recordings of tests/questions/data, tests/kvm/traces and tests/doctor/traces are; a line "..." stands for
lines that are left out.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)


def run(vmmu, folder, command):
    environment = dict(os.environ, PATH=f"{vmmu.parent}:{os.environ['PATH']}", XDG_CACHE_HOME=str(folder / "cache"))
    environment.pop("COLUMNS", None)
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    return done.stdout.decode(errors="replace")


def split(block):
    """Commands and what the document shows of each."""
    parts = []
    for line in block.splitlines():
        if line.startswith("$ "):
            parts.append((line[2:], []))
        elif parts:
            parts[-1][1].append(line)
    return parts


def fits(shown, said):
    """Is `shown` what was said, with lines left out where it has "..."?"""
    pattern = "".join(".*" if line == "..." else re.escape(line) + "\n" for line in shown)
    return re.fullmatch(pattern, said, re.S) is not None


def main():
    vmmu, documents = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for source in (HERE / "data", HERE.parent / "kvm" / "traces", HERE.parent / "doctor" / "traces"):
            for path in source.iterdir():
                shutil.copy(path, folder / path.name)
        for document in documents:
            text = pathlib.Path(document).read_text()
            for block in BLOCK.findall(text):
                fresh = []
                for command, shown in split(block):
                    said = run(vmmu, folder, command)
                    good = fits(shown, said)
                    passed += good
                    failed += not good
                    if not good and not os.environ.get("UPDATE"):
                        print(f"FAILED: {document} shows otherwise: {command}\n{said}")
                    fresh.append(f"$ {command}\n" + ("".join(f"{line}\n" for line in shown) if good else said))
                if os.environ.get("UPDATE"):
                    text = text.replace(block, "".join(fresh))
            if os.environ.get("UPDATE"):
                pathlib.Path(document).write_text(text)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed or not passed else 0)


main()
