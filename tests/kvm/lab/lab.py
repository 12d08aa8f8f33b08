#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The KVM lab: Debian's kernel with KVM inside an emulator, a job in it, its files back.

On QEMU kvm-amd runs (NPT, or shadow tables with npt=0), on Bochs kvm-intel (EPT, or
shadow tables with ept=0). The job is a shell script that runs as root; it finds
BusyBox, the small VMM (`vmm`) and whatever else was put into the image. What it writes
to /out comes back, its own output as "console".

    lab.py --machine qemu --kernel .cache/kernels/cloud-amd64 --tools build/kvm-lab \\
           --program build/vmmu --job job.sh --out DIR
"""

import argparse
import gzip
import lzma
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BUSYBOX = pathlib.Path("/bin/busybox")
BIOS = "/usr/share/bochs/BIOS-bochs-latest"
VGA_BIOS = "/usr/share/seabios/vgabios-stdvga.bin"
VENDOR = {"qemu": "kvm-amd", "bochs": "kvm-intel"}
COMMAND_LINE = "console=ttyS0 panic=-1 quiet mitigations=off"
FILE_HEAD = re.compile(rb"^@file (\S+) (\d+)\n", re.M)


class LabError(Exception):
    """The machine did not carry out the job."""


class Result:
    """What came back: files by name, the job's exit status, the machine's own console."""

    def __init__(self, files, status, boot, seconds):
        self.files, self.status, self.boot, self.seconds = files, status, boot, seconds

    @property
    def console(self):
        return self.files.get("console", b"").decode(errors="replace")


def parse(stream):
    """Files and lines of the output of emit.c. (files, lines); an unfinished file is left out."""
    files, lines, at = {}, [], 0
    while at < len(stream):
        head = FILE_HEAD.match(stream, at)
        end = stream.find(b"\n", at)
        end = len(stream) if end < 0 else end
        if head:
            begin, size = head.end(), int(head[2])
            if begin + size <= len(stream):
                files[head[1].decode()] = stream[begin:begin + size]
            at = begin + size
        else:
            if stream[at:at + 1] == b"@":
                lines.append(stream[at + 1:end].decode(errors="replace"))
            at = end + 1
    return files, lines


# ---- the image ---------------------------------------------------------------------


def newc(entries):
    """A cpio archive in newc format of {name: (mode, bytes)}."""
    out = bytearray()
    for number, (name, (mode, data)) in enumerate([*entries.items(), ("TRAILER!!!", (0, b""))], 1):
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def shared_libraries(program):
    """What the loader needs beside the program, by ldd."""
    out = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return [pathlib.Path(p) for p in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", out, re.M)]


def modules_of(kernel):
    """The modules that KVM is made of, by name."""
    found = {path.name.split(".")[0]: path for path in kernel.glob("lib/modules/*/kernel/**/*.ko*")}
    missing = {"irqbypass", "kvm", "kvm-amd", "kvm-intel"} - found.keys()
    if missing:
        raise LabError(f"{kernel} has no modules {', '.join(sorted(missing))}; `scripts/setup kernels` fetches them")
    return found


def image(machine, kernel, tools, job, limit, kvm="", vendor="", programs=(), files=None):
    """The initramfs: modules, BusyBox, tools, programs with their libraries, the job."""
    entries = {}

    def add(name, path, mode=0o100755):
        data = path if isinstance(path, bytes) else pathlib.Path(path).read_bytes()
        if isinstance(path, pathlib.Path) and path.name.endswith(".ko.xz"):
            data = lzma.decompress(data)
        for folder in reversed(pathlib.PurePath(name).parents):
            if str(folder) != ".":
                entries.setdefault(str(folder), (0o40755, b""))
        entries[name] = (mode, data)

    modules = modules_of(kernel)
    loaded = [("irqbypass", ""), ("kvm", kvm), (VENDOR[machine], vendor)]
    for name in ("dev", "proc", "sys", "tmp", "root"):
        entries[name] = (0o40755, b"")
    add("init", HERE / "init")
    add("bin/busybox", BUSYBOX)
    for name in ("emit", "vmm"):
        add(f"bin/{name}", tools / name)
    for name, _ in loaded:
        add(f"lab/{name}.ko", modules[name], 0o100644)
    add("lab/modules", "".join(f"{name} {words}\n" for name, words in loaded).encode(), 0o100644)
    add("lab/job", job.encode(), 0o100644)
    add("lab/limit", f"{limit}\n".encode(), 0o100644)
    for program in map(pathlib.Path, programs):
        add(f"bin/{program.name}", program)
        for library in shared_libraries(program):
            add(str(library).lstrip("/"), library)
    for name, data in (files or {}).items():
        add(name.lstrip("/"), data)
    return gzip.compress(newc(entries), 6, mtime=0)


def with_qemu():
    """What it takes to run QEMU as the VMM inside: its program, and its firmware as {name: bytes}."""
    firmware = ["seabios/bios-256k.bin", "qemu/multiboot_dma.bin", "qemu/linuxboot_dma.bin", "qemu/kvmvapic.bin"]
    return shutil.which("qemu-system-x86_64"), \
        {f"/usr/share/qemu/{pathlib.Path(name).name}": pathlib.Path("/usr/share", name).read_bytes() for name in firmware}


# The beginning of its command line there. A value written to port 0xf4 ends it.
QEMU_INSIDE = "qemu-system-x86_64 -L /usr/share/qemu -accel kvm -cpu host -machine pc -nodefaults -no-user-config " \
              "-no-reboot -display none -m 128M -device isa-debug-exit,iobase=0xf4,iosize=4"

# ---- the machines ------------------------------------------------------------------


def qemu_command(work, kernel, memory, cpus, icount):
    words = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "EPYC,+svm,+npt", "-m", str(memory), "-smp", str(cpus),
             "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
             "-serial", f"file:{work / 'boot'}", "-chardev", f"file,id=out,path={work / 'out'}",
             "-device", "isa-debugcon,iobase=0xe9,chardev=out",
             "-kernel", str(kernel / "vmlinuz"), "-initrd", str(work / "initrd"), "-append", COMMAND_LINE]
    return words + (["-icount", "shift=0,sleep=off"] if icount else [])


def bochs_command(work, kernel, memory, cpus):
    tree = work / "iso"
    (tree / "boot/grub").mkdir(parents=True)
    shutil.copy(kernel / "vmlinuz", tree / "boot/vmlinuz")
    shutil.copy(work / "initrd", tree / "boot/initrd")
    (tree / "boot/grub/grub.cfg").write_text(
        f"set timeout=0\nmenuentry lab {{\n\tlinux /boot/vmlinuz {COMMAND_LINE} tsc=reliable\n\tinitrd /boot/initrd\n}}\n")
    made = subprocess.run(["grub-mkrescue", "-o", work / "boot.iso", tree], capture_output=True, text=True)
    if made.returncode:
        raise LabError(f"grub-mkrescue: {made.stderr[-500:]}")
    (work / "bochsrc").write_text("\n".join([
        "config_interface: textconfig", 'display_library: rfb, options="timeout=0"',
        f"cpu: model=corei7_skylake_x, count={cpus}, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1",
        f"memory: guest={memory}, host={memory}", f"romimage: file={BIOS}", f"vgaromimage: file={VGA_BIOS}",
        "ata0-master: type=cdrom, path=boot.iso, status=inserted", "boot: cdrom",
        f"com1: enabled=1, mode=file, dev={work / 'boot'}", "port_e9_hack: enabled=1",
        "clock: sync=none, time0=utc", "sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy",
        "plugin_ctrl: unmapped=1, biosdev=0, speaker=0, extfpuirq=0, parallel=0, gameport=0, busmouse=0",
        "error: action=ignore", "info: action=ignore", "panic: action=fatal", "log: bochs.log", ""]))
    (work / "start").write_text("c\n")   # Debian's Bochs is the debugger build: tell it to run
    return ["bochs", "-q", "-f", "bochsrc", "-rc", "start"]


def ended(path):
    """Has the job's last line arrived? Looks at the end of the file only."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.path.getsize(path) - 4096))
            return re.search(rb"\n@end \d+\n", stream.read()) is not None
    except FileNotFoundError:
        return False


