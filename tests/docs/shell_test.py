#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run the commands that documents give without their output.

In a block marked `sh` each line is a command, up to " # "; a backslash at its end continues it. This is the list of all of them: how each is tried.
A command that stands in a document and not here is a failure, and so is one that stands here alone.

    shell_test.py [--build DIR]           what takes seconds
    shell_test.py [--build DIR] --long    what takes minutes, too: `make docs-test-long`
    shell_test.py --list                  all, and how each is tried
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
TIMEOUT = {"short": 300, "folder": 120, "long": 3600}

# short: from the root of the tree, as printed. folder: where a recording kvm.dat lies, with vmmu on the path.
# long: as short, in minutes. none: not run, and why.
TRIED = {
    "make all guests initramfs": ("short", ""),
    "make": ("short", ""),
    "make run MACHINE=qemu": ("short", ""),
    "make run MACHINE=qemu MMU=shadow": ("short", ""),
    "build/vmmu walk --gpa 40001000 --at 10ms tests/kvm/traces/ept-map.dat.gz": ("short", ""),
    "vmmu walk --gpa 0x40001000 kvm.dat": ("folder", ""),
    "build/vmmu faults tests/kvm/traces/ept-map.dat.gz": ("short", ""),
    "build/vmmu zaps tests/kvm/traces/ept-map.dat.gz": ("short", ""),
    "vmmu info kvm.dat": ("folder", ""),
    "vmmu doctor kvm.dat": ("folder", ""),
    "vmmu plot kvm.dat -o curves.svg": ("folder", ""),
    "vmmu plot kvm.dat -o faults.png --what faults,writes --size 800": ("folder", ""),
    "vmmu plot kvm.dat -o curves.gp && gnuplot curves.gp >by-hand.svg": ("folder", ""),
    "vmmu export kvm.dat -o kvm.ctf": ("folder", ""),
    "vmmu export kvm.dat -o kvm.json": ("folder", ""),
    "vmmu export kvm.dat -o kvm.csv": ("folder", ""),
    "vmmu export kvm.dat -o curves.csv --series": ("folder", ""),
    "make run": ("long", ""),
    "make run NESTED=1 MACHINE=qemu": ("long", ""),
    "make run NESTED=1": ("long", ""),
    "build/vmmu report build/run-bochs.trace": ("long", ""),
    "make check": ("long", ""),
    "make check-tool": ("long", ""),
    "make unit": ("long", ""),
    "make machine-test": ("long", ""),
    "make perf-check": ("long", ""),
    "make claims MACHINE=qemu": ("long", ""),
    "make claims": ("long", ""),
    "build/vmmu run --machine qemu --nested -M 512M --kernel build/visor.elf "
    "--module .cache/kernels/cloud-amd64/vmlinuz=vmmu:kernel --module build/initramfs/run.cpio.gz=vmmu:initrd "
    "--append 'memory=256M at-end=exit -- console=ttyS0 panic=-1 quiet'": ("short", ""),
    "build/vmmu run --machine qemu --nested --icount --test-device -q --trace=build/nested.trace "
    "--kernel build/guest/guest.elf --append tests=nested-svm": ("short", ""),
    "build/vmmu walk --l2 213000 --brief build/nested.trace": ("short", ""),
    "build/vmmu run --machine bochs --nested --test-device --kernel build/guest/guest.elf "
    "--append tests=nested-vmx,nested-vmx-controls,nested-vmx-edges": ("short", ""),
    "scripts/setup": ("none", "installs packages, for which it needs root and a network"),
    "scripts/setup tool && make install-tool": ("none", "installs packages and writes to /usr/local"),
    "vmmu record -o kvm.dat -- qemu-system-x86_64 -accel kvm ...": ("none", "needs /dev/kvm, and has a gap to fill in"),
    "vmmu record -o kvm.dat --pid PID --for 30s": ("none", "needs a VM under KVM, and has a gap to fill in"),
    "make test": ("none", "this test is a part of it"),
}
NOT_RUN = 5  # how many that are: one more is to be thought about


