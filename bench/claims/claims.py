#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What nested paging saves, and what shadow paging costs, measured here: `make claims`.

One guest (phases.c under Debian's kernel) runs the same phases under NPT and
under shadow paging on QEMU, under EPT and under shadow paging on Bochs. For
each phase: exits by cause, table entries written and emptied by cause, tables,
TLB flushes, instructions; beside them what KVM needs (kvm.json). docs/claims.md
explains the phases. The status is 1 when a run fails, a bound (bounds.py) is not
kept, or a document shows another figure (documents.py; --write mends it).
"""
import argparse
import json
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import bounds
import documents
import figures
import tables

RUNS = {"npt-qemu": ("qemu", "npt"), "shadow-qemu": ("qemu", "shadow"),
        "ept-bochs": ("bochs", "ept"), "shadow-bochs": ("bochs", "shadow")}
USUAL = {"qemu": 10, "bochs": 90}      # seconds, roughly, to say how long it may take
TIMEOUT = {"qemu": 300, "bochs": 900}  # more than ten times that: a machine may be busy


class RunFailed(Exception):
    """Why there are no figures of a run."""


def command_of(run, build, linux, report, options=()):
    """The `vmmu run` of this run."""
    machine, mmu = RUNS[run]
    words = [build / "vmmu", "run", "--machine", machine, "--mmu", mmu, "--memory", "256M", "--page-size", "4k",
             "--prealloc", "--test-device", "--timeout", TIMEOUT[machine], "--kernel", linux,
             "--initrd", build / "initramfs" / "phases.cpio.gz",
             "--append", "quiet mitigations=off norandmaps", "--report", report]
    return [str(w) for w in words] + (["--icount"] if machine == "qemu" else []) + list(options)


def wait(process, what, usual):
    """Wait for the end and show that time passes."""
    live, start = sys.stderr.isatty(), time.monotonic()
    if not live:
        print(f"{what}: started, takes about {usual} s", file=sys.stderr, flush=True)
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if live:
                print(f"\r\033[K[{time.monotonic() - start:3.0f} s of about {usual}] {what}", end="",
                      file=sys.stderr, flush=True)
        finally:
            if live and process.poll() is not None:
                print("\r\033[K", end="", file=sys.stderr, flush=True)


def run_phases(run, build, linux, work, options):
    """Run the guest; its report and its console."""
    report, console, messages = (work / f"{run}.{name}" for name in ("json", "console", "messages"))
    command = command_of(run, build, linux, report, options)
    report.unlink(missing_ok=True)
    with open(console, "wb") as out, open(messages, "wb") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            status = wait(process, tables.TITLES[run], USUAL[RUNS[run][0]])
        except BaseException:
            process.terminate()  # vmmu takes its emulator with it
            process.wait()
            raise
    shown = console.read_text(errors="replace")
    if status != 0:
        raise RunFailed(f"{shlex.join(command)}\nended with status {status}\n{shown[-1000:]}"
                        f"{messages.read_text(errors='replace')[-2000:]}")
    return json.loads(report.read_text()), shown


def measure(runs, build, linux, reference, options=()):
    work = build / "bench" / "claims"
    work.mkdir(parents=True, exist_ok=True)
    found = {}
    for run in runs:
        report, console = run_phases(run, build, linux, work, options)
        try:
            found[run] = figures.figures(report, console, run, reference)
        except figures.Malformed as why:
            raise RunFailed(f"{tables.TITLES[run]}: {why} (see {work / run}.console)") from why
    return found


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="build directory")
    parser.add_argument("--linux", type=pathlib.Path, required=True, help="Debian's bzImage")
    parser.add_argument("--machine", choices=["all", "qemu", "bochs"], default="all",
                        help="which emulator; QEMU alone takes seconds")
    parser.add_argument("--no-run-ahead", action="store_true", help="measure without running ahead; no bounds then")
    parser.add_argument("--intercept-invlpg", action="store_true",
                        help="measure with INVLPG intercepted, as KVM does it under shadow paging; no bounds then")
    parser.add_argument("--write", action="store_true", help="write the figures into README.md and docs/claims.md")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


def main():
    arguments = parse()
    options = (["--no-run-ahead"] if arguments.no_run_ahead else []) + \
        (["--intercept=invlpg"] if arguments.intercept_invlpg else [])
    reference = figures.kvm()
    runs = [run for run, (machine, _) in RUNS.items() if arguments.machine in ("all", machine)]
    if not arguments.linux.exists():
        sys.exit(f"claims: there is no kernel at {arguments.linux}; scripts/setup kernels fetches one")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no emulator stays behind
    try:
        found = measure(runs, arguments.build, arguments.linux, reference, options)
    except RunFailed as why:
        sys.exit(f"claims: {why}")
    except KeyboardInterrupt:
        sys.exit("claims: interrupted")
    print(tables.whole(found, reference["source"]))
    if arguments.json:
        arguments.json.write_text(json.dumps({"kvm": reference["source"], "runs": found}, indent=1) + "\n")
    exceeded = [] if options else [line for run in runs for line in bounds.exceeded(run, found[run])]
    variant = "no-run-ahead" if arguments.no_run_ahead else "intercept-invlpg" if arguments.intercept_invlpg else "usual"
    if not (arguments.no_run_ahead and arguments.intercept_invlpg):
        wrong = documents.compare(variant, found, arguments.write)
        exceeded += [] if arguments.write else wrong
    for line in exceeded:
        print(f"claims: {line}", file=sys.stderr)
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
