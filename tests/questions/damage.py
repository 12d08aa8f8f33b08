#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Recordings that begin late, have lost events, come in another order, or are damaged.

    tests/questions/damage.py VMMU [SEED [COUNT]]

A loss that the recording tells of leaves nothing unexplained; one that it keeps silent
about is noticed. Bytes that are changed or cut off never lead to more than a refusal.
"""

import gzip
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
DATA, KVM = HERE / "data", HERE.parent / "kvm" / "traces"

passed = failed = 0


def expect(what, good, said=""):
    global passed, failed
    passed += bool(good)
    failed += not good
    if not good:
        print(f"FAILED: {what}\n{said[-2000:]}")


def run(vmmu, folder, *arguments):
    environment = dict(os.environ, TMPDIR=str(folder), XDG_CACHE_HOME=str(folder / "cache"),
                       LSAN_OPTIONS=f"suppressions={HERE / 'leaks'}:print_suppressions=0")
    done = subprocess.run([vmmu, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                          env=environment, timeout=120)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def check(vmmu, folder, lines):
    path = folder / "recording.txt"
    path.write_text("\n".join(lines) + "\n")
    status, out, error = run(vmmu, folder, "check", "--json", path)
    try:
        return status, json.loads(out)
    except ValueError:
        return status, {"vms": [], "error": error + out}


def total(result, name):
    return sum(vm[name] for vm in result["vms"])


def known_losses(vmmu, folder):
    text = subprocess.run(["zstd", "-dcq", DATA / "thp.txt.zst"], stdout=subprocess.PIPE, check=True).stdout.decode()
    lines = text.splitlines()
    head, body = lines[:12], lines[12:]
    for tenths in (1, 3, 5, 8):
        status, result = check(vmmu, folder, head + body[len(body) * tenths // 10:])
        expect(f"begun late ({tenths}/10): nothing unexplained", status == 0 and result["unexplained"] == 0, str(result))
        expect(f"begun late ({tenths}/10): says what was never seen", total(result, "never_seen") > 0, str(result))

    write = "kvm_tdp_mmu_spte_changed"
    splits = [i for i, line in enumerate(body) if write in line and "level 1" in line and "old_spte 8" not in line]
    cuts = [splits[len(splits) * n // 5] for n in (1, 2, 3, 4)]
    gone = {i for cut in cuts for i in range(cut, cut + 150)}
    with_note, without = [], []
    for i, line in enumerate(body):
        if i not in gone:
            with_note.append(line)
            without.append(line)
        elif i - 1 not in gone:
            with_note.append("CPU:0 [LOST 150 EVENTS]")
    status, result = check(vmmu, folder, head + with_note)
    expect("told losses: nothing unexplained", status == 0 and result["unexplained"] == 0, str(result))
    expect("told losses: 600 events", result.get("lost") == 600 and total(result, "after_loss") > 0, str(result))
    status, result = check(vmmu, folder, head + without)
    expect("silent losses are noticed", status == 1 and result["unexplained"] > 0, str(result))

    status, out, _ = run(vmmu, folder, "walk", "--brief", "--gpa", "40001000", "--at", "50ms", folder / "recording.txt")
    expect("a walk there is answered", status == 0 and "known" in out, out)

    # One entry with another value: every kind of field is looked at.
    for what, old, new in (("old_spte", "old_spte 103c01e67", "old_spte 103d01e67"), ("level", "level 1", "level 2"),
                           ("gfn", "gfn 40001 ", "gfn 40801 ")):
        changed = list(body)
        for i, line in enumerate(changed):
            if write in line and "gfn 40001 level 1" in line and "old_spte 103c01e67" in line and old in line:
                changed[i] = line.replace(old, new, 1)
                break
        else:
            expect(f"there is an event to change ({what})", False)
        status, result = check(vmmu, folder, head + changed)
        expect(f"a wrong {what} is noticed", status == 1 and result["unexplained"] > 0, str(result))

    foreign = head + ["no event at all", "[000] nor this"] + body
    status, result = check(vmmu, folder, foreign)
    expect("foreign lines are left out", status == 0 and result["unexplained"] == 0, str(result))
    status, out, error = run(vmmu, folder, "info", folder / "recording.txt")
    expect("... and told of", status == 0 and "2 lines or records are no events" in out and "line 13" in error, out + error)


def begun_anywhere(vmmu, folder):
    """Wherever a recording begins and ends, what it did not see is unknown, and never a contradiction."""
    for path in sorted(KVM.glob("[en]pt-*.txt.gz")):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        head, body = [line for line in lines if line.startswith("#")], [line for line in lines if not line.startswith("#")]
        wrong = []
        for step in range(1, 24):
            at = len(body) * step // 24
            for part in (body[at:], body[at:at + len(body) // 8]):
                for text in (part, [re.sub(r"\( +\d+\) ", "", line) for line in part] if "two" not in path.name else part):
                    status, result = check(vmmu, folder, head + text)
                    if status != 0 or result["unexplained"]:
                        wrong.append((at, len(part), result.get("examples")))
        expect(f"{path.name} cut anywhere: nothing unexplained", not wrong, str(wrong[:3]))


def packed_first(vmmu, folder):
    """The first record says that it is packed, and nothing was unpacked before it."""
    data = bytearray(subprocess.run(["zstd", "-dcq", DATA / "perf.data.zst"], stdout=subprocess.PIPE, check=True).stdout)
    records = int.from_bytes(data[40:48], "little")
    data[records:records + 4] = (81).to_bytes(4, "little")  # PERF_RECORD_COMPRESSED
    path = folder / "packed"
    path.write_bytes(data)
    status, out, error = run(vmmu, folder, "check", path)
    expect("a packed record comes first", status in (0, 1, 2) and "runtime error" not in error, out + error)


def call_chains(vmmu, folder):
    """perf record -g: the chain is in each sample, and names only in the kernel that runs."""
    kernel = {}
    for line in open("/proc/kallsyms", encoding="ascii", errors="replace"):
        word = line.split()
        kernel.setdefault(word[2], int(word[0], 16))
    if not kernel.get("_text") or not kernel.get("do_madvise"):
        print("1 skipped: this machine hides the addresses of its kernel")
        return
    data = subprocess.run(["zstd", "-dcq", DATA / "perf.data.zst"], stdout=subprocess.PIPE, check=True).stdout

    def with_chains(text, caller):
        out = bytearray(data)
        attr_size, attrs, attrs_size, at, size = struct.unpack_from("<5Q", data, 16)
        write = struct.pack("<H", int(re.search(rb"name: kvm_tdp_mmu_spte_changed\nID: (\d+)", data)[1]))
        sample_type = struct.unpack_from("<Q", data, attrs + 24)[0]
        fields = sum(8 for bit in (0, 1, 2, 3, 6, 7, 8, 9, 16) if sample_type >> bit & 1)
        for n in range(attrs_size // attr_size):
            struct.pack_into("<Q", out, attrs + n * attr_size + 24, sample_type | 1 << 5)
        name = b"[kernel.kallsyms]_text".ljust(32, b"\0")
        records = bytearray(struct.pack("<IHHIIQQQ", 1, 1, 40 + len(name), 0xffffffff, 0, text, 0, text) + name)
        end = at + size
        while at < end:
            kind, misc, length = struct.unpack_from("<IHH", data, at)
            if kind == 9 and data.find(write, at + 8 + fields + 4, at + 8 + fields + 6) >= 0:
                last_write = at
            if kind == 9:
                chain = struct.pack("<QQQ", 2, (1 << 64) - 128, caller + 4)
                records += struct.pack("<IHH", kind, misc, length + len(chain)) + data[at + 8:at + 8 + fields] + chain + \
                    data[at + 8 + fields:at + length]
            else:
                records += data[at:at + length]
            at += length
        # One write more: what the last one mapped is taken away, long after.
        length, = struct.unpack_from("<H", data, last_write + 6)
        zap = bytearray(data[last_write:last_write + length])
        time = 8 + sum(8 for bit in (16, 0, 1) if sample_type >> bit & 1)
        struct.pack_into("<Q", zap, time, struct.unpack_from("<Q", zap, time)[0] + 10**9)
        raw = 8 + fields + 4
        zap[raw + 16:raw + 24], zap[raw + 24:raw + 32] = zap[raw + 24:raw + 32], bytes(8)
        records += struct.pack("<IHH", 9, 2, length + len(chain)) + zap[8:8 + fields] + chain + zap[8 + fields:]
        features = data[end:]
        shift = len(records) - size
        out = out[:end - size] + records + features
        struct.pack_into("<Q", out, 48, len(records))
        for n in range(sum(bin(byte).count("1") for byte in data[72:104])):
            where = struct.unpack_from("<Q", out, end + shift + 16 * n)[0]
            struct.pack_into("<Q", out, end + shift + 16 * n, where + shift)
        path = folder / "chains"
        path.write_bytes(out)
        return run(vmmu, folder, "zaps", "--json", path)

    status, out, error = with_chains(kernel["_text"], kernel["do_madvise"])
    expect("perf's call chains tell for whom", status == 0 and '"origin": "madvise"' in out, out + error)
    status, out, error = with_chains(kernel["_text"] + 0x1000000, kernel["do_madvise"])
    expect("... only those of the kernel that runs", status == 0 and "storms" in out and '"origin"' not in out, out + error)


def seeds():
    for name in ("thp.txt.zst", "perf.data.zst"):
        yield name, subprocess.run(["zstd", "-dcq", DATA / name], stdout=subprocess.PIPE, check=True).stdout[:600000]
    for path in (DATA / "tc.report.gz", DATA / "tc.reportR.gz", DATA / "perf.script.gz", KVM / "ept-two.dat.gz",
                 KVM / "npt-split.txt.gz", KVM / "shadow-map.dat.gz", KVM / "npt-stacks.dat.gz", KVM / "npt-stacks.txt.gz"):
        yield path.name, gzip.decompress(path.read_bytes())
    for path in (DATA / "npt-split-v7.dat", DATA / "few.txt.zst", KVM / "npt-map.dat.gz"):
        yield path.name, path.read_bytes()


def damage(random_numbers, data):
    data = bytearray(data)
    kind = random_numbers.randrange(5)
    if kind == 0:
        return data[:random_numbers.randrange(len(data))]
    for _ in range(1 << random_numbers.randrange(8)):
        at = random_numbers.randrange(min(len(data), 1 << random_numbers.choice((6, 10, 14, 30))))
        if kind == 1:
            data[at] = random_numbers.randrange(256)
        elif kind == 2:
            data[at] ^= 1 << random_numbers.randrange(8)
        elif kind == 3:
            data[at:at + 8] = random_numbers.choice((b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f\0\0\0\0"))
        else:
            size = random_numbers.randrange(1, 200)
            other = random_numbers.randrange(len(data))
            data[at:at + size] = data[other:other + size]
    return data


def hostile(vmmu, folder, seed, count):
    random_numbers = random.Random(seed)
    originals = list(seeds())
    questions = (["check"], ["walk", "--gpa", "40001000"], ["faults"], ["zaps"], ["pages"], ["doctor"], ["dump"], ["trace", "--all"],
                 ["info"], ["dirty"], ["mmio"])
    for n in range(count):
        name, data = originals[n % len(originals)]
        path = folder / "damaged"
        path.write_bytes(damage(random_numbers, data))
        question = questions[n // len(originals) % len(questions)]
        status, _, error = run(vmmu, folder, *question, path)
        good = status in (0, 1, 2) and "Sanitizer" not in error and "runtime error" not in error
        expect(f"{name}, seed {seed}, number {n}: {' '.join(question)}", good, f"status {status}\n{error}")
        if not good:
            keep = pathlib.Path(tempfile.gettempdir()) / f"damaged-{seed}-{n}"
            keep.write_bytes(path.read_bytes())
            print(f"    kept as {keep}")


def main():
    vmmu = pathlib.Path(sys.argv[1]).resolve()
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 121
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        known_losses(vmmu, folder)
        begun_anywhere(vmmu, folder)
        call_chains(vmmu, folder)
        packed_first(vmmu, folder)
        hostile(vmmu, folder, seed, count)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed or not passed else 0)


main()
