#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""vmmu doctor names each illness where it is, and not where something only looks like it.

    doctor.py --build BUILD --vmmu VMMU [--guest]

The recordings of tests/doctor/traces are of real KVM (make_traces.py makes them). With
--guest a guest of the visor's own is made ill, too.
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# What beside the illness itself is true of a recording.
ALSO = {"large-pages-split-ill": {"idle-dirty-log"}, "large-pages-split-well": {"idle-dirty-log"}}
# What the evidence must name, and how often it came at least.
NAMES = {
    "repeating-fault": ("0x40000000", 200), "page-comes-and-goes": ("0x40000000", 48),
    "device-storm": ("0xd0000000", 3900), "large-pages-split": ("0x40000000", 16), "nx-splits": ("0x40000000", 16),
    "idle-dirty-log": ("1,024 pages", 1000), "zap-all-storm": ("kvm_mmu_zap_all_fast", 6),
    "notifier-storm": ("calls of the notifier", 384), "misaligned-slot": ("slot 1: gpa 0x40000000", 1),
}
results = {"passed": 0, "failed": 0}


def check(what, good):
    results["passed" if good else "failed"] += 1
    if not good:
        print(f"FAILED: {what}")


def doctor(vmmu, *words, data=None):
    done = subprocess.run([vmmu, "doctor", "--no-index", *map(str, words)], input=data, capture_output=True, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def recordings(vmmu):
    traces = sorted((HERE / "traces").glob("*.dat.gz"))
    check("each illness has a recording with it and one that looks alike",
          {t.name[:-len(".dat.gz")] for t in traces} == {f"{n}-{k}" for n in NAMES for k in ("ill", "well")})
    for trace in traces:
        name = trace.name[:-len(".dat.gz")]
        illness, kind = name.rsplit("-", 1)
        status, out, err = doctor(vmmu, "--json", trace)
        check(f"{name}: status {status}, {err}", status in (0, 1))
        answer = json.loads(out)
        found = {f["illness"]: f for f in answer["findings"]}
        expected = ALSO.get(name, set()) | ({illness} if kind == "ill" else set())
        check(f"{name}: {sorted(found)} found, {sorted(expected)} expected", set(found) == expected)
        check(f"{name}: the status says whether something was found", status == (1 if expected else 0))
        check(f"{name}: all others are named", set(found) | set(answer["not_found"]) | set(answer["not_looked_for"]) ==
              set(NAMES))
        check(f"{name}: nothing was left out", not answer["not_looked_for"])
        if kind == "ill" and illness in found:
            f, (text, count) = found[illness], NAMES[illness]
            check(f"{name}: evidence names {text}: {f['evidence']}", any(text in e["text"] for e in f["evidence"]))
            check(f"{name}: {f['count']} times, at least {count}", f["count"] >= count)
            check(f"{name}: times are in order", f["first_time"] <= f["last_time"])
            check(f"{name}: there is advice", len(f["advice"]) > 80)


def text(vmmu):
    trace = HERE / "traces/notifier-storm-ill.dat.gz"
    _, out, _ = doctor(vmmu, trace)
    for part in ("1 illness found in ", "1. notifier-storm: ", "What to do: ", "More: vmmu zaps --vm 1 ", "not found"):
        check(f"the text has \"{part}\"", part in out)
    check("no line is longer than a reader likes", all(len(line) <= 110 for line in out.splitlines()
                                                       if "More:" not in line and "illness found" not in line))
    status, out, _ = doctor(vmmu, "-", data=trace.read_bytes())
    check("a pipe is read, too", status == 1 and "notifier-storm" in out)
    status, out, _ = doctor(vmmu, "--until", "1ms", trace)
    check("before it began there was none", status == 0 and "No illness found" in out)
    status, _, err = doctor(vmmu, "--vm", "7", trace)
    check("an unknown VM is refused", status == 2 and err.startswith("vmmu: "))
    status, _, err = doctor(vmmu, HERE / "doctor.py")
    check("what is no trace is refused", status == 2 and err.startswith("vmmu: "))
    damaged = gzip.decompress(trace.read_bytes())
    status, _, _ = doctor(vmmu, "-", data=damaged[:len(damaged) // 2])
    check("half a recording does no harm", status in (0, 1, 2))


def boot(vmmu):
    """Firmware moves slots 22 times in a second, and loses next to nothing."""
    status, out, _ = doctor(vmmu, "--json", HERE.parent / "kvm/traces/npt-linux.dat.gz")
    check(f"a Linux boot is well: {[f['what'] for f in json.loads(out)['findings']]}", status == 0)


def shadow(vmmu):
    status, out, _ = doctor(vmmu, HERE.parent / "kvm/traces/shadow-map.dat.gz")
    check("what the shadow MMU does not record is not called healthy",
          status == 0 and out.count("not looked for") >= 5 and "record no drop of an entry" in out)


def guest(vmmu, build):
    with tempfile.TemporaryDirectory() as folder:
        # Under shadow paging a guest writes its own tables thousands of times: each write is a fault without an entry.
        # This one also counts violations, and is not told that there are some here: its status is 1.
        for test, mmu, ill in (("mmio", "npt", True), ("touch", "npt", False), ("paging", "shadow", False)):
            trace = pathlib.Path(folder, f"{mmu}.trace")
            run = subprocess.run([vmmu, "run", "--machine", "qemu", "-q", "--test-device", "-k", build / "guest/guest.elf",
                                  "-a", f"tests={test}", "--mmu", mmu, "--memory", "64M", "--trace", trace], capture_output=True,
                                 stdin=subprocess.DEVNULL, timeout=300)
            check(f"the guest {test} ran: {run.returncode} {run.stderr[-300:]}", run.returncode == (test == "paging"))
            status, out, _ = doctor(vmmu, "--json", trace)
            found = [f["illness"] for f in json.loads(out)["findings"]]
            check(f"a guest of the visor, {test}: {found}", found == (["device-storm"] if ill else []))
            check(f"... and its status {status}", status == (1 if ill else 0))
        done = subprocess.run([vmmu, "faults", "--no-index", "--json", trace], capture_output=True, timeout=120)
        outcomes = json.loads(done.stdout)["outcomes"]
        check(f"what became of each fault is known: {outcomes}", outcomes["emulated"] >= 1000 and outcomes["unknown"] == 0)
        status, out, _ = doctor(vmmu, trace)
        check("why not all is looked for under the visor's shadow paging", "the visor's shadow tables" in out and "KVM's" not in out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--vmmu", type=pathlib.Path, required=True)
    parser.add_argument("--guest", action="store_true")
    o = parser.parse_args()
    recordings(o.vmmu)
    text(o.vmmu)
    shadow(o.vmmu)
    boot(o.vmmu)
    if o.guest:
        guest(o.build / "vmmu", o.build)
    print(f"{results['passed']} passed, {results['failed']} failed, 0 skipped")
    sys.exit(1 if results["failed"] else 0)


if __name__ == "__main__":
    main()