def wait(process, out, timeout, progress):
    """Until the machine has ended or said its last line. Bochs does not end by itself."""
    begin = shown = time.monotonic()
    while process.poll() is None and not ended(out):
        now = time.monotonic()
        if now - begin > timeout:
            return False
        if progress and now - shown >= 10:
            print(f"lab: {now - begin:.0f} s", file=sys.stderr, flush=True)
            shown = now
        time.sleep(0.1)
    return True


def run(machine, kernel, tools, job, kvm="", vendor="", programs=(), files=None, memory=None, cpus=1, icount=False,
        timeout=None, progress=False):
    """Run the job; a Result, or LabError with what the machine said."""
    memory = memory or 1024   # below 512 MiB Linux turns transparent huge pages off
    timeout = timeout or (300 if machine == "qemu" else 900)
    kernel, begin = pathlib.Path(kernel).resolve(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vmmu-lab-") as folder:
        work = pathlib.Path(folder)
        (work / "initrd").write_bytes(image(machine, kernel, pathlib.Path(tools), job, timeout * 3 // 4, kvm, vendor, programs, files))
        command = qemu_command(work, kernel, memory, cpus, icount) if machine == "qemu" \
            else bochs_command(work, kernel, memory, cpus)
        output = work / ("out" if machine == "qemu" else "stdout")
        with open(work / "stdout", "wb") as stdout:
            # It must not outlive us, whatever ends us.
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], cwd=work, stdin=subprocess.DEVNULL, stdout=stdout,
                                       stderr=subprocess.STDOUT, start_new_session=True)
            try:
                finished = wait(process, output, timeout, progress)
            finally:
                if process.poll() is None:
                    if sys.exc_info()[0] is None and machine == "qemu" and ended(output):
                        try:
                            process.wait(5)
                        except subprocess.TimeoutExpired:
                            pass
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        stream = output.read_bytes() if output.exists() else b""
        boot = (work / "boot").read_text(errors="replace") if (work / "boot").exists() else ""
        said = (work / "stdout").read_bytes()[-2000:].decode(errors="replace")
    got, lines = parse(stream)
    failures = [line for line in lines if line.startswith("failed")]
    status = next((int(line.split()[1]) for line in lines if re.fullmatch(r"end \d+", line)), None)
    if failures or status is None:
        why = "; ".join(failures) or ("it ended early" if finished else f"no end after {timeout} s")
        raise LabError(f"{machine}: {why}\n{boot[-2000:]}\n{said}")
    return Result(got, status, boot, time.monotonic() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", choices=sorted(VENDOR), default="qemu")
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path(".cache/kernels/cloud-amd64"))
    parser.add_argument("--tools", type=pathlib.Path, default=pathlib.Path("build/kvm-lab"))
    parser.add_argument("--program", action="append", default=[], help="a host program to take along, with its libraries")
    parser.add_argument("--kvm", default="", help="parameters of kvm.ko, such as tdp_mmu=0")
    parser.add_argument("--vendor", default="", help="parameters of kvm-amd.ko or kvm-intel.ko, such as npt=0")
    parser.add_argument("--memory", type=int, help="MiB")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--icount", action="store_true", help="QEMU: the clock counts instructions")
    parser.add_argument("--timeout", type=int, help="seconds")
    parser.add_argument("--job", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    o = parser.parse_args()
    try:
        result = run(o.machine, o.kernel, o.tools, o.job.read_text(), o.kvm, o.vendor, o.program, None, o.memory,
                     o.cpus, o.icount, o.timeout, True)
    except LabError as why:
        sys.exit(f"lab: {why}")
    o.out.mkdir(parents=True, exist_ok=True)
    for name, data in result.files.items():
        (o.out / name).write_bytes(data)
    print(result.console, end="")
    print(f"lab: status {result.status}, {result.seconds:.0f} s, {len(result.files)} files in {o.out}", file=sys.stderr)
    return result.status


if __name__ == "__main__":
    sys.exit(main())
