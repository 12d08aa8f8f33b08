#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""vmmu top: what is on the screen at given moments, with a recording that grows.

    top.py --vmmu VMMU                           in a terminal of tmux, and without one
    top.py --build BUILD --kernel DIR --host     on a host with KVM, in the lab
"""

import argparse
import gzip
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TRACES = HERE.parent / "kvm/traces"
PATIENCE = 60
results = {"passed": 0, "failed": 0}


def check(what, good):
    results["passed" if good else "failed"] += 1
    if not good:
        print(f"FAILED: {what}")


class Terminal:
    """vmmu in a terminal of a given size."""

    def __init__(self, folder, columns, rows, command):
        self.socket = str(folder / f"tmux-{columns}-{rows}")
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), f"{command}; echo status $?; sleep 1000")

    def tmux(self, *words):
        return subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", *words], capture_output=True, text=True,
                              timeout=PATIENCE, check=True).stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def wait(self, pattern):
        """The screen, once it shows the pattern; what it shows in the end if it never does."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            screen = self.screen()
            if re.search(pattern, screen):
                return screen
            time.sleep(0.1)
        return self.screen()

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def close(self):
        self.tmux("kill-server")


def shows(terminal, pattern, what):
    screen = terminal.wait(pattern)
    check(f"{what}: no {pattern} in\n{screen}", re.search(pattern, screen))
    return screen


def growing(vmmu, folder):
    """What was written so far is counted, and what comes is added."""
    text = gzip.decompress((TRACES / "npt-map.txt.gz").read_bytes())
    # Behind all first touches, and in the middle of a line.
    cut = text.index(b"kvm_mmu_zap_all_fast") - 20
    file = folder / "growing.txt"
    file.write_bytes(text[:cut])
    terminal = Terminal(folder, 80, 24, f"{vmmu} top --interval 0.2 {file}")
    screen = shows(terminal, r"mapped  .*4 KiB 7\d, 2 MiB 0, 1 GiB 0; tables \d+ \(\d+ KiB\)", "what is mapped")
    check("the busiest region comes first", re.search(r"all\n0x000040000000 ", screen))
    check("every line fits", all(len(line) <= 80 for line in screen.splitlines()))
    terminal.keys("a")
    shows(terminal, r"by address .*", "sorted by address")
    shows(terminal, r"all\n0x000000000000 ", "the lowest first")
    terminal.keys("f", "g")
    shows(terminal, r"guest instruction[^\n]*\nrip 0x100\w\w\w ", "functions")
    terminal.keys("g", "Enter")
    shows(terminal, r"0x000040000000 \+ 2 MiB, VM 1: the last [\d,]+ things there, newest first\n", "history of a region")
    shows(terminal, r"level 1 of 0x04\w+  fault +4 KiB page 0x\w+ rwx", "... with entries")
    shows(terminal, r"fault: write at 0x4\w+ by vCPU 0, rip 0x", "... and faults")
    terminal.keys("Escape", "Space")
    shows(terminal, "FROZEN", "frozen")
    with open(file, "ab") as stream:
        stream.write(text[cut:])
    terminal.keys("Space")
    shows(terminal, r"mapped  0 bytes: 4 KiB 0", "all dropped at the end")
    shows(terminal, r"292 faults in all", "all faults counted")
    terminal.keys("h")
    shows(terminal, "choose a region", "help")
    terminal.keys("q")
    shows(terminal, "status 0", "its end")
    terminal.close()


def small(vmmu, folder):
    file = folder / "small.txt"
    file.write_bytes(gzip.decompress((TRACES / "npt-two.txt.gz").read_bytes()))
    terminal = Terminal(folder, 30, 6, f"{vmmu} top --interval 0.2 {file}")
    screen = shows(terminal, r"vmmu top", "a small terminal")
    check("no line is longer than it", all(len(line) <= 30 for line in screen.splitlines()))
    terminal.keys("v")
    shows(terminal, "VM 1", "one VM alone")
    terminal.keys("v")
    shows(terminal, "VM 2", "the other")
    terminal.keys("q")
    shows(terminal, "status 0", "its end")
    terminal.close()