def documents():
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands_of(text):
    """Each command, with its document's line."""
    found = []
    for block in BLOCK.finditer(text):
        first, going_on = text.count("\n", 0, block.start(1)) + 1, False
        for offset, line in enumerate(block[1].splitlines()):
            command = re.sub(r"(^|\s+)# .*", "", line).strip()
            if going_on:
                place, begun = found.pop()
                found.append((place, f"{begun.removesuffix(chr(92)).rstrip()} {command}"))
            elif command:
                found.append((first + offset, command))
            going_on = command.endswith("\\")
    return found


def all_commands():
    """Command -> where it stands first."""
    places = {}
    for path in documents():
        for line, command in commands_of(path.read_text()):
            places.setdefault(command, f"{path.relative_to(ROOT)}:{line}")
    return places


def complaints(places):
    """What the list above and the documents do not say alike."""
    for command, place in places.items():
        if command not in TRIED:
            yield f"{place}: nothing tries this command: {command}"
    for command, (how, why) in TRIED.items():
        if command not in places:
            yield f"no document has this command any more: {command}"
        if (how == "none") != bool(why):
            yield f"a reason belongs to what is not run, and to nothing else: {command}"
    count = sum(how == "none" for how, _ in TRIED.values())
    if count != NOT_RUN:
        yield f"{count} commands are not run, {NOT_RUN} are agreed"


def recording_folder(build):
    """A folder with a recording of KVM called kvm.dat."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vmmu-docs-"))
    shutil.copy(ROOT / "tests/kvm/traces/ept-map.dat.gz", folder / "kvm.dat")  # told by what is in it
    (folder / "vmmu").symlink_to((ROOT / build / "vmmu").resolve())
    return folder


def run(command, how, folder):
    environment = dict(os.environ, NO_COLOR="1", LC_ALL="C.UTF-8")
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MACHINE", "MMU"):
        environment.pop(name, None)
    if how == "folder":
        environment["PATH"] = f"{folder}:{environment['PATH']}"
        environment["XDG_CACHE_HOME"] = str(folder / "cache")
    return subprocess.run(["bash", "-c", command], cwd=folder if how == "folder" else ROOT, env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=TIMEOUT[how], check=False)


def try_all(places, kinds, build):
    """(passed, failed) of the commands of these kinds."""
    passed = failed = 0
    folder = recording_folder(build)
    try:
        for command, place in places.items():
            how = TRIED[command][0]
            if how not in kinds:
                continue
            begun = time.monotonic()
            done = run(command, how, folder)
            good = done.returncode == 0
            passed, failed = passed + good, failed + (not good)
            if not good:
                print(f"FAIL {place}: {command} (status {done.returncode}, {time.monotonic() - begun:.1f} s)")
                lines = done.stdout.splitlines()
                told = [line for line in lines[:-20] if line.startswith("FAIL")][-20:] + lines[-20:]
                print("\n".join("    " + line for line in told))
    finally:
        shutil.rmtree(folder)
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description="run the commands that documents give without their output")
    parser.add_argument("--build", default="build", help="build directory")
    parser.add_argument("--long", action="store_true", help="also those that take minutes")
    parser.add_argument("--list", action="store_true", help="say how each is tried, and end")
    arguments = parser.parse_args()
    places = all_commands()
    wrong = list(complaints(places))
    for complaint in wrong:
        print(f"FAIL {complaint}")
    if arguments.list:
        for command, (how, why) in TRIED.items():
            print(f"{how:7} {command}{': ' + why if why else ''}")
    if arguments.list or wrong:
        return 1 if wrong else 0
    passed, failed = try_all(places, {"short", "folder"} | ({"long"} if arguments.long else set()), arguments.build)
    skipped = sum(how == "long" for how, _ in TRIED.values()) if not arguments.long else 0
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
