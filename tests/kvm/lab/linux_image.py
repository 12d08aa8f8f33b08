#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Linux in KVM in an initial ramdisk: L1 loads KVM and boots the same kernel as L2 to the workload of the boot tests.

    linux_image.py --machine qemu --kernel .cache/kernels/cloud-amd64 --build build OUT

L2's console is L1's. The last line is "linux-ended 0" where L2 has come to its end.
"""

import argparse
import pathlib
import sys

import lab

NESTED = {"qemu": "npt=1", "bochs": "ept=1"}  # parameters of kvm-amd.ko and kvm-intel.ko
L2_WORDS = "console=ttyS0 quiet nokaslr panic=-1 mitigations=off"


def image(machine, kernel, tools, workload, limit=3000):
    files = {"/guest/vmlinuz": (kernel / "vmlinuz").read_bytes(), "/guest/initrd": workload.read_bytes()}
    job = f'exec >/dev/console 2>&1; linux --initrd /guest/initrd --append "{L2_WORDS}" --until "reboot: System halted" /guest/vmlinuz; ' \
          'echo linux-ended $?'
    return lab.image(machine, kernel, tools, job, limit, vendor=NESTED[machine], programs=[tools / "linux"], files=files)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", choices=list(NESTED), required=True)
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path(".cache/kernels/cloud-amd64"))
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("out", type=pathlib.Path)
    o = parser.parse_args()
    try:
        made = image(o.machine, o.kernel.resolve(), o.build / "kvm-lab", o.build / "initramfs/workload.cpio.gz")
    except (lab.LabError, OSError) as why:
        sys.exit(f"linux_image: {why}")
    o.out.write_bytes(made)


if __name__ == "__main__":
    main()
