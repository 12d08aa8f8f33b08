#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Make the traces in tests/kvm/traces anew: each run once as `vmmu record` writes it and,
of the same run, as tracefs prints it.

    make_traces.py [--machine qemu|bochs|shadow]...    (needs make tool kvm-lab)
"""

import argparse
import gzip
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lab"))
import lab  # noqa: E402

# Name: the command that is recorded.
SCENES = {
    # First touches, an MMIO entry, a slot deleted and added again, dirty logging with its
    # fast repairs, an MMU notifier.
    "map": "vmm --memory 2 write:64 device:2 write:64 delete add read:64 write:64 log:on write:64 log:get write:64 "
           "log:off discard:16 write:64 pause:50",
    # Pages of 2 MiB, split for dirty logging.
    "split": "vmm --memory 4 --huge write2m:2 log:on write:40:20 log:off write:40:20 pause:50",
    # Two VMs at once, and two vCPUs in one.
    "two": "sh -c 'vmm --memory 2 write:32 pause:50 delete add write:32 pause:50 & "
           "vmm --memory 2 --vcpus 2 write@*:48 pause:50 discard:16 write@*:48 pause:50; wait'",
}
MACHINES = {"qemu": ("qemu", "", "npt"), "bochs": ("bochs", "", "ept"), "shadow": ("qemu", "npt=0", "shadow")}

JOB = """
cd /sys/kernel/tracing
echo 8000 >buffer_size_kb; echo mono >trace_clock; echo 1 >options/record-tgid
echo '!(old_spte == 0 && new_spte == 0x5a0)' >events/kvmmmu/kvm_tdp_mmu_spte_changed/filter
for event in kvmmmu kvm/kvm_page_fault kvm/kvm_userspace_exit kvm/kvm_unmap_hva_range kvm/kvm_age_hva; do
	echo 1 >events/$event/enable
done
echo 0 >events/kvmmmu/kvm_mmu_pagetable_walk/enable
echo 0 >events/kvmmmu/kvm_mmu_paging_element/enable
scene() {
	name=$1; shift
	echo >trace
	echo 1 >tracing_on
	vmmu record --quiet --buffer 4M -o /out/$name.dat -- "$@" || exit 1
	echo 0 >tracing_on
	cat trace >/out/$name.txt
}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path(".cache/kernels/cloud-amd64"))
    parser.add_argument("--machine", action="append", choices=sorted(MACHINES))
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "traces")
    o = parser.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    job = JOB + "".join(f"scene {name} {command}\n" for name, command in SCENES.items())
    for machine in o.machine or MACHINES:
        emulator, vendor, paging = MACHINES[machine]
        result = lab.run(emulator, o.kernel, o.build / "kvm-lab", job, vendor=vendor, programs=[o.build / "vmmu"],
                         progress=True)
        if result.status:
            sys.exit(f"make_traces: {machine}: {result.console[-2000:]}")
        for name, data in result.files.items():
            if name.endswith((".dat", ".txt")):
                (o.out / f"{paging}-{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    main()