def top(vmmu, *words, data=b"", **more):
    return subprocess.run([vmmu, "top", *map(str, words)], input=data, capture_output=True, timeout=PATIENCE, **more)


def batch(vmmu, folder):
    text = gzip.decompress((TRACES / "ept-map.txt.gz").read_bytes())
    done = top(vmmu, "--batch", "--interval", "0.3", "-", data=text)
    frames = done.stdout.decode().split("vmmu top ")[1:]
    check(f"a pipe that ends, ends it: {done.returncode} {done.stderr[:300]}", done.returncode == 0 and 1 <= len(frames) <= 3)
    check("the last picture has all", "(end)" in frames[-1] and " faults in all" in frames[-1] and "EPT" in frames[-1])
    done = top(vmmu, "--batch", "--interval", "0.1", "--count", "2", "--sort", "drops", "--functions", TRACES / "npt-map.txt.gz")
    check("as many pictures as wanted", done.stdout.count(b"vmmu top ") == 2 and b"by drops" in done.stdout)
    done = top(vmmu, TRACES / "npt-map.txt.gz", env={"TERM": "xterm", "PATH": "/usr/bin:/bin"})
    check("without a terminal it says what to do", done.returncode == 2 and b"--batch" in done.stderr)
    for words in (["--interval", "0"], ["--sort", "size"], ["--count", "x"], ["/nowhere"], [HERE / "top.py"]):
        done = top(vmmu, "--batch", "--count", "1", *words)
        check(f"refused: {words}", done.returncode == 2 and b"vmmu" in done.stderr)
    subprocess.run([vmmu.parent / "sample", folder / "guest.trace"], check=True)
    done = top(vmmu, "--batch", "--count", "1", "--interval", "0.5", folder / "guest.trace")
    check(f"a guest's trace is shown, too: {done.stdout[:300]}", done.returncode == 0 and
          re.search(rb"VM 1, EPT|VM 1, NPT", done.stdout) and re.search(rb"[1-9]\d* faults in all", done.stdout))
    check("its instructions have no names", b"guest instruction" in top(vmmu, "-bg", "-n1", folder / "guest.trace").stdout)
    (folder / "System.map").write_text("ffffffff81000000 T startup_64\nffffffff81000100 T copy_user\nffffffff81000200 T after\n")
    (folder / "guest.trace.json").write_text(json.dumps({"kernel": str(folder / "System.map")}))
    done = top(vmmu, "--batch", "--functions", "--count", "1", folder / "guest.trace").stdout.decode()
    check(f"functions have the names of the guest's kernel, and the writes that they caused:\n{done}", "guest function" in done and
          re.search(r"(?m)^copy_user +1(\.0)? +1(\.0)? +0 +0 +2$", done) and "copy_user+" not in done)
    linux = gzip.decompress((TRACES / "npt-linux.dat.gz").read_bytes())
    done = top(vmmu, "--batch", "--count", "1", "-", data=linux).stdout.decode()
    check(f"faults that a reserved bit marks are accesses to devices:\n{done}", re.search(r"device 1,0\d\d/s; 1,694 faults", done))
    hostile = text.replace(b"vmm-", b"v\x1b[-")
    done = top(vmmu, "--batch", "--count", "1", "--interval", "0.3", "-", data=hostile)
    check("a name gives no orders to the terminal", b"\x1b" not in done.stdout)


