#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""bare.py MACHINE KERNEL [WORD ...]: run a multiboot1 image on an emulated machine without the visor.

What the image sends to COM1 goes to standard output. On QEMU the exit status is
the value that it writes to port F4h, as with `vmmu run`. On Bochs it ends by
Bochs' shutdown port, which takes no value: the status is 0. 120: the emulator
ended by itself; 124: out of time.
"""
import argparse
import contextlib
import os
import pathlib
import pty
import signal
import subprocess
import sys
import tempfile
import threading

ENDED, OUT_OF_TIME = 120, 124
CPU = {"qemu": "EPYC,+svm,+npt", "bochs": "corei7_skylake_x"}  # what `vmmu run` takes
DEBUG_EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04")


def run_qemu(arguments):
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
               "-accel", "tcg", "-cpu", arguments.cpu, "-m", arguments.memory, "-serial", "stdio", *DEBUG_EXIT,
               "-kernel", arguments.kernel, "-append", " ".join(arguments.words)]
    if arguments.module:
        command += ["-initrd", ",".join(" ".join(module.split("=", 1)) for module in arguments.module)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=arguments.timeout, check=False)
    except subprocess.TimeoutExpired:
        return OUT_OF_TIME
    return done.returncode >> 1 if done.returncode & 1 else ENDED  # isa-debug-exit: 2 * value + 1


def boot_image(arguments, folder):
    """GRUB, which loads the image by multiboot1."""
    boot = folder / "image" / "boot"
    (boot / "grub").mkdir(parents=True)
    (boot / "kernel").write_bytes(arguments.kernel.read_bytes())
    words = " ".join(f"'{word}'" for word in arguments.words)
    settings = f"multiboot /boot/kernel {words}\n"
    for number, module in enumerate(arguments.module):
        path, _, text = module.partition("=")
        (boot / f"module{number}").write_bytes(pathlib.Path(path).read_bytes())
        settings += f"module /boot/module{number} {text}\n"
    (boot / "grub" / "grub.cfg").write_text(settings + "boot\n")
    subprocess.run(["grub-mkrescue", "-o", "boot.iso", "image"], cwd=folder, check=True, capture_output=True)


def bochs_settings(arguments):
    console = pathlib.Path("/dev/stdout").resolve() if arguments.console_now else "console"
    return f"""config_interface: textconfig
display_library: term
cpu: model={arguments.cpu}, count=1, ips=100000000, reset_on_triple_fault=0
memory: guest={arguments.memory}, host={arguments.memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/seabios/vgabios-stdvga.bin
ata0-master: type=cdrom, path=boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={console}
clock: sync=none, time0=utc
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
plugin_ctrl: unmapped=1, biosdev=0, speaker=0, extfpuirq=0, parallel=0, gameport=0, busmouse=0
error: action=ignore
info: action=ignore
panic: action=fatal
log: bochs.log
"""


def drain(terminal):
    """Bochs draws its screen there."""
    with contextlib.suppress(OSError):  # nobody holds the other end any more
        while os.read(terminal, 65536):
            pass


def run_bochs(arguments):
    with tempfile.TemporaryDirectory(prefix="bare-") as name:
        folder = pathlib.Path(name)
        boot_image(arguments, folder)
        (folder / "bochsrc").write_text(bochs_settings(arguments))
        (folder / "start").write_text("c\n")  # Debian's Bochs is the debugger build
        terminal, end = pty.openpty()
        bochs = subprocess.Popen(["bochs", "-q", "-f", "bochsrc", "-rc", "start"], cwd=folder, stdin=end,
                                 stdout=end, stderr=end, env={**os.environ, "TERM": "linux"},
                                 start_new_session=True)
        os.close(end)
        threading.Thread(target=drain, args=(terminal,), daemon=True).start()
        try:
            bochs.wait(arguments.timeout)
            status = 0 if "shutdown requested" in (folder / "bochs.log").read_text(errors="replace") else ENDED
        except subprocess.TimeoutExpired:
            status = OUT_OF_TIME
        finally:
            bochs.kill()
            bochs.wait()
        with contextlib.suppress(FileNotFoundError):
            sys.stdout.buffer.write((folder / "console").read_bytes())
        return status


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(OUT_OF_TIME))  # the emulator is ended, too
    parser = argparse.ArgumentParser(description="run a multiboot1 image on an emulated machine without the visor")
    parser.add_argument("machine", choices=["qemu", "bochs"])
    parser.add_argument("kernel", type=pathlib.Path)
    parser.add_argument("words", nargs="*", help="of its command line")
    parser.add_argument("--cpu", help="QEMU's -cpu, Bochs' model (default: as for `vmmu run`)")
    parser.add_argument("--memory", default="128", help="MiB")
    parser.add_argument("--module", action="append", default=[], metavar="FILE=TEXT", help="a module, with its string")
    parser.add_argument("--console-now", action="store_true",
                        help="Bochs: write to standard output, a file, while it runs, and not at the end")
    parser.add_argument("--timeout", type=int, default=300, metavar="S")
    arguments = parser.parse_args()
    arguments.cpu = arguments.cpu or CPU[arguments.machine]
    arguments.kernel = arguments.kernel.resolve()
    return run_qemu(arguments) if arguments.machine == "qemu" else run_bochs(arguments)


if __name__ == "__main__":
    sys.exit(main())
