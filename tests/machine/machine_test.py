#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Machine tests: guests run by `vmmu run` on emulated machines.

Each case (cases.py) starts one machine and is judged by the status that
`vmmu run` ends with, by the guest's console, by the visor's summary and by the
trace: `vmmu check` replays it from empty tables to the final ones, `expect`
compares it with what the guest promised. One line per case, then a line
"N passed, N failed, N skipped".
"""
import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import pty
import re
import shlex
import shutil
import subprocess
import sys
import time

import exit_table
from cases import CASES, Files

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "bench" / "claims"))
import bounds  # noqa: E402
import documents  # noqa: E402
import figures  # noqa: E402

DUMP_SAMPLES = 6    # pages of each trace of which dump and walk are asked alike
# Measured on QEMU: 582,000, a page fault of a hostile guest; on Bochs: 4,692,000, an entry of a nested guest that loads 512 MSRs.
LONGEST_EXIT_NS = {"qemu": 1_000_000, "bochs": 10_000_000}

TIMEOUT = {"qemu": 300, "bochs": 600}  # seconds; more than ten times what a quiet machine needs


class Failure(Exception):
    """Why a case failed; the first line says it."""


def require(condition, message):
    if not condition:
        raise Failure(message)


class Runner:
    def __init__(self, build, files, work, writes=False):
        self.writes = writes
        self.build = build
        self.files = files
        self.work = work
        self.exits = {}  # of each case that ran: what docs/visor.md is written from

    def bare_command(self, case):
        words = [sys.executable, "-B", pathlib.Path(__file__).with_name("bare.py"),
                 "--memory", case.memory.removesuffix("M"), "--timeout", str(TIMEOUT[case.machine]),
                 *case.options, case.machine, self.files.path(case.kernel), *case.append.split()]
        return [str(w) for w in words]

    def command(self, case, folder):
        """The `vmmu run` that starts this case's machine, or what starts it without the visor."""
        if case.mmu == "bare":
            return self.bare_command(case)
        append = self.with_addresses(case.append)
        words = [self.build / "vmmu", "run", "--machine", case.machine, "--memory", case.memory,
                 "--page-size", case.page_size, "--timeout", str(TIMEOUT[case.machine]),
                 "--log", folder / "visor.log",
                 "--report", folder / "report.json", "--kernel", self.files.path(case.kernel)]
        if case.mmu:
            words += ["--mmu", case.mmu]
        if case.initrd:
            words += ["--initrd", self.files.path(case.initrd)]
        for module in case.modules:
            name, _, text = module.partition("=")
            words += ["--module", f"{self.files.path(name)}={text}" if text else self.files.path(name)]
        if append:
            words += ["--append", append]
        if case.trace:
            words += ["--trace", folder / "trace"]
        if case.small:
            words += ["--trace", folder / "small" / "trace"]
        words = [str(w) for w in words + list(case.options)]
        return on_small_disk(words, folder / "small", case.small) if case.small else words

    def with_addresses(self, words):
        """`words` with each @NAME replaced by the address that the visor's symbol has."""
        if "@" not in words:
            return words
        listed = subprocess.run(["nm", self.build / "visor.debug"], capture_output=True, text=True, check=True).stdout
        symbols = {name: address for address, _, name in map(str.split, listed.splitlines())}
        return re.sub(r"@(\w+)", lambda found: "0x" + symbols[found.group(1)].lstrip("0"), words)

    def run(self, case):
        """Run one case; raises Failure."""
        folder = self.work / case.name
        folder.mkdir(parents=True, exist_ok=True)
        command = self.command(case, folder)
        (folder / "command").write_text(" ".join(f"'{w}'" if " " in w else w for w in command) + "\n")
        with open(folder / "console", "wb") as console, open(folder / "messages", "wb") as messages:
            typed, seen = keyboard(case)
            machine = subprocess.Popen([*own_terminal(case), *command], stdin=seen, stdout=console, stderr=messages,
                                       env=environment(case, folder))
            os.close(seen)
            type_keys(case, machine, typed, folder / "console")
            if not case.terminal:
                os.close(typed)  # the end of what is typed
            status = machine.wait()
            if case.terminal:
                os.close(typed)
        self.judge(case, folder, status)

    def judge(self, case, folder, status):
        console = (folder / "console").read_text(errors="replace").replace("\r\n", "\n")
        messages = (folder / "messages").read_text(errors="replace")
        failed = [line for line in console.splitlines() if line.startswith(("FAIL", "vmmu-workload: FAIL"))]
        require(not failed or case.may_fail, "; ".join(failed[:3]))
        require(status in (case.statuses or (case.status,)), f"vmmu run ended with {status} instead of "
                f"{case.statuses or case.status}: " + reason_in(messages))
        for pattern in case.console:
            require(re.search(pattern, console, re.M), f"the console does not show /{pattern}/")
        for pattern, most in case.at_most:
            shown = re.search(pattern, console, re.M)
            require(shown and int(shown[1]) <= most, f"{shown[0] if shown else pattern}: no number up to {most}")
        for pattern in case.messages:
            require(re.search(pattern, messages, re.M), f"vmmu run does not say /{pattern}/")
        if case.starts:
            self.judge_summary(case, json.loads((folder / "report.json").read_text()))
        if case.phases:
            self.judge_phases(case, json.loads((folder / "report.json").read_text()), console)
        if case.trace:
            self.judge_trace(folder)

    def judge_summary(self, case, told):
        require("summary" in told, "the visor gave no summary")
        summary = told["summary"]
        require(summary["audit_findings"] == 0, f"{summary['audit_findings']} audit findings at the end")
        require(summary["trace_dropped"] == 0, f"{summary['trace_dropped']} trace records were dropped")
        asked = {"cr3-write", "invlpg"} if "--intercept=cr3,invlpg" in case.options else set()
        unseen = ({"invlpg"} if case.mmu == "shadow" else {"cr3-write", "cr3-read", "invlpg"}) - asked
        require(all(summary["exits"].get(name) == 0 for name in unseen), f"{unseen}: {summary['exits']}")
        require(all(summary["exits"].get(name) for name in asked), f"not one of {asked}: {summary['exits']}")
        # Of each entry of L2 at most one exit is told to L1, and counts once: as a memory fault, or as nested-exit.
        told = summary["exits"].get("nested-exit", 0) + summary["faults"].get("reflect-to-l1", 0)
        require(told <= summary["exits"].get("nested-entry", 0), f"{told} exits told to L1: {summary['exits']}")
        # What the host is busy with does not count: an instruction is 1 ns here on QEMU, and 10 ns on Bochs.
        if "--icount" in case.options or case.bounded:
            longest = summary["longest_exit"]
            require(longest["ns"] <= LONGEST_EXIT_NS[case.machine], f"an exit took {longest['ns']} ns of virtual time: {longest}")
        self.exits[case.name] = summary["exits"]
        wrong = [] if self.writes else exit_table.differences(case.name, summary["exits"])
        require(not wrong, "; ".join(wrong))
        levels = set(summary["entries"].get("violation", {}))
        require("1" in levels, f"no 4 KiB entries were written: {summary['entries']}")
        if case.large:
            require(case.large in levels, f"no entries of level {case.large}: {summary['entries']}")
        else:
            require(summary["mapped"]["2m"] == 0 and summary["mapped"]["1g"] == 0,
                    f"larger leaves than 4 KiB: {summary['mapped']}")

    def judge_phases(self, case, told, console):
        """Every phase ran, cost no more than `make claims` promises, and about what documents say."""
        try:
            found = figures.figures(told, console, case.phases, figures.kvm())
            exceeded = bounds.exceeded(case.phases, found) + documents.compare("usual", {case.phases: found})
        except figures.Malformed as why:
            raise Failure(str(why)) from why
        require(not exceeded, "; ".join(exceeded))

    def judge_trace(self, folder):
        for name, command in (("check", [self.build / "vmmu", "check", folder / "trace"]),
                              ("expect", [self.build / "tests" / "machine" / "expect", folder / "trace",
                                          folder / "console"])):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            (folder / name).write_text(done.stdout + done.stderr)
            require(done.returncode == 0, f"{name}: {first_line(done.stdout + done.stderr)}")
        self.judge_dump(folder / "trace")
        self.judge_neighbours(folder / "trace", (folder / "console").read_text(errors="replace"))

    def output_of(self, *words):
        done = subprocess.run([self.build / "vmmu", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)
        require(done.returncode == 0, f"vmmu {words[0]}: {first_line(done.stdout + done.stderr)}")
        return done.stdout

    def judge_dump(self, trace):
        """`dump` and `walk` say the same of a page: where it is, and under shadow paging which gpa it is."""
        runs = re.findall(r"^ *L\d  (gpa|gva) (0x\w+)-(0x\w+)(?: -> gpa (0x\w+))? -> hpa (0x\w+)", self.output_of("dump", trace), re.M)
        for kind, first, _, gpa, hpa in runs[::max(1, len(runs) // DUMP_SAMPLES)]:
            walked = self.output_of("walk", trace, f"--{kind}", first, "--brief")
            require(f"host-physical 0x{int(hpa, 16):012x}" in walked, f"dump says {first} is at {hpa}, walk says:\n{walked}")
            if kind == "gva":
                require(f"guest-physical 0x{int(gpa, 16):012x}" in walked, f"dump says {first} is gpa {gpa}, walk says:\n{walked}")


    def judge_neighbours(self, trace, console):
        """`walk` says of a page that came as a neighbour that it did, and of which fault."""
        for word, base in re.findall(r"^EXPECT (prefetched|faulted) (0x\w+)", console, re.M):
            walked = self.output_of("walk", trace, "--gpa", base)
            cause = "prefetch" if word == "prefetched" else "violation"
            require(re.search(rf"level 1, .*\n.*\n +\S+ s +{cause} +fault \d+: write at 0x", walked), f"walk does not show {cause} at {base}:\n{walked}")


def on_small_disk(words, folder, size):
    """The command in a mount namespace of its own, with a small file system at `folder`."""
    folder.mkdir(exist_ok=True)
    return ["unshare", "--map-root-user", "--mount", "sh", "-c",
            f"mount -t tmpfs -o size={size} none {shlex.quote(str(folder))} && {shlex.join(words)}"]


def can_mount():
    """May we make mount namespaces here? Containers often refuse."""
    return subprocess.run(["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
                          stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def keyboard(case):
    """(where keys are written, what the machine reads them from): a pipe, or a terminal, on which Ctrl-A means something."""
    if case.terminal:
        return pty.openpty()
    seen, typed = os.pipe()
    os.set_inheritable(typed, False)
    return typed, seen


def environment(case, folder):
    """Ours, and for a machine of its own a QEMU that takes its words, too."""
    if not case.hardware:
        return None
    emulator = folder / "qemu"
    emulator.write_text(f"#!/bin/sh\nexec {shutil.which('qemu-system-x86_64')} \"$@\" " + " ".join(case.hardware) + "\n")
    emulator.chmod(0o755)
    return dict(os.environ, VMMU_QEMU=str(emulator))


def own_terminal(case):
    """Words before a command that make its standard input the terminal that it controls."""
    return ("setsid", "--ctty", "--wait") if case.terminal else ()


def type_keys(case, machine, typed, console):
    """Type or send what the case wants, when the guest asks for it; a UART loses what comes too early."""
    while (case.keys or case.signal) and machine.poll() is None:
        if re.search(case.prompt, console.read_text(errors="replace"), re.M):
            with contextlib.suppress(BrokenPipeError):  # it has ended; its status says why
                os.write(typed, case.keys.encode())
            if case.signal:
                machine.send_signal(case.signal)
            break
        time.sleep(0.1)


def first_line(text):
    return text.strip().splitlines()[0] if text.strip() else "(no message)"


def reason_in(messages):
    """The line that says most about an unexpected end."""
    for pattern in (r"the VM has failed: (.*)", r"could not start the guest: (.*)", r"vmmu: (out of time.*)"):
        found = re.search(pattern, messages)
        if found:
            return found.group(1)
    return first_line(messages)


def report(runner, case):
    """Run a case and print its line; returns whether it passed."""
    start = time.monotonic()
    try:
        runner.run(case)
        word, reason = "PASS", ""
    except Failure as failure:
        word, reason = "FAIL", f": {failure} (see {runner.work / case.name})"
    print(f"{word} {case.name} {time.monotonic() - start:.1f} s{reason}", flush=True)
    return word == "PASS"


def answers_of(case, folder):
    console = (folder / "console").read_text(errors="replace").replace("\r\n", "\n")
    return re.findall(case.answers, console, re.M)


def compare_answers(runner, cases):
    """
    Do all machines give the same answers? Prints a line; returns how many comparisons passed
    and failed, 1 and 0 or 0 and 1, or none if there are no two to compare.
    """
    said = {}
    for case in cases:
        for question, answer in answers_of(case, runner.work / case.name) if case.answers else ():
            said.setdefault(question, {}).setdefault(answer, []).append(case.name)
    compared = {question: given for question, given in said.items() if sum(map(len, given.values())) > 1}
    if not compared:
        return 0, 0
    different = [f"{question}: " + "; ".join(f"{answer} by {', '.join(names)}" for answer, names in given.items())
                 for question, given in compared.items() if len(given) > 1]
    print("\n".join(f"FAIL answers differ: {line}" for line in different) or
          f"PASS answers to {len(compared)} questions are the same on all machines", flush=True)
    return (0, 1) if different else (1, 0)


def chosen(arguments):
    cases = [c for c in CASES if arguments.machine in ("all", c.machine)]
    if arguments.only:
        cases = [c for c in cases if re.search(arguments.only, c.name)]
    elif not arguments.long:
        cases = [c for c in cases if not c.long]
    # Long ones first, so that no core idles while the last one runs.
    return sorted(cases, key=lambda c: -c.cost)


def main():
    parser = argparse.ArgumentParser(description="run guests on emulated machines and judge them")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="build directory")
    parser.add_argument("--linux", type=pathlib.Path, help="a bzImage for the Linux cases")
    parser.add_argument("--machine", choices=["all", "qemu", "bochs"], default="all")
    parser.add_argument("--only", metavar="REGEX", help="only cases whose name contains this")
    parser.add_argument("--long", action="store_true", help="also the cases that `make test` leaves out")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="machines at once")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("--write", action="store_true", help=f"write the exits of Debian's kernels into {exit_table.DOCUMENT}")
    arguments = parser.parse_args()
    cases = chosen(arguments)
    if arguments.list:
        print("\n".join(f"{c.name}: {c.about}" for c in cases))
        return 0
    work = arguments.build / "tests" / "machine" / "out"
    files = Files(arguments.build, arguments.linux, work)
    runner = Runner(arguments.build.resolve(), files, work, arguments.write)
    mounts = can_mount()
    can_run = [c for c in cases if not files.missing(c) and (mounts or not c.small)]
    for case in cases:
        if case not in can_run:
            print(f"SKIP {case.name}: there is no {files.missing(case) or 'mount namespace for us'}")
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        passed = sum(pool.map(lambda c: report(runner, c), can_run))
    if arguments.write:
        exit_table.write(runner.exits)
    same, different = compare_answers(runner, can_run)
    failed = len(can_run) - passed + different
    print(f"{passed + same} passed, {failed} failed, {len(cases) - len(can_run)} skipped")
    return 0 if not failed and cases else 1


if __name__ == "__main__":
    sys.exit(main())
