#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""`vmmu run` on a terminal of its own: Ctrl-A x, and two signals when nobody reads the terminal.

    tests/tool/terminal.py VMMU run ...

Each way has to end the program and to leave the terminal as it was.
"""
import os
import pty
import select
import signal
import sys
import termios
import time

PATIENCE = 20  # seconds; the program has far less


class Session:
    def __init__(self, command):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.close(self.master)
            terminal = os.open(os.ttyname(self.slave), os.O_RDWR)  # becomes the controlling one
            for fd in range(3):
                os.dup2(terminal, fd)
            os.execv(command[0], command)

    def raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def ended(self):
        return os.waitpid(self.pid, os.WNOHANG)[0] != 0

    def read(self, seconds, until=lambda: False):
        """Read the terminal so long, or until that is so; was it?"""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            if select.select([self.master], [], [], 0.05)[0]:
                os.read(self.master, 65536)
        return until()

    def wait(self, seconds, until):
        """The same without reading anything."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            time.sleep(0.05)
        return until()


def fail(session, message):
    os.kill(session.pid, signal.SIGKILL)
    sys.exit(message)


def expect_end(session, way, wait):
    done = []
    if not wait(PATIENCE, lambda: done or (session.ended() and not done.append(True))):
        fail(session, f"{way}: it has not ended")
    if termios.tcgetattr(session.slave)[3] != session.before[3]:
        sys.exit(f"{way}: the terminal is not what it was")


def main():
    command = sys.argv[1:]
    keys = Session(command)
    keys.read(PATIENCE, keys.raw) or fail(keys, "it does not take the terminal")
    keys.read(1)
    os.write(keys.master, b"\x01x")
    expect_end(keys, "Ctrl-A x", keys.read)

    stalled = Session(command)
    stalled.wait(PATIENCE, stalled.raw) or fail(stalled, "it does not take the terminal")
    stalled.wait(1, lambda: False)
    os.kill(stalled.pid, signal.SIGTERM)
    stalled.wait(0.5, lambda: False)
    if not stalled.ended():
        os.kill(stalled.pid, signal.SIGINT)
        expect_end(stalled, "two signals, and nobody reads", stalled.wait)
    print("all ended")


if __name__ == "__main__":
    main()
