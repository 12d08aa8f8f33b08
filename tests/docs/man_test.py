#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Each command that `vmmu --help` lists has a man page, and page and --help have the same options.

A command that also answers for recordings of KVM has options of its own there: `vmmu COMMAND
FILE --help`. Its page has both.

    man_test.py [--build DIR]
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDING = ROOT / "tests/kvm/traces/ept-map.dat.gz"
EVERYWHERE = {"help", "usage", "version", "colour"}  # vmmu(1) has them; colour is another spelling


def help_of(vmmu, *words):
    done = subprocess.run([vmmu, *words, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"vmmu {' '.join(map(str, words))} --help ended with {done.returncode}: {done.stderr}")
    return done.stdout


def commands(text):
    return re.findall(r"^  ([a-z]+)  +\S", text, re.M)


def options_of_help(text):
    """The long options that --help lists: each begins a line, an alias may follow."""
    lines = re.findall(r"^ +(?:-\w, )?--[a-z].*$", text, re.M)
    return {name for line in lines for name in re.findall(r"--([a-z][a-z0-9-]*)", re.split(r" {2,}", line.strip())[0])} - EVERYWHERE


def page_text(name, folder):
    """The page, or the one that it says to read instead (.so); None: there is none."""
    path = folder / f"vmmu-{name}.1"
    if not path.exists():
        return None
    text = path.read_text()
    other = re.match(r"(?:\.\\\".*\n)*\.so (?:man1/)?(\S+)", text)
    return (folder / other[1]).read_text() if other else text


def plain(text):
    return re.sub(r"\\f[BIRP]", "", text).replace("\\-", "-")


def options_of_page(text):
    """(all options that it names, those that it explains: in the line after .TP)."""
    text = plain(text)
    tagged = "\n".join(re.findall(r"^\.TP\n(.*)$", text, re.M))
    return ({name for name in re.findall(r"--([a-z][a-z0-9-]*)", text)},
            {name for name in re.findall(r"--([a-z][a-z0-9-]*)", tagged)} - EVERYWHERE)


def problems(name, known, page):
    if page is None:
        return [f"docs/man/vmmu-{name}.1 is missing"]
    named, explained = options_of_page(page)
    return [f"vmmu {name}: --{option} is not in the man page" for option in sorted(known - named)] + \
        [f"vmmu {name}: the man page explains --{option}, which --help does not" for option in sorted(explained - known)]


def check_itself():
    """The means see what is missing on either side."""
    text = "  -a, --all              All\n      --at=TIME              At\n      --mmu=a|b   Which, see --other\n  -?, --help  Help\n"
    assert options_of_help(text) == {"all", "at", "mmu"}, options_of_help(text)
    page = ".TP\n\\fB\\-a\\fR, \\fB\\-\\-all\\fR\nAll.\n.TP\n.B \\-\\-gone\nNo more.\n"
    assert problems("x", options_of_help(text), page) == [
        "vmmu x: --at is not in the man page", "vmmu x: --mmu is not in the man page",
        "vmmu x: the man page explains --gone, which --help does not"]
    assert problems("x", set(), None)


def main():
    build = pathlib.Path(sys.argv[2] if sys.argv[1:2] == ["--build"] else ROOT / "build")
    vmmu, passed, failed = build.resolve() / "vmmu", 0, 0
    check_itself()
    listed = commands(help_of(vmmu))
    if len(listed) < 15:
        sys.exit("man_test: vmmu --help lists hardly a command")
    for name in listed:
        text = help_of(vmmu, name)
        known = options_of_help(text)
        if "FILE --help" in text:
            known |= options_of_help(help_of(vmmu, name, RECORDING))
        wrong = problems(name, known, page_text(name, ROOT / "docs/man"))
        passed, failed = passed + (not wrong), failed + bool(wrong)
        for line in wrong:
            print(f"FAIL {line}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
