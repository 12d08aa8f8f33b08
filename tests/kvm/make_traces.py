#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Make the traces in tests/kvm/traces anew: each run once as `vmmu record` writes it and,
of the same run, as tracefs prints it.

    make_traces.py [--machine qemu|bochs|shadow|nested|linux|found|found-ept|stacks|stacks-ept]...    (needs make tool kvm-lab visor guests)
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
# Who took pages away, by the kernel's stacks: the VMM gives memory back, a slot goes, dirty
# logging ends, the VM ends.
STACKS = {"stacks": "vmm --memory 4 --huge write2m:2 log:on write:40:20 log:off write:20 discard:16 write:24 pause:30 delete add "
                    "write:24 pause:30 discard:8 write:12 pause:30"}
# Tables that exist when the recording begins, and then change.
FOUND = {"found": "sh /guest/run"}
RUN_FOUND = """
rm -f /tmp/go
vmm --memory 4 --huge write2m:1 write:64:1:512 say:ready wait:/tmp/go write:96:1:512 log:on write:40:10 delete add \
	write:20 pause:50 >/tmp/vmm.log 2>&1 &
until grep -q ready /tmp/vmm.log; do sleep 0.1; done
(until grep -q entries /tmp/record.log 2>/dev/null; do sleep 0.1; done; touch /tmp/go) &
"""
# The visor as a guest of QEMU and KVM, with a guest of its own: KVM keeps tables for both.
NESTED = {"nested": "sh /guest/run"}
RUN_NESTED = f"""
{lab.QEMU_INSIDE} -name guest=nested -serial file:/tmp/console -serial file:/tmp/log \\
	-kernel /guest/visor.elf -initrd "/guest/guest.elf vmmu:kernel guest.elf" \\
	-append "memory=16M page-size=4k -- tests=touch" &
for i in $(seq 600); do
	grep -q '"event":"end"' /tmp/log && break
	sleep 0.1
done
cat /tmp/console /tmp/log >/out/guest
kill $!
wait
"""
# Debian's kernel as QEMU's guest, from its firmware to power-off.
LINUX = {"linux": "sh /guest/run"}
RUN_LINUX = lab.QEMU_INSIDE.replace("-m 128M", "-m 256M") + """ -name guest=linux -serial file:/tmp/console \\
	-kernel /guest/vmlinuz -initrd /guest/initrd -append "console=ttyS0 nokaslr panic=-1 quiet"
cat /tmp/console >/out/guest
"""
MACHINES = {"qemu": ("qemu", "", "npt", SCENES), "bochs": ("bochs", "", "ept", SCENES),
            "shadow": ("qemu", "npt=0", "shadow", SCENES), "nested": ("qemu", "", "npt", NESTED),
            "linux": ("qemu", "", "npt", LINUX), "found": ("qemu", "", "npt", FOUND),
            "found-ept": ("bochs", "", "ept", FOUND),
            "stacks": ("qemu", "", "npt", STACKS), "stacks-ept": ("bochs", "", "ept", STACKS)}

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
	vmmu record --quiet $options --buffer 4M -o /out/$name.dat -- "$@"
	[ -s /out/$name.dat ] || exit 1
	echo 0 >tracing_on
	cat trace >/out/$name.txt
}
"""
# What --stacks asks for, of tracefs.
TRIGGERS = """
echo stacktrace >events/kvm/kvm_unmap_hva_range/trigger
echo stacktrace >events/kvmmmu/kvm_mmu_zap_all_fast/trigger
echo 'stacktrace if level >= 2 && old_spte != 0 && (new_spte == 0 || new_spte == 0x5a0)' \
	>events/kvmmmu/kvm_tdp_mmu_spte_changed/trigger
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path(".cache/kernels/cloud-amd64"))
    parser.add_argument("--machine", action="append", choices=sorted(MACHINES), help="all when not given")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "traces")
    o = parser.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    for machine in o.machine or MACHINES:
        emulator, vendor, paging, scenes = MACHINES[machine]
        options = "--nested" if machine == "nested" else "--stacks" if scenes is STACKS else ""
        job = f"options={options}\n" + JOB + (TRIGGERS if scenes is STACKS else "") + \
            "".join(f"scene {name} {command}\n" for name, command in scenes.items())
        programs, files = [o.build / "vmmu"], {}
        if scenes is FOUND:
            # Not quiet: what was found is waited for.
            job = job.split("scene()")[0] + RUN_FOUND + "vmmu record -o /out/found.dat --buffer 4M 2>/tmp/record.log\n"
        if machine in ("nested", "linux"):
            qemu, files = lab.with_qemu()
            programs.append(qemu)
        if machine == "nested":
            files["/guest/run"] = RUN_NESTED.encode()
            files["/guest/visor.elf"] = (o.build / "visor.elf").read_bytes()
            files["/guest/guest.elf"] = (o.build / "guest/guest.elf").read_bytes()
        if machine == "linux":
            files["/guest/run"] = RUN_LINUX.encode()
            files["/guest/vmlinuz"] = (o.kernel / "vmlinuz").read_bytes()
            files["/guest/initrd"] = (o.build / "initramfs/run.cpio.gz").read_bytes()
        result = lab.run(emulator, o.kernel, o.build / "kvm-lab", job, vendor=vendor, programs=programs, files=files,
                         memory=2048 if machine == "linux" else None, progress=True)
        if result.status or \
                machine == "nested" and b"PASS touch" not in result.files.get("guest", b"") or \
                machine == "linux" and b"Power down" not in result.files.get("guest", b""):
            sys.exit(f"make_traces: {machine}: {result.console[-2000:]} {result.files.get('guest')}")
        for name, data in result.files.items():
            if name.endswith(".dat") or name.endswith(".txt") and machine not in ("nested", "linux"):
                (o.out / f"{paging}-{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    main()
