#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""The pictures of vmmu plot: what is drawn is what the trace's events say, whatever names stand in it.

The numbers are counted here anew from the events that vmmu export lists, and are held against the
data that gnuplot gets and against the heights in the SVG.

    tests/plot/plot.py BUILD
"""

import collections
import csv
import gzip
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KVM, DATA = ROOT / "tests/kvm/traces", ROOT / "tests/questions/data"
STYLE = ROOT / "tool/report/page/style.css"
SVG = "{http://www.w3.org/2000/svg}"
PAGES, TABLES = ["4 KiB pages", "2 MiB pages", "1 GiB pages"], [f"level {i}" for i in range(1, 6)]
FAULTS = ["read", "write", "fetch", "page walk", "refused by rights", "device"]
WRITES = ["mapped", "dropped", "write-protected", "made writable", "other bits"]
NAMES = {"Mapped memory by size of page": PAGES, "Memory that the tables take": TABLES,
         "Faults per second by what they were about": FAULTS, "Entries written per second": WRITES,
         "Exits per second by reason": None}


def palette():
    light = re.search(r":root \{(.*?)\}", STYLE.read_text(), re.S)[1]
    return [re.search(rf"--c{i}: (#[0-9a-f]{{6}});", light)[1] for i in range(1, 7)]


def ns(seconds):
    whole, _, part = seconds.partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0"))


class Script:
    """What gnuplot is told: the data of each panel, and how it is drawn."""

    def __init__(self, text):
        self.text, self.panels, self.marks = text, {}, {}
        for name, body in re.findall(r"^\$(lost|zaps) << END\n(.*?)^END$", text, re.M | re.S):
            self.marks[name] = [(ns(t), int(n)) for t, n in (line.split() for line in body.splitlines())]
        for names, number, body, rest in re.findall(
                r"^# of each step its first and its last moment in seconds, ([^\n]*)\n\$data(\d+) << END\n(.*?)^END$(.*?)(?=^# of each|\Z)",
                text, re.M | re.S):
            title = re.search(r'set label "([^"\n]*)"', rest)[1]
            rows = [line.split() for line in body.splitlines()]
            assert len(rows) % 2 == 0 and all(a[1:] == b[1:] for a, b in zip(rows[::2], rows[1::2]))
            self.panels[title] = {
                "names": names.split(", "), "steps": [(ns(a[0]), ns(b[0])) for a, b in zip(rows[::2], rows[1::2])],
                "values": [list(map(int, row[1:])) for row in rows[::2]],
                "factors": list(map(float, re.findall(r"\$\d+\*(\d+(?:\.\d+)?(?:e[+-]\d+)?)", max(re.findall(r"using 1:\((\$[^)]*)\)", rest), key=len)))),
                "top": float(re.search(r"set yrange \[0:([\d.e+]+)\]", rest)[1])}


class Events:
    """The same, counted from the rows of vmmu export."""

    def __init__(self, whole, asked, vm, npt):
        """The whole trace, for what is mapped; and the part that is asked for."""
        self.npt = npt
        mine = lambda rows: [row for row in rows if not row["vm"] or int(row["vm"]) == vm]
        self.rows, numbers = mine(asked), {row["number"] for row in asked}
        self.asked = numbers
        last = max(int(number) for number in numbers)
        self.whole = [row for row in mine(whole) if int(row["number"]) <= last]

    @staticmethod
    def fault_kind(row, devices):
        if row["number"] in devices:
            return "device"
        if row["present"] == "1":
            return "refused by rights"
        return "page walk" if row["page_walk"] == "1" else row["access"]

    def at(self, steps, time):
        """The step in which something happened: each ends where the next one begins, the last one includes its end."""
        low, high = 0, len(steps) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if steps[middle][0] <= time else (low, middle - 1)
        return low

    def faults(self, steps):
        # A reserved bit in the error code (8) is there under NPT alone: so KVM marks devices.
        devices = {row["fault"] for row in self.rows if row["fault"] and (row["event"], row["new_kind"]) == ("write", "mmio") or
                   row["event"] == "mmio" or (row["event"], row["result"]) == ("fault-end", "emulate-mmio")}
        devices |= {row["number"] for row in self.rows if row["event"] == "fault" and self.npt and int(row["error_code"], 16) & 8}
        counts = [collections.Counter() for _ in steps]
        for row in self.rows:
            if row["event"] == "fault":
                counts[self.at(steps, ns(row["time"]))][self.fault_kind(row, devices)] += 1
        return [[count[name] for name in FAULTS] for count in counts]

    def exits(self, steps):
        counts, total = [collections.Counter() for _ in steps], collections.Counter()
        for row in self.rows:
            if row["event"] == "exit":
                counts[self.at(steps, ns(row["time"]))][row["reason_name"]] += 1
                total[row["reason_name"]] += 1
        return total, counts

    def state(self, steps):
        """Leaves and tables of each level at the end of each step, writes in it that made or dropped something."""
        leaves, tables, result = collections.Counter(), collections.Counter(), [None] * len(steps)
        changed = [collections.Counter() for _ in steps]
        done = 0
        for row in self.whole:
            if row["event"] not in ("write", "found"):
                continue
            step = self.at(steps, ns(row["time"]))
            for i in range(done, step):
                result[i] = (dict(leaves), dict(tables))
            done = step
            level = int(row["level"])
            was, now = row["old_kind"] if row["event"] == "write" else "empty", row["new_kind"]
            for kind, count, at in (("leaf", leaves, level), ("table", tables, level - 1)):
                count[at] += (now == kind) - (was == kind)
            if row["event"] == "write" and row["number"] in self.asked:
                there = ("table", "leaf", "mmio")
                changed[step]["all"] += 1
                changed[step]["mapped"] += was not in there and now in there
                changed[step]["dropped"] += was in there and now not in there
        for i in range(done, len(steps)):
            result[i] = (dict(leaves), dict(tables))
        return result, changed


class Tests:
    def __init__(self, build, work):
        self.vmmu, self.sample, self.work = build / "tool-asan/vmmu", build / "tool-asan/sample", work
        self.passed = self.failed = 0

    def check(self, what, ok, *said):
        self.passed += bool(ok)
        if not ok:
            self.failed += 1
            print("FAILED:", what, *said)

    def run(self, *arguments, **more):
        more = {"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, **more}
        return subprocess.run([self.vmmu, *map(str, arguments)], stderr=subprocess.PIPE, timeout=120, **more)

    def plot(self, what, trace, *arguments, ending=".svg"):
        out = self.work / f"out{ending}"
        out.unlink(missing_ok=True)
        done = self.run("plot", "--no-index", "-o", out, *arguments, trace)
        self.check(f"vmmu plot: {what}", done.returncode == 0 and out.exists(), done.stderr)
        return out

    def script(self, what, trace, *arguments):
        return Script(self.plot(what, trace, *arguments, ending=".gp").read_text())

    def rows(self, trace, *arguments):
        done = self.run("export", "--no-index", "-f", "csv", "-o", "-", *arguments, trace)
        return list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))

    def is_npt(self, trace, vm):
        done = self.run("info", "--no-index", "--json", trace)
        return next(v["mode"] for v in json.loads(done.stdout)["vms"] if v["vm"] == vm) == "NPT"

    def picture(self, what, trace, *arguments):
        path = self.plot(what, trace, *arguments)
        valid = subprocess.run(["xmllint", "--nonet", "--noout", path], capture_output=True)
        self.check(f"{what}: xmllint has no complaint", valid.returncode == 0 and not valid.stderr, valid.stderr[:300])
        return xml.parse(path).getroot()

    @staticmethod
    def texts(svg):
        return ["".join(e.itertext()) for e in svg.iter(f"{SVG}text")]

    def holds(self, what, trace, *arguments, vm=1):
        """Data and picture say what the events say."""
        script = self.script(what, trace, *arguments)
        events = Events(self.rows(trace, *[a for a in arguments if a == "--host-clock"]), self.rows(trace, *[a for a in arguments if a.startswith(("--since", "--until", "--host"))]), vm, self.is_npt(trace, vm))
        for title, panel in script.panels.items():
            steps, values = panel["steps"], panel["values"]
            self.check(f"{what}: the steps of {title!r} follow each other", all(a[1] == b[0] for a, b in zip(steps, steps[1:])))
            if NAMES[title] is not None:
                self.check(f"{what}: curves of {title!r}", panel["names"] == NAMES[title], panel["names"])
            if NAMES[title] is FAULTS:
                self.check(f"{what}: faults are those of the events", values == events.faults(steps), sum(map(sum, values)))
            elif NAMES[title] is None:
                total, counts = events.exits(steps)
                self.check(f"{what}: each exit is drawn", sum(map(sum, values)) == sum(total.values()) > 0)
                for i, name in enumerate(panel["names"]):
                    if name not in ("other", "all others") and not name.startswith("reason "):
                        self.check(f"{what}: exits for {name}", [v[i] for v in values] == [c[name] for c in counts])
            else:
                state, changed = events.state(steps)
                if NAMES[title] is PAGES:
                    self.check(f"{what}: pages are those of the events", values == [[s[0].get(i, 0) for i in (1, 2, 3)] for s in state])
                    self.check(f"{what}: their bytes", panel["factors"][:len(panel["factors"])] == [2.0**12, 2.0**21, 2.0**30][:len(panel["factors"])])
                elif NAMES[title] is TABLES:
                    self.check(f"{what}: tables are those of the events", values == [[s[1].get(i, 0) for i in range(1, 6)] for s in state])
                else:
                    self.check(f"{what}: writes are those of the events", [sum(v) for v in values] == [c["all"] for c in changed])
                    self.check(f"{what}: ... what was mapped and dropped", [v[:2] for v in values] == [[c["mapped"], c["dropped"]] for c in changed])
        self.drawn(what, script, self.picture(what, trace, *arguments))
        return script

    def drawn(self, what, script, svg):
        """The heights of what is filled, by colour, are those of the data."""
        colours = [tuple(int(c[i:i + 2], 16) for i in (1, 3, 5)) for c in palette()]
        # Panels in their order from top to bottom: the axis of each is where its lowest points are.
        shapes = collections.defaultdict(list)
        for e in svg.iter(f"{SVG}polygon"):
            colour = tuple(map(int, re.findall(r"\d+", e.get("fill"))))
            points = [tuple(map(float, p.split(","))) for p in e.get("points").split()]
            if colour in colours and max(p[1] for p in points) in self.axes(svg):
                shapes[max(p[1] for p in points), colours.index(colour)].append(points)
        axes = self.axes(svg)
        if len(axes) != len(script.panels):
            self.check(f"{what}: an axis for each panel", False, axes)
            return
        left, right = self.sides(svg)
        for (bottom, top), (title, panel) in zip(sorted(axes.items()), script.panels.items()):
            steps, factors = panel["steps"], panel["factors"]
            begin, end = steps[0][0], steps[-1][1]
            for k in range(len(panel["names"])):
                if not any(v[k] for v in panel["values"]):
                    self.check(f"{what}: {panel['names'][k]!r} of {title!r} is nowhere", (bottom, k) not in shapes)
                    continue
                wrong = 0
                for (a, b), values in zip(steps, panel["values"]):
                    x = left + (right - left) * ((a + b) / 2 - begin) / (end - begin)
                    want = sum(v * f for v, f in zip(values[:k + 1], factors))
                    got = max((bottom - self.height(points, x) for points in shapes[bottom, k]
                               if points[0][0] <= x <= max(p[0] for p in points)), default=0.0)
                    wrong += abs(got - want / panel["top"] * (bottom - top)) > 0.06
                self.check(f"{what}: {panel['names'][k]!r} of {title!r} is drawn as high as it is", wrong == 0, f"{wrong} of {len(steps)} steps")

    @staticmethod
    def sides(svg):
        lines = [list(map(float, re.findall(r"[-\d.]+", e.get("d")))) for e in svg.iter(f"{SVG}path") if e.get("class") == "gridline"]
        return min(line[0] for line in lines), max(line[2] for line in lines)

    @staticmethod
    def axes(svg):
        """The lower edge of each panel and its upper one, from the frame of its two axes."""
        found = {}
        for e in svg.iter(f"{SVG}path"):
            numbers = list(map(float, re.findall(r"[-\d.]+", e.get("d") or "")))
            if e.get("stroke", "").replace(" ", "") == "rgb(214,218,225)" and len(numbers) >= 6 and numbers[0] == numbers[2] and numbers[3] == numbers[5]:
                found[numbers[3]] = numbers[1]
        return found

    @staticmethod
    def height(points, x):
        """The y at x of the upper edge of a filled area, the points of which go along it and back below."""
        best = max(p[1] for p in points)
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            if y0 == y1 and min(x0, x1) <= x <= max(x0, x1):
                best = min(best, y0)
        return best

    # ---- what is tried -------------------------------------------------------------------------

    def sources(self):
        for what, path, vm in (("trace.dat", KVM / "npt-nested.dat.gz", 1), ("text of tracefs", KVM / "ept-map.txt.gz", 1),
                               ("two VMs", KVM / "npt-two.dat.gz", 1), ("perf script", DATA / "perf.script.gz", 1),
                               ("perf.data", DATA / "perf.data.zst", 1), ("trace-cmd report", DATA / "tc.report.gz", 1),
                               ("splits", DATA / "npt-split-v7.dat", 1)):
            self.holds(what, path, vm=vm)
        trace = self.work / "sample.trace"
        subprocess.run([self.sample, trace], check=True)
        self.holds("vmmu trace", trace)
        script = self.holds("a Linux under KVM", KVM / "npt-linux.dat.gz", "--what=faults")
        values = next(iter(script.panels.values()))["values"]
        self.check("... most of whose faults are about devices", sum(v[FAULTS.index("device")] for v in values) == 1102 and
                   not sum(v[FAULTS.index("refused by rights")] for v in values), [sum(v) for v in zip(*values)])
        script = self.holds("shadow paging under KVM", DATA / "shadow.txt.zst")
        self.check("what no event tells is not drawn", list(script.panels) == ["Faults per second by what they were about"], list(script.panels))
        asked = self.picture("... not even when it is asked for", DATA / "shadow.txt.zst", "--what", "pages,faults")
        self.check("... and that is said", any(t.startswith("Not known") for t in self.texts(asked)))
        self.holds("few steps", KVM / "npt-nested.dat.gz", "--steps=7")
        self.holds("one step", KVM / "npt-nested.dat.gz", "--steps=1")
        late = self.work / "late.txt"
        late.write_text(re.sub(r"(\d+)(\.\d{6}:)", lambda m: f"{int(m[1]) + 1763000000}{m[2]}", gzip.open(KVM / "npt-map.txt.gz", "rt").read()))
        script = self.holds("the clock of the day", late, "--host-clock")
        begin = next(iter(script.panels.values()))["steps"][0][0]
        self.check("... is what is drawn", begin // 10**9 == 1763000005, begin)
        script = self.holds("a part", KVM / "npt-map.dat.gz", "--since=10ms", "--until=60ms")
        begin = next(iter(script.panels.values()))["steps"][0][0]
        self.check("... begins there", 10_000_000 <= begin < 60_000_000, begin)

    def choice(self):
        trace = KVM / "npt-two.dat.gz"
        done = self.run("plot", "--no-index", "-o", self.work / "two.svg", trace)
        self.check("of two VMs it is said which is drawn", b"drawn is VM 1, of which most is recorded; --vm draws another of the 2" in done.stderr, done.stderr)
        self.holds("the other one", trace, "--vm=2", vm=2)
        for what in ("faults", "writes,pages", "exits,tables,tables", "pages,tables,faults,writes,exits"):
            svg = self.picture(f"--what {what}", DATA / "tc.report.gz", "--what", what)
            titles = [t for t in self.texts(svg) if t in NAMES]
            order = {"pages": 0, "tables": 1, "faults": 2, "writes": 3, "exits": 4}
            want = [list(NAMES)[order[w]] for w in dict.fromkeys(what.split(","))]
            self.check(f"--what {what}: these panels in this order", titles == want, titles)
        svg = self.picture("no exits", KVM / "npt-map.dat.gz", "--what=exits")
        self.check("that there are none is said", "This trace has no exits in it." in self.texts(svg))
        lossy = self.lossy()
        for size, width in (("400", "400"), ("1280", "1280"), ("1280x1000", "1280"), ("2500x900", "2500")):
            svg = self.picture(f"--size {size}", KVM / "npt-nested.dat.gz", "--size", size)
            self.check(f"--size {size}", svg.get("width") == width and ("x" not in size or svg.get("height") == size.split("x")[1]))
            self.inside(f"--size {size}", svg)
            self.inside(f"--size {size} with exits", self.picture("exits", DATA / "tc.report.gz", "--size", size))
            self.inside(f"--size {size} with losses", self.picture("losses", lossy, "--size", size))
        for title, first in (("A title", "A title"), ("", None)):
            svg = self.picture(f"--title '{title}'", KVM / "npt-map.dat.gz", "--title", title)
            self.check(f"--title '{title}' stands there", self.texts(svg)[0] == first or (first is None and "npt-map.dat.gz" not in self.texts(svg)))
        svg = self.picture("the file's name", KVM / "npt-map.dat.gz")
        self.check("the file's name is the title", self.texts(svg)[0] == "npt-map.dat.gz" and svg.find(f"{SVG}title").text == "npt-map.dat.gz")
        used = set(re.findall(r"rgb '(#[0-9a-f]{6})'", self.script("colours", KVM / "npt-nested.dat.gz").text))
        self.check("the colours are those of the page", set(palette()) <= used, used)
        png = self.plot("PNG", KVM / "npt-map.dat.gz", ending=".png").read_bytes()
        self.check("a PNG of this size", png[:8] == b"\x89PNG\r\n\x1a\n" and int.from_bytes(png[16:20], "big") == 1000)
        drawn = subprocess.run(["gnuplot", "-d", self.plot("script", KVM / "npt-map.dat.gz", ending=".gp")], capture_output=True)
        self.check("the script draws the same by hand", re.sub(b"<title>[^<]*", b"", drawn.stdout, count=1) ==
                   re.sub(b"<title>[^<]*", b"", self.plot("SVG", KVM / "npt-map.dat.gz").read_bytes(), count=1))

    def inside(self, what, svg):
        """No text begins outside of the picture, and none is wider than it may be."""
        width, height, boxes = float(svg.get("width")), float(svg.get("height")), []
        for group in svg.iter(f"{SVG}g"):
            text = group.find(f"{SVG}text")
            place = re.search(r"translate\(([-\d.]+),([-\d.]+)\)", group.get("transform") or "")
            if text is None or not place:
                continue
            x, y, size = float(place[1]), float(place[2]), float(group.get("font-size"))
            length = len("".join(text.itertext())) * size * 0.55
            left = x - {"start": 0, "middle": length / 2, "end": length}[group.get("text-anchor")]
            self.check(f"{what}: {''.join(text.itertext())!r} is inside", -1 <= left and left + length <= width + 12 and 0 < y <= height, left, length, y)
            over = [t for t, x0, x1, y0, y1 in boxes if x0 < left + length and left < x1 and y0 < y and y - size * 0.8 < y1]
            self.check(f"{what}: {''.join(text.itertext())!r} stands on no other text", not over, over)
            boxes.append(("".join(text.itertext()), left, left + length, y - size * 0.8, y))

    def lossy(self):
        """A trace with a gap of 20 events."""
        lines = gzip.open(KVM / "npt-map.txt.gz", "rt").read().splitlines()
        cut = max(i for i, line in enumerate(lines) if "kvm_tdp_mmu_spte_changed" in line) * 2 // 3
        trace = self.work / "lost.txt"
        trace.write_text("\n".join(lines[:cut] + ["CPU:0 [LOST 20 EVENTS]"] + lines[cut + 20:]) + "\n")
        return trace

    def losses(self):
        trace = self.lossy()
        script = self.script("losses", trace)
        self.check("a loss is a mark with its number", [n for _, n in script.marks["lost"]] == [20], script.marks)
        self.check("... and in the key", "events lost" in self.texts(self.picture("losses", trace)))
        zaps = self.script("everything dropped", KVM / "npt-nested.dat.gz").marks["zaps"]
        rows = [row for row in self.rows(KVM / "npt-nested.dat.gz") if row["event"] == "zap-all"]
        self.check("each zap of all is a mark", sum(n for _, n in zaps) == len(rows) > 0, zaps)
        self.check("... at its time", {t for t, _ in zaps} <= {ns(row["time"]) for row in rows})

    def short(self):
        lines = gzip.open(KVM / "npt-map.txt.gz", "rt").read().splitlines()
        head, faults = [line for line in lines if line.startswith("#")], [line for line in lines if "kvm_page_fault" in line]
        trace = self.work / "short.txt"
        trace.write_text("\n".join(head + faults[:1]) + "\n")
        svg = self.picture("one record", trace)
        self.check("one record: that it is one moment is said", any("one moment" in t for t in self.texts(svg)), self.texts(svg))
        svg = self.picture("one record, entries", trace, "--what=writes")
        self.check("one record: of entries nothing is known", any(t.startswith("Not known") for t in self.texts(svg)), self.texts(svg))
        trace.write_text("\n".join(head + faults[:2]) + "\n")
        self.holds("two records", trace, "--what=faults")
        trace.write_text("\n".join(head) + "\n")
        done = self.run("plot", "--no-index", "-o", self.work / "none.svg", trace)
        self.check("no record", done.returncode == 2 and done.stderr and not (self.work / "none.svg").exists(), done.stderr)
        trace.write_text("")
        done = self.run("plot", "--no-index", "-o", self.work / "none.svg", trace)
        self.check("an empty file", done.returncode == 2 and b"empty" in done.stderr and not (self.work / "none.svg").exists(), done.stderr)

    def many(self):
        """A hundred VMs in one trace."""
        lines = [line for line in gzip.open(KVM / "npt-map.txt.gz", "rt").read().splitlines() if not line.startswith("#")][:60]
        trace = self.work / "many.txt"
        with trace.open("w") as out:
            for vm in range(100):
                for line in lines[:30 if vm != 76 else 60]:
                    line = re.sub(r"-(\d+)( +\( *)(\d+)\)", lambda m: f"-{int(m[1]) + 1000 * vm}{m[2]}{int(m[3]) + 1000 * vm})", line, count=1)
                    out.write(re.sub(r"(\d+\.\d{6}):", lambda m: f"{float(m[1]) + vm / 2:.6f}:", line, count=1) + "\n")
        done = self.run("plot", "--no-index", "-o", self.work / "many.svg", trace)
        self.check("of a hundred VMs that of which most is recorded", b"drawn is VM 77," in done.stderr and b"of the 100" in done.stderr, done.stderr)
        self.holds("the hundredth", trace, "--vm=100", vm=100)
        for command in (("export", "-f", "csv", "-o", self.work / "many.csv"), ("export", "-f", "json", "-o", self.work / "many.json"),
                        ("export", "-f", "ctf", "-o", self.work / "many.ctf"), ("report", "-o", self.work / "many.html"), ("info",), ("doctor",)):
            done = self.run(*command[:1], "--no-index", *command[1:], trace)
            self.check(f"vmmu {command[0]}: a hundred VMs", done.returncode == 0, done.stderr)
        vms = {row["vm"] for row in csv.DictReader(open(self.work / "many.csv", newline=""))} - {""}
        self.check("all of them are in the CSV", vms == {str(i) for i in range(1, 101)}, len(vms))

    def hostile(self):
        """Names are text, whatever gnuplot or XML would make of them."""
        hit = self.work / "hit"
        names = ["it's", '"; system("touch HIT") #', "`touch HIT`", "@x ${x} $x", "'; system('touch HIT'); '", "a\\nb\\", "</text><script>&lt;",
                 "%s%n %d", "{/Bold x}_y^z", "\u4e2d\u6587\U0001f600", "\ufffe\uffff", "--", "x\ny", "x\r\ny'\n!touch HIT\n", "\x1b[31m", "]]>"]
        lines = gzip.open(KVM / "npt-map.txt.gz", "rt").read()
        for name in names:
            name = name.replace("HIT", str(hit))
            svg = self.picture(f"title {name!r}", KVM / "npt-map.dat.gz", f"--title={name}")
            shown = re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\x{ord(m[0]):02x}", name).replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
            first = self.texts(svg)[0].replace("\u200b", "")
            self.check(f"title {name!r} is shown as it is", first == shown or (first.endswith("\u2026") and shown.startswith(first[:-1])), first)
        for name in names:
            if "/" in name or "\n" in name:
                continue
            trace = self.work / f"{name.replace('HIT', 'hit')}.txt"
            trace.write_text(lines)
            svg = self.picture(f"file {name!r}", trace)
            self.check(f"file {name!r} is the title", svg.find(f"{SVG}title") is not None and len(self.texts(svg)[0]) > 0)
            trace.unlink()
        trace = self.work / "thread.txt"
        for name in ("';!touch hit;'", "`touch hit`", "$(touch hit)", "</g>&'\\"):
            trace.write_text(re.sub(r"(?m)^ *\S.*?-(\d+ +\( *\d+\))", lambda m: f"{name}-{m[1]}", lines))
            svg = self.picture(f"thread {name!r}", trace)
            self.check(f"thread {name!r} is shown", any(name in t for t in self.texts(svg)), self.texts(svg)[:2])
        self.check("nothing of it was run", not hit.exists() and not (self.work / "hit").exists() and not pathlib.Path("hit").exists())
        # The user's own settings are not read.
        home = self.work / "home"
        home.mkdir()
        (home / ".gnuplot").write_text(f"system('touch {hit}')\n")
        self.run("plot", "--no-index", "-o", self.work / "home.svg", KVM / "npt-map.dat.gz", env={**os.environ, "HOME": str(home)})
        self.check("no settings of the user's are read", (self.work / "home.svg").exists() and not hit.exists())

    def places(self):
        small = KVM / "npt-map.dat.gz"
        done = self.run("plot", "--no-index", "-o", "-", small)
        self.check("standard output", done.returncode == 0 and done.stdout.startswith(b"<?xml") and done.stdout.rstrip().endswith(b"</svg>"))
        with gzip.open(KVM / "npt-map.txt.gz", "rb") as text:
            done = subprocess.run([self.vmmu, "plot", "-"], input=text.read(), capture_output=True, timeout=60)
        self.check("from standard input to a pipe", done.returncode == 0 and done.stdout.startswith(b"<?xml"), done.stderr)
        self.check("... without a file's name", b"standard input" in done.stdout)
        copy = self.work / "boot.dat.gz"
        copy.write_bytes(small.read_bytes())
        done = self.run("plot", "--no-index", copy)
        self.check("a name of its own, beside the trace", done.returncode == 0 and (self.work / "boot.svg").exists() and b"boot.svg is made" in done.stderr, done.stderr)
        (self.work / "link.svg").symlink_to(copy)
        for other in (copy, self.work / "link.svg", self.work / ".." / self.work.name / "boot.dat.gz"):
            done = self.run("plot", "--no-index", "--format=svg", "-o", other, copy)
            self.check(f"not over the trace: {other.name}", done.returncode == 2 and b"is the trace itself" in done.stderr and copy.read_bytes() == small.read_bytes(), done.stderr)
        with open("/dev/full", "wb") as full:
            done = self.run("plot", "--no-index", "-o", "-", small, stdout=full)
        self.check("a full disk", done.returncode == 2 and b"No space left" in done.stderr, done.stderr)
        done = self.run("plot", "--no-index", "-o", self.work / "none/x.svg", small)
        self.check("no such folder", done.returncode == 2 and b"cannot be written" in done.stderr, done.stderr)
        reader, writer = os.pipe()
        os.close(reader)
        done = self.run("plot", "--no-index", "-o", "-", small, stdout=writer, preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL))
        os.close(writer)
        self.check("a reader that has gone", done.returncode == -signal.SIGPIPE and not done.stderr, done.returncode, done.stderr)
        for name, begins in (("x.PNG", b"\x89PNG"), ("x.gnuplot", b"# gnuplot"), ("noending", b"<?xml"), (".hidden", b"<?xml"), ("a.b/c", b"<?xml")):
            (self.work / "a.b").mkdir(exist_ok=True)
            done = self.run("plot", "--no-index", "-o", self.work / name, small)
            self.check(f"-o {name}", done.returncode == 0 and (self.work / name).read_bytes().startswith(begins), done.stderr)
        done = self.run("plot", "--no-index", "-o", self.work / "x.pdf", small)
        self.check("an ending that cannot be made", done.returncode == 2 and b"which --format?" in done.stderr and not (self.work / "x.pdf").exists(), done.stderr)
        done = self.run("plot", "--no-index", "--format=svg", "-o", self.work / "x.pdf", small)
        self.check("... unless the format is said", done.returncode == 0 and (self.work / "x.pdf").read_bytes().startswith(b"<?xml"), done.stderr)
        for wrong in ("--what=x", "--what=", "--size=10", "--size=800x10", "--size=axb", "--size=99999", "--steps=0", "--steps=x", "--format=pdf"):
            done = self.run("plot", wrong, small)
            self.check(f"{wrong} is refused", done.returncode == 2 and (wrong.split("=")[0] if "x10" not in wrong else "pixels high at this width").encode() in done.stderr, done.stderr)

    def gnuplot(self):
        """What another program may do to us."""
        small, bin = KVM / "npt-map.dat.gz", self.work / "bin"
        bin.mkdir()
        def with_gnuplot(text, *arguments):
            program = bin / "gnuplot"
            program.unlink(missing_ok=True)
            if text is not None:
                program.write_text(f"#!/bin/sh\n{text}\n")
                program.chmod(0o755)
            out = self.work / "other.svg"
            out.unlink(missing_ok=True)
            path = f"{bin}:/bin:/usr/bin" if text is not None else str(bin)
            done = self.run("plot", "--no-index", *(arguments or ("-o", out)), small, env={**os.environ, "PATH": path})
            return done, out
        done, out = with_gnuplot(None)
        self.check("without gnuplot: the package is named", done.returncode == 2 and b"Debian has it in the package gnuplot-nox" in done.stderr and not out.exists(), done.stderr)
        done, out = with_gnuplot(None, "--format", "gnuplot", "-o", self.work / "without.gp")
        self.check("... its script can be had", done.returncode == 0 and (self.work / "without.gp").exists(), done.stderr)
        for what, text, says in (("fails", "echo '  line 7: undefined' >&2; exit 3", b"gnuplot ended with status 3: line 7: undefined"),
                                 ("is killed", "kill -9 $$", b"gnuplot was ended by signal 9"),
                                 ("says nothing", "exit 0", b"gnuplot has drawn nothing"),
                                 ("complains in orders to a terminal", "printf '\\033[31mx\\n' >&2; exit 1", b"\\x1b[31mx")):
            done, out = with_gnuplot(text)
            self.check(f"gnuplot {what}", done.returncode == 2 and says in done.stderr and not out.exists(), done.stderr)
        program = bin / "gnuplot"
        pid = self.work / "pid"
        program.write_text(f"#!/bin/sh\necho $$ >{pid}.new; mv {pid}.new {pid}\nexec sleep 60\n")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            pid.unlink(missing_ok=True)
            child = subprocess.Popen([self.vmmu, "plot", "--no-index", "-o", self.work / "ended.svg", small],
                                     env={**os.environ, "PATH": f"{bin}:/bin:/usr/bin"},
                                     preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGTERM)])
            while not pid.exists() and child.poll() is None:
                time.sleep(0.01)
            drawing = int(pid.read_text())
            child.send_signal(number)
            self.check(f"{number.name} ends it", child.wait(timeout=30) == -number)
            for _ in range(500):
                if not pathlib.Path(f"/proc/{drawing}").exists() or "Z" in pathlib.Path(f"/proc/{drawing}/stat").read_text().split(")")[1][:3]:
                    break
                time.sleep(0.01)
            else:
                self.check(f"{number.name}: gnuplot goes with it", False)
            left = list(self.work.glob("ended.svg*"))
            self.check(f"{number.name}: nothing is left", not left or number == signal.SIGKILL, left)
            for path in left:
                path.unlink()
        self.check("nothing half done is left", not list(self.work.glob("*.partial*")))


def main():
    with tempfile.TemporaryDirectory() as folder:
        tests = Tests(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(folder))
        for test in (tests.sources, tests.choice, tests.losses, tests.short, tests.many, tests.hostile, tests.places, tests.gnuplot):
            test()
    print(f"{tests.passed} passed, {tests.failed} failed, 0 skipped")
    return tests.failed > 0


sys.exit(main())