def many(vmmu, folder):
    """A hundred VMs: all are counted, the busiest comes first, and each can be had alone."""
    lines = [line for line in gzip.decompress((TRACES / "npt-map.txt.gz").read_bytes()).decode().splitlines() if not line.startswith("#")][:60]
    with (folder / "many.txt").open("w") as out:
        for vm in range(100):
            for line in lines[:30 if vm != 76 else 60]:
                line = re.sub(r"-(\d+)( +\( *)(\d+)\)", lambda m: f"-{int(m[1]) + 1000 * vm}{m[2]}{int(m[3]) + 1000 * vm})", line, count=1)
                out.write(re.sub(r"(\d+\.\d{6}):", lambda m: f"{float(m[1]) + vm / 2:.6f}:", line, count=1) + "\n")
    terminal = Terminal(folder, 90, 30, f"{vmmu} top --interval 0.2 {folder}/many.txt")
    screen = shows(terminal, r"100 VMs\s[^$]*tables 403 ", "a hundred VMs")
    check(f"the busiest comes first:\n{screen}", re.search(r"all\n77: 0x000000400000 ", screen))
    check("every line fits", all(len(line) <= 90 for line in screen.splitlines()))
    terminal.keys("v")
    shows(terminal, "VM 1,", "the first alone")
    for _ in range(99):
        terminal.keys("v")
    shows(terminal, "VM 100,", "the hundredth alone")
    terminal.keys("q")
    shows(terminal, "status 0", "its end")
    terminal.close()


def host(build, kernel):
    """In Debian's kernel with KVM: VMs run while it looks."""
    sys.path.insert(0, str(HERE.parent / "kvm/lab"))
    import lab
    job = """
timeout 20 vmmu top --batch --count 1 >/out/none 2>&1
vmm --memory 2 --vcpus 2 write:64 say:ready wait:/tmp/go $(for i in $(seq 60); do
	echo "discard:64 write@*:64 device:50 pause:20"; done) >/tmp/vmm.log 2>&1 &
until grep -q ready /tmp/vmm.log; do sleep 0.1; done
(until [ -s /out/top ]; do sleep 0.1; done; touch /tmp/go) &
timeout 60 vmmu top --batch --exits --interval 0.5 --count 10 >/out/top 2>/out/trouble
echo $? >/out/status
ls /sys/kernel/tracing/instances >/out/left
wait
"""
    result = lab.run("qemu", kernel, build / "kvm-lab", job, programs=[build / "vmmu"], timeout=120)
    text = {name: data.decode(errors="replace") for name, data in result.files.items()}
    frames = text.get("top", "").split("vmmu top ")[1:]
    check(f"it ended well: {result.status} {text.get('status')} {text.get('trouble')}", text.get("status") == "0\n")
    check("without a VM there is a picture, too", "nothing has happened yet" in text.get("none", "") or "by faults" in
          text.get("none", ""))
    check(f"as many pictures: {len(frames)}", len(frames) == 10)
    check("the VM has its name", frames and "VM 1, NPT" in frames[-1] and "vmm (PID" in frames[-1])
    check(f"what was there before is known: {text.get('trouble')}", re.search(r"found \d+ entries in \d+ tables of vmm",
                                                                             text.get("trouble", "")))
    rates = [int(m[1].replace(",", "")) for m in re.finditer(r"faults  ([\d,]+)[/.]", text.get("top", ""))]
    check(f"faults come while it looks: {rates}", max(rates, default=0) >= 64)
    check("regions are named", "0x000040000000" in text.get("top", "") and "0x0000d0000000" in text.get("top", ""))
    check("device accesses are counted", re.search(r"device [1-9]", text.get("top", "")))
    check(f"nothing is left in tracefs: {text.get('left')}", text.get("left") == "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--kernel", type=pathlib.Path)
    parser.add_argument("--vmmu", type=pathlib.Path)
    parser.add_argument("--host", action="store_true")
    o = parser.parse_args()
    if o.host:
        host(o.build, o.kernel)
    else:
        vmmu = o.vmmu.resolve()
        os.environ["LC_ALL"] = "C.UTF-8"
        with tempfile.TemporaryDirectory() as name:
            growing(vmmu, pathlib.Path(name))
            small(vmmu, pathlib.Path(name))
            many(vmmu, pathlib.Path(name))
            batch(vmmu, pathlib.Path(name))
    print(f"{results['passed']} passed, {results['failed']} failed, 0 skipped")
    sys.exit(1 if results["failed"] else 0)


if __name__ == "__main__":
    main()
