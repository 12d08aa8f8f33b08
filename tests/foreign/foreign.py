#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Guests that others have written, as Debian ships them, under the visor.

memtest86+ must finish its first pass without an error under NPT, EPT and shadow
paging. Xen with a Linux dom0 must come as far under the visor as on the bare
emulator, whose CPU has faults of its own. Each runs for minutes. What it
has printed stays in build/tests/foreign; the last line is "N passed, N failed, N skipped".
"""
import argparse
import dataclasses
import gzip
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

TOLD_EVERY = 60  # seconds between two lines of progress
BARE = pathlib.Path(__file__).resolve().parent.parent / "machine" / "bare.py"

# What Xen and its dom0 print, one after the other.
XEN_STAGES = (r"Xen version", r"Dom0 has maximum", r"Freed \d+kB init memory", r"about to get started", r"Linux version \d",
              r"Memory: \d+K", r"Run /init as init process", r"reboot: (System halted|Power down)")
XEN_ENDS = r"Hardware Dom0 (crashed|halted|shutdown|rebooted)|Panic on CPU|Kernel panic"


@dataclasses.dataclass(frozen=True)
class Guest:
    name: str
    machine: str
    mmu: str
    kind: str


GUESTS = [Guest(f"memtest-{machine}-{mmu}", machine, mmu, "memtest")
          for machine, mmu in (("qemu", "npt"), ("qemu", "shadow"), ("bochs", "ept"), ("bochs", "shadow"))]
GUESTS += [Guest(f"xen-{machine}-{mmu}", machine, mmu, "xen") for machine, mmu in (("qemu", "npt"), ("bochs", "ept"))]


class Failure(Exception):
    """Why a guest has not done what it must."""


def fetch(package, folder):
    """The files of a Debian package, unpacked once."""
    to = folder / package
    if not to.exists():
        partial = folder / f"{package}.partial"
        subprocess.run(["rm", "-rf", partial], check=True)
        partial.mkdir(parents=True)
        subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], cwd=partial, check=True)
        subprocess.run(["dpkg-deb", "-x", next(partial.glob("*.deb")), partial], check=True)
        partial.rename(to)
    return to


def xen_package():
    """The hypervisor that xen-system-amd64 stands for today."""
    told = subprocess.run(["apt-cache", "depends", "xen-system-amd64"], capture_output=True, text=True, check=True).stdout
    return re.search(r"Depends: (xen-hypervisor-[0-9][\w.+-]*)", told).group(1)


class Runner:
    def __init__(self, arguments):
        self.build, self.linux, self.limit = arguments.build.resolve(), arguments.linux.resolve(), arguments.limit
        self.cache, self.work = arguments.cache, self.build / "tests" / "foreign"
        self.work.mkdir(parents=True, exist_ok=True)

    def until(self, name, command, done):
        """Run until its console shows `done`, it ends, or time is up; returns the console's text."""
        path, start, told = self.work / f"{name}.console", time.monotonic(), time.monotonic()
        with open(path, "wb") as console, open(self.work / f"{name}.messages", "wb") as messages:
            machine = subprocess.Popen([str(w) for w in command], stdin=subprocess.DEVNULL, stdout=console, stderr=messages)
            while machine.poll() is None and time.monotonic() - start < self.limit:
                time.sleep(1)
                text = path.read_text(errors="replace")
                if re.search(done, text):
                    break
                if time.monotonic() - told > TOLD_EVERY:
                    told = time.monotonic()
                    print(f"{name}: {told - start:.0f} s, {len(text)} bytes printed", flush=True)
            if machine.poll() is None:
                machine.send_signal(signal.SIGTERM)
            try:
                machine.wait(60)
            except subprocess.TimeoutExpired:
                machine.kill()
                machine.wait()
        return path.read_text(errors="replace")

    def visor(self, guest, memory, kernel, words, modules=()):
        command = [self.build / "vmmu", "run", "--machine", guest.machine, "--mmu", guest.mmu, "--memory", memory,
                   "--report", self.work / f"{guest.name}.json", "--timeout", str(self.limit + 60), "--kernel", kernel,
                   "--append", words]
        for module in modules:
            command += ["--module", module]
        return command

    def memtest(self, guest):
        kernel = fetch("memtest86+", self.cache) / "boot" / "memtest86+x64.bin"
        passed = r"Pass:\s+([1-9]\d*)\s+Errors:\s+(\d+)"
        console = self.until(guest.name, self.visor(guest, "20M", kernel, "console=ttyS0,115200 nopause nobench"), passed)
        found = re.search(passed, console)
        errors = re.findall(r"Errors:\s+([1-9]\d*)", console)
        if errors:
            raise Failure(f"{errors[-1]} errors in the memory")
        if not found:
            tests = re.findall(r"#(\d+)\s+\[", console)
            raise Failure(f"no pass in {self.limit} s; it has come to test {tests[-1] if tests else 'none'}")
        return "the first pass is done, no errors"

    def xen_files(self):
        packed = next((fetch(xen_package(), self.cache) / "boot").glob("xen-*.gz"))
        kernel = self.work / "xen"
        kernel.write_bytes(gzip.decompress(packed.read_bytes()))
        return kernel, (f"{self.linux}=vmlinuz console=hvc0 earlyprintk=xen",
                        f"{self.build}/initramfs/workload.cpio.gz=initrd")

    def xen(self, guest):
        kernel, modules = self.xen_files()
        words = "no-real-mode com1=115200,8n1 console=com1 loglvl=all noreboot"
        bare = [sys.executable, "-B", BARE, "--memory", "512", "--timeout", str(self.limit), "--console-now"]
        for module in modules:
            bare += ["--module", module]
        bare += [guest.machine, kernel, *words.split()]
        alone = stages(self.until(f"{guest.name}.bare", bare, XEN_ENDS))
        here = stages(self.until(guest.name, self.visor(guest, "512M", kernel, words, modules), XEN_ENDS))
        if len(here) < len(alone) or not here:
            raise Failure(f"under the visor it comes to {here[-1:]}, on the bare emulator to {alone[-1:]}")
        return f"it comes to /{here[-1]}/, on the bare emulator to /{alone[-1] if alone else ''}/"

    def run(self, guest):
        return {"memtest": self.memtest, "xen": self.xen}[guest.kind](guest)


def stages(console):
    """The stages that it has come to, in order."""
    reached = []
    for stage in XEN_STAGES:
        if not re.search(stage, console):
            break
        reached.append(stage)
    return reached


def main():
    parser = argparse.ArgumentParser(description="memtest86+ and Xen under the visor")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--linux", type=pathlib.Path, required=True, help="Xen's dom0")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(".cache/foreign"), help="where packages go")
    parser.add_argument("--limit", type=int, default=7200, help="seconds for each run")
    parser.add_argument("--only", default="", metavar="REGEX", help="guests whose name contains this")
    parser.add_argument("--list", action="store_true", help="name the guests and end")
    arguments = parser.parse_args()
    chosen = [g for g in GUESTS if re.search(arguments.only, g.name)]
    if arguments.list:
        print("\n".join(g.name for g in chosen))
        return 0
    os.environ.setdefault("DEBIAN_FRONTEND", "noninteractive")
    runner, failed = Runner(arguments), 0
    for guest in chosen:
        start = time.monotonic()
        try:
            said = runner.run(guest)
            print(f"PASS {guest.name} {time.monotonic() - start:.0f} s: {said}", flush=True)
        except Failure as why:
            failed += 1
            print(f"FAIL {guest.name} {time.monotonic() - start:.0f} s: {why} (see {runner.work / guest.name}.*)", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed, 0 skipped")
    return 0 if chosen and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
