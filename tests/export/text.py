#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""Does the CSV hold what the text of tracefs says? Read with a regular expression, not by vmmu.

    text.py TEXT EVENTS.csv     (the CSV with --host-clock)
"""

import csv
import re
import sys

FAULT = re.compile(r"(\d+)\.(\d{6}): kvm_page_fault: vcpu (\d+) rip (\S+) address (\S+) error_code (\S+)")
WRITE = re.compile(r"(\d+)\.(\d{6}): kvm_tdp_mmu_spte_changed: as id \d+ gfn (\w+) level (\d+) old_spte (\w+) new_spte (\w+)")


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    faults = [(f"{s}.{us}000", vcpu, int(rip, 16), int(address, 16), int(error, 16))
              for s, us, vcpu, rip, address, error in FAULT.findall(text)]
    writes = [(f"{s}.{us}000", int(gfn, 16) << 12, int(level), int(old, 16), int(new, 16))
              for s, us, gfn, level, old, new in WRITE.findall(text)]
    got_faults, got_writes = [], []
    for row in csv.DictReader(open(sys.argv[2], newline="", encoding="utf-8")):
        if row["event"] == "fault":
            got_faults.append((row["time"], row["vcpu"], int(row["rip"], 16), int(row["address"], 16), int(row["error_code"], 16)))
        # What no event told is inferred; an old value of what a CPU is taking away is told twice.
        if row["event"] == "write" and row["known"] == "seen":
            got_writes.append((row["time"], int(row["address"], 16), int(row["level"]), int(row["old"], 16), int(row["new"], 16)))
    same_faults = faults == got_faults
    told = set(writes)
    missing = [w for w in got_writes if w not in told]
    print(f"{len(faults)} faults, {len(writes)} writes; rows: {len(got_faults)}, {len(got_writes)}, of these {len(missing)} not in the text")
    return 0 if same_faults and faults and got_writes and not missing else 1


sys.exit(main())
