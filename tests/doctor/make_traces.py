#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Make the recordings in tests/doctor/traces anew: in Debian's kernel with KVM, each illness
as it is, and beside it a VM that looks alike and is well.

    make_traces.py [--out DIR] [NAME...]       (needs make tool kvm-lab)

The VM runs before the recording begins, so that its slots are told of, and waits.
"""

import argparse
import gzip
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kvm/lab"))
import lab  # noqa: E402

# Illness: (options of the VM, steps when ill, options and steps when well); steps may be repeated.
SCENES = {
    "repeating-fault": (
        "--memory 2", "deny:4 endure:200 read:1 write:8",
        # As many faults, of different pages; and a page that is denied now and then.
        "--memory 2", "write:200 " + "deny:1 endure:3 read:1 " * 4),
    "page-comes-and-goes": (
        "--memory 2", "write:8 " + "deny:1 allow:1 write:1 " * 48,
        # As many drops, each of another page.
        "--memory 2", "write:64 " + "".join(f"deny:1:{i} allow:1:{i} write:1:1:{i} " for i in range(48))),
    "device-storm": ("--memory 2", "device:4000:0", "--memory 2", "device:400:1 write:256"),
    "large-pages-split": (
        "--memory 32 --huge", "write2m:16 log:on write:16:512",
        # Dirty logging ends, and they become one again.
        "--memory 32 --huge", "write2m:16 log:on write:16:512 log:off write2m:16"),
    "idle-dirty-log": (
        "--memory 4", "write:1024 log:on write:16 log:get write:16 log:get",
        "--memory 4", "write:1024 log:on write:1024 log:get write:1024 log:get write:1024"),
    "zap-all-storm": (
        "--memory 2", "write:16 " + "delete add write:16 " * 6,
        "--memory 2", "write:16 delete add write:16 pause:1200 delete add write:16"),
    "notifier-storm": (
        "--memory 2", "write:128 " + "deny:128 allow:128 write:128 " * 3,
        # The memory really goes: other frames come back.
        "--memory 2", "write:128 " + "discard:128 write:128 " * 3),
    "misaligned-slot": ("--memory 4 --offset 1", "write:64", "--memory 4", "write:64"),
}
# Needs a parameter of kvm.ko, and so a machine of its own.
NX_SCENES = {
    "nx-splits": ("--memory 32 --huge", "write2m:16 run2m:16", "--memory 32 --huge", "write2m:16 run2m:2"),
}

JOB = """
scene() {
	rm -f /tmp/go /tmp/vmm.log
	name=$1; shift
	vmm "$@" pause:100 >/tmp/vmm.log 2>&1 &
	until grep -q ready /tmp/vmm.log; do sleep 0.05; done
	(until grep -q entries /tmp/record.log 2>/dev/null; do sleep 0.05; done; touch /tmp/go) &
	vmmu record -o /out/$name.dat --buffer 4M 2>/tmp/record.log
	rm -f /tmp/record.log
	if [ ! -s /out/$name.dat ] || ! grep -q done /tmp/vmm.log; then
		cat /tmp/vmm.log
		exit 1
	fi
}
"""


def record(scenes, names, options, **more):
    job = JOB
    for name, (ill_options, ill, well_options, well) in scenes.items():
        if names and name not in names:
            continue
        for kind, words, steps in (("ill", ill_options, ill), ("well", well_options, well)):
            job += f"scene {name}-{kind} {words} say:ready wait:/tmp/go {steps}\n"
    if job == JOB:
        return
    result = lab.run("qemu", options.kernel, options.build / "kvm-lab", job, programs=[options.build / "vmmu"],
                     progress=True, **more)
    if result.status:
        sys.exit(f"make_traces: {result.console[-2000:]}")
    for name, data in result.files.items():
        if name.endswith(".dat"):
            (options.out / f"{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path(".cache/kernels/cloud-amd64"))
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "traces")
    parser.add_argument("name", nargs="*", help="of an illness; all when not given")
    o = parser.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    record(SCENES, o.name, o)
    record(NX_SCENES, o.name, o, kvm="nx_huge_pages=force nx_huge_pages_recovery_ratio=0")


if __name__ == "__main__":
    main()
