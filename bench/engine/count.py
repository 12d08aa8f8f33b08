# SPDX-License-Identifier: BSD-2-Clause
"""Instructions of the engine's operations, by callgrind.

count() gives, for each row of operations.c, instructions per operation and, for
each of the engine's functions, its own share. What the host of the benchmark
(host_...) and the row's own loop take is left out.
"""
import collections
import pathlib
import re
import subprocess
import tempfile


class Failed(Exception):
    """Why there are no figures."""


def is_engine(place):
    return re.search(r"(^|/)engine/[a-z/]+/[^/]*$", place) is not None


class Dump:
    """One callgrind dump: name and number of operations, own cost of each (file, function)."""

    def __init__(self, text):
        trigger = re.search(r"^desc: Trigger: Client Request: (\S+) (\d+)$", text, re.M)
        self.row, self.operations = (trigger[1], int(trigger[2])) if trigger else (None, 0)
        self.names = {}
        self.cost = collections.Counter()
        self.read(text)

    def name(self, kind, word):
        """Callgrind writes "(7) name" the first time and "(7)" from then on."""
        number, _, name = word.partition(" ")
        if name:
            self.names[kind, number] = name
        return self.names.get((kind, number), number)

    def read(self, text):
        file = inlined = function = ""
        called = False
        for line in text.splitlines():
            key, _, word = line.partition("=")
            if key == "fl":
                file = inlined = self.name("file", word)
            elif key in ("fi", "fe"):
                inlined = self.name("file", word)
            elif key == "fn":
                function, inlined = self.name("function", word), file
            elif key in ("cfi", "cfl"):
                self.name("file", word)
            elif key == "cfn":
                self.name("function", word)
            elif key == "calls":
                called = True   # the next line is what the callee took
            elif line[:1].isdigit() or line[:1] in "+-*":
                words = line.split()
                if not called and len(words) > 1:
                    self.cost[inlined, function] += int(words[1])
                called = False


def dumps(program, rows):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        command = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no",
                   "--compress-pos=no", str(program), *rows]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)}\nended with status {done.returncode}:\n{done.stdout}{done.stderr}")
        for path in sorted(pathlib.Path(folder).iterdir(), key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)]):
            dump = Dump(path.read_text())
            if dump.row:
                yield dump


def count(program, rows=()):
    """{row: {"instructions": per operation, "functions": {function: per operation}}}"""
    found = {}
    for dump in dumps(program, rows):
        functions = collections.Counter()
        for (file, function), cost in dump.cost.items():
            if is_engine(file):
                functions[function.split("'")[0]] += cost
        total = sum(functions.values())
        found[dump.row] = {"instructions": round(total / dump.operations, 1),
                           "functions": {name: round(cost / dump.operations, 1)
                                         for name, cost in functions.most_common() if cost >= dump.operations / 20}}
    if not found:
        raise Failed("callgrind has dumped nothing")
    return found
