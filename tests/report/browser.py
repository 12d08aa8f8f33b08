#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""Pages of vmmu report in headless Chromium: they load, without a request or a complaint, and do what they say.

    tests/report/browser.py BUILD
"""

import gzip
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KVM = ROOT / "tests/kvm/traces"
WIDTHS = (1280, 400)

from chromium import Browser, Keys, missing, webdriver


class Tests:
    def __init__(self, build, work):
        self.vmmu, self.fast, self.generate = build / "tool-asan/vmmu", build / "vmmu", build / "questions/generate"
        self.generate_vmmu = build / "questions/generate-vmmu"
        self.work, self.passed, self.failed = work, 0, 0
        self.browser = Browser(work / "profile")

    def check(self, what, ok, *said):
        self.passed += bool(ok)
        if not ok:
            self.failed += 1
            print("FAILED:", what, *said)

    def report(self, trace, *arguments, vmmu=None, name="page.html"):
        page = self.work / name
        done = subprocess.run([vmmu or self.vmmu, "report", "--no-index", "-o", page, *arguments, trace],
                              capture_output=True, text=True, timeout=300)
        self.check(f"vmmu report {trace}", done.returncode == 0 and page.exists(), done.stderr)
        return page

    # What every page must be.
    def sound(self, what):
        self.check(f"{what}: is ready", self.browser.run("return document.documentElement.dataset.ready") == "yes",
                   self.browser.text("#head"))
        complaints = [entry["message"] for entry in self.browser.driver.get_log("browser")]
        self.check(f"{what}: no complaint of the browser", not complaints, complaints)
        asked = self.browser.requests()
        self.check(f"{what}: no request", not asked, asked)
        wide = self.browser.run("return document.documentElement.scrollWidth - innerWidth")
        self.check(f"{what}: not wider than the window", wide <= 0, wide)
        self.check(f"{what}: nothing undefined", not re.search(r"undefined|NaN|\[object", self.browser.run("return document.body.innerText")))

    def boot(self):
        """A boot under KVM: pages, entries, history, by mouse and by keyboard."""
        b, page = self.browser, self.report(KVM / "npt-nested.dat.gz")
        for width in WIDTHS:
            b.width(width)
            b.open(page)
            self.sound(f"boot at {width}")
            took = int(b.run("return document.documentElement.dataset.readyAfter"))
            self.check(f"boot at {width}: shown within two seconds", took < 2000 * slowness(), took)
            self.check(f"boot at {width}: text is not smaller than 11 pixels", b.run(
                "return Math.min(...[...document.querySelectorAll('body *')].filter(e => e.childNodes.length && "
                "[...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length)"
                ".map(e => parseFloat(getComputedStyle(e).fontSize)))") >= 11)
        b.width(1280)
        b.open(page)
        used = lambda level: b.count(f"#level-{level} .cell:not([class='cell'])")
        end = used(1)
        self.check("the fullest table of level 1 is shown", end > 400, end)
        self.check("large pages stand in the table above", b.count("#level-2 .cell.s2") >= 10)
        slider = b.find("#time")
        b.run("arguments[0].value = 200; arguments[0].dispatchEvent(new Event('input'))", slider)
        self.check("the slider empties the tables", used(1) < end and used(2) < 15, used(1), used(2))
        self.check("the time is said", re.fullmatch(r"3\.89\d+ s", b.text("#clock output")), b.text("#clock output"))
        before = b.text("#clock output")
        slider.send_keys(Keys.ARROW_RIGHT)
        self.check("an arrow moves the slider", b.text("#clock output") > before, before, b.text("#clock output"))
        slider.send_keys(Keys.END)
        self.check("End goes to the end", b.text("#clock output").startswith("19.48"), b.text("#clock output"))
        self.play()
        self.history(page)
        self.keyboard(page)

    def play(self):
        """The button shows it all from the beginning; a hand on the slider stops it."""
        b, button = self.browser, self.browser.find("#play")
        button.click()
        time.sleep(0.5)
        b.settle()
        seconds = lambda: float(b.text("#clock output").split()[0])
        early = seconds()
        self.check("play begins anew at the end", early < 19 and button.get_attribute("aria-pressed") == "true", early)
        time.sleep(0.5)
        b.settle()
        later = seconds()
        self.check("... and goes on", later > early, early, later)
        b.find("#time").send_keys(Keys.ARROW_RIGHT)
        self.check("the slider stops it", button.get_attribute("aria-pressed") == "false")
        stopped = seconds()
        time.sleep(0.3)
        self.check("... where it is", seconds() == stopped)
        self.check("how much happened when stands under the slider", b.run(
            "const c = document.querySelector('.activity'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "return d.some((n, i) => i % 4 === 3 && n)"))

    def tip(self, share, rows_from_below=1):
        """What the map says under the pointer, at a share of the time."""
        return self.browser.run(
            "const e = document.querySelectorAll('#strip canvas')[arguments[1]], c = e.getBoundingClientRect();"
            "e.dispatchEvent(new MouseEvent('mousemove', {clientX: c.left + c.width * arguments[0], clientY: c.bottom - 1, bubbles: true}));"
            "return document.getElementById('tip').textContent", share, rows_from_below)

    def marks(self):
        """Moments at which something happened to everything, exits by name, and who mapped what."""
        b = self.browser
        lines = gzip.open(KVM / "npt-map.txt.gz", "rt").read().splitlines()
        cut = max(i for i, line in enumerate(lines) if "kvm_tdp_mmu_spte_changed" in line) * 2 // 3
        trace = self.work / "lost.txt"
        trace.write_text("\n".join(lines[:cut] + ["CPU:0 [LOST 20 EVENTS]"] + lines[cut + 20:]) + "\n")
        page = self.report(trace)
        b.open(page)
        self.sound("losses")
        self.check("a loss is a line in the map", b.count("#strip line.lost") == 1)
        self.check("... and in each curve", b.count("#charts line.lost") == b.count("#charts svg .cursor") > 0)
        self.check("... with a legend", b.run("return [...document.querySelectorAll('#map .legend li')].some(e => !e.hidden && e.textContent === 'events lost')"))
        self.check("... and a notice", "20 events were lost" in b.text("#head"), b.text("#head"))
        where = float(b.run("const l = document.querySelector('#strip line.lost'), c = document.querySelector('#strip canvas');"
                            "return (l.getBoundingClientRect().left - c.getBoundingClientRect().left) / c.getBoundingClientRect().width"))
        said = [self.tip(where + nudge) for nudge in (-0.003, -0.0015, 0, 0.0015, 0.003)]
        self.check("... that the pointer tells", any("20 events were lost here" in text for text in said), said)
        b.open(self.report(KVM / "npt-stacks.dat.gz"))
        self.sound("stacks")
        for name in ("tc.reportR.gz", "tc.report.gz"):
            b.open(self.report(ROOT / "tests/questions/data" / name))
            self.sound(name)
            exits = b.run("return [...document.querySelectorAll('#chart-exits .legend li')].map(e => e.firstChild.nextSibling.textContent)")
            self.check(f"{name}: exits are named", exits == ["cpuid", "npf", "io"], exits)
        text = gzip.open(ROOT / "tests/questions/data/tc.report.gz", "rt").read()
        trace = self.work / "vmx.txt"
        trace.write_text(re.sub(r"kvm_tdp_mmu\S*:", "other_event:", text).replace("reason npf", "reason EXCEPTION_NMI").replace("reason cpuid", "reason CPUID")
                         .replace("reason io", "reason no such name"))
        b.open(self.report(trace))
        exits = b.run("return [...document.querySelectorAll('#chart-exits .legend li')].map(e => e.firstChild.nextSibling.textContent)")
        self.check("under shadow paging, too", {"CPUID", "EXCEPTION_NMI", "other"} == set(exits), exits)
        page = self.report(KVM / "npt-nested.dat.gz")
        b.open(page)
        said = [self.tip(0.9, i) for i in range(b.count("#strip canvas"))]
        self.check("the map tells who mapped a place and when", any(re.search(
            r"last mapped at \d+\.\d+ s: (read|write|fetch).* by vCPU 0, rip 0x", text) for text in said), said)
        self.check("... and which device is there", any("local APIC" in text for text in said), said)

    def short(self):
        """Next to nothing, and nothing of what it draws."""
        b = self.browser
        lines = gzip.open(KVM / "npt-map.txt.gz", "rt").read().splitlines()
        first = next(i for i, line in enumerate(lines) if "kvm_page_fault" in line)
        trace = self.work / "short.txt"
        faults = [line for line in lines if "kvm_page_fault" in line]
        # The others come a microsecond after the first.
        moment = re.search(r" (\d+)\.(\d{6}):", faults[0])
        faults[1:] = [re.sub(r" \d+\.\d{6}:", f" {moment[1]}.{int(moment[2]) + 1:06d}:", line, count=1) for line in faults[1:]]
        for count in (1, 2, 40):
            trace.write_text("\n".join([line for line in lines[:first] if line.startswith("#")] + faults[:count]) + "\n")
            b.open(self.report(trace))
            self.sound(f"{count} faults")
            said = b.run("return document.body.innerText")
            self.check(f"{count} faults: rates have at most three figures before the point", not re.search(r"\d{4}\.\d [kMG]|1000 k", said),
                       re.findall(r"\S* [kMG]/s", said))
            self.check(f"{count} faults: no entry was written", "No entry was written" in b.text("#tree"), b.text("#tree"))

    def history(self, page):
        b = self.browser
        b.open(page)
        b.find("#level-2 .cell.s2").click()
        gpa = b.text("#history h3")
        self.check("a click shows an entry's history", "2 MiB" in gpa, gpa)
        self.check("... with who wrote it and why", re.search(r"(read|write|fetch).* by vCPU 0, rip 0x", b.text("#writes")), b.text("#writes"))
        walk = subprocess.run([self.vmmu, "walk", "--json", "--no-index", "--at", b.text("#clock output").split()[0],
                               "--gpa", re.search("0x[0-9a-f]+", gpa)[0], KVM / "npt-nested.dat.gz"],
                              capture_output=True, text=True).stdout
        for value in b.run("return [...document.querySelectorAll('#writes tbody tr td:nth-child(5)')].map(e => e.textContent)"):
            self.check("the history is what vmmu walk says", f'"new": "{value}"' in walk, value)
        first = b.find("#writes tbody button")
        at = first.text
        first.click()
        self.check("a click on a write goes to its moment", b.text("#clock output") == at, at, b.text("#clock output"))
        self.check("... and marks it", b.count("#writes tr.now") == 1)
        where = b.run("const c = document.querySelector('#strip canvas').getBoundingClientRect(); return [c.left, c.top, c.width]")
        time_before = b.text("#clock output")
        b.run("const e = document.querySelector('#strip canvas'), c = e.getBoundingClientRect();"
              "e.dispatchEvent(new MouseEvent('click', {clientX: c.left + c.width / 2, clientY: c.bottom - 1, bubbles: true}))")
        self.check("a click in the map goes to its moment", b.text("#clock output") != time_before and where[2] > 0)
        self.check("... and its place", "0x000000000" in b.text("#history h3"), b.text("#history h3"))

    def keyboard(self, page):
        b = self.browser
        b.open(page)
        active = lambda what: b.run(f"return document.activeElement.{what}")
        reached = []
        b.run("document.body.focus()")
        for _ in range(12):
            webdriver.ActionChains(b.driver).send_keys(Keys.TAB).perform()
            reached.append(active("id") or active("parentElement.parentElement.id"))
        self.check("Tab reaches the slider and each table", {"time", "level-4", "level-3", "level-2", "level-1"} <= set(reached), reached)
        b.run("document.querySelector('#level-3 [tabindex=\"0\"]').focus()")
        self.check("focus is seen", active("matches(':focus-visible')") and
                   b.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid")
        b.driver.switch_to.active_element.send_keys(Keys.ENTER)
        self.check("Enter goes down", active("parentElement.parentElement.id") == "level-2", active("outerHTML"))
        index = int(active("dataset.index"))
        b.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        self.check("an arrow goes on", int(active("dataset.index")) == index + 1)
        self.check("an entry is read out", re.match(r"Entry \d+, 0x[0-9a-f]+ \+ 2 MiB: .* at ", active("ariaLabel") or ""), active("ariaLabel"))
        b.driver.switch_to.active_element.send_keys(Keys.BACK_SPACE)
        self.check("Backspace goes up", active("parentElement.parentElement.id") == "level-3", active("outerHTML"))
        self.check("... and its history is shown", "1 GiB" in b.text("#history h3"), b.text("#history h3"))

    def others(self):
        b = self.browser
        for name in ("shadow-map.dat.gz", "ept-two.dat.gz", "ept-found.dat.gz"):
            page = self.report(KVM / name)
            for width in WIDTHS:
                b.width(width)
                b.open(page)
                self.sound(f"{name} at {width}")
        page = self.report(KVM / "ept-two.dat.gz")
        b.open(page)
        first = b.text("#head .facts")
        b.run("const s = document.getElementById('vm'); s.value = '1'; s.dispatchEvent(new Event('change'))")
        time.sleep(0.3)
        b.settle()
        self.check("the other VM is shown", b.text("#head .facts") != first and b.count("#vm option") == 2)
        page = self.report(KVM / "shadow-map.dat.gz")
        b.open(page)
        self.check("curves that cannot be known are not there", not b.find("#chart-pages").is_displayed() and b.find("#chart-faults").is_displayed())
        self.check("what is not known is said", "not known" in b.text("#tree") and not b.find("#tree .levels").is_displayed())

    def dark(self):
        b, page = self.browser, self.report(KVM / "npt-map.dat.gz")
        b.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        b.open(page)
        self.sound("dark")
        self.check("a dark page for those who ask", b.run("return getComputedStyle(document.documentElement).backgroundColor") == "rgb(13, 16, 21)")
        b.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
        self.check("printed on white, without controls", b.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
                   and not b.find("#time").is_displayed())
        b.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})

    def hostile(self):
        """Names in a trace, a symbol table and a file are text, whatever they look like."""
        evil = "<script>hit=1</"
        text = gzip.open(KVM / "npt-map.txt.gz", "rt").read()
        trace = self.work / "<img src=x onerror=hit=1>&quot;.txt"
        trace.write_text(re.sub(r"(?m)^( *)\S.{0,14}?-(\d+)( +\[)", lambda m: f"{evil}-{m[2]}{m[3]}", text))
        symbols = self.work / "System.map"
        symbols.write_text("0000000000100000 T </script><script>hit=1</script>\n0000000000200000 T end\n")
        page = self.report(trace, "--symbols", symbols)
        b = self.browser
        b.open(page)
        self.sound("hostile names")
        shown = b.run("return document.body.innerText")
        self.check("they are shown as they are", evil in shown and "<img src=x" in shown, shown[:200])
        self.check("... the symbol, too", "</script><script>hit=1</script>" in b.text("#functions"), b.text("#functions"))
        self.check("they are no markup", b.count("img") == 0 and b.count("script") == 3 and b.run("return typeof hit") == "undefined",
                   b.count("img"), b.count("script"))

    def visor(self):
        """A trace of the visor, cut short, and what the run left beside it."""
        trace = self.work / "visor.trace"
        with trace.open("wb") as out:
            subprocess.run([self.generate_vmmu, "20000", "4096"], stdout=out, check=True, timeout=120)
        trace.write_bytes(trace.read_bytes()[:-1000])
        (self.work / "visor.trace.json").write_text(json.dumps({"summary": {"exits": {"io": 37499, "<b>cpuid</b>": 1210, "hlt": 0}}}))
        b = self.browser
        b.open(self.report(trace))
        self.sound("visor")
        self.check("a trace that was cut short is shown, and called so", "not whole" in b.text("#head") and b.count("#strip canvas") > 0)
        rows = b.run("return [...document.querySelectorAll('#plot-exits tr')].map(e => [...e.cells].slice(0, 2).map(c => c.textContent))")
        self.check("the run's own count of exits stands there", rows == [["io", "37,499"], ["<b>cpuid</b>", "1,210"]], rows)
        (self.work / "visor.trace.json").write_text('{"summary": {"exits": ["no", {}]}}')
        b.open(self.report(trace))
        self.sound("visor, odd file beside it")
        self.check("what is no count is left out", "no exits in it" in b.text("#chart-exits"), b.text("#chart-exits"))

    def many(self):
        """More VMs than a page has room for."""
        lines = gzip.open(KVM / "npt-map.txt.gz", "rt").read().splitlines()
        body = [line for line in lines if not line.startswith("#")][:60]
        trace = self.work / "many.txt"
        with trace.open("w") as out:
            for vm in range(40):
                for line in body[:30 if vm < 16 else 60]:
                    line = re.sub(r"-(\d+)( +\( *)(\d+)\)", lambda m: f"-{int(m[1]) + 1000 * vm}{m[2]}{int(m[3]) + 1000 * vm})", line, count=1)
                    out.write(re.sub(r"(\d+\.\d{6}):", lambda m: f"{float(m[1]) + vm / 2:.6f}:", line, count=1) + "\n")
        b = self.browser
        b.open(self.report(trace))
        self.sound("many VMs")
        self.check("those of which most is known", b.count("#vm option") == 24 and b.text("#vm option").startswith("VM 17,"), b.text("#vm"))
        self.check("the page says how many there are more", "16 VMs more" in b.text("#head"), b.text("#head"))
        b.open(self.report(trace, "--vm", "3"))
        self.check("one that was left out can be had", b.text("#head .vm-title").startswith("VM 3,"), b.text("#head"))

    def policy(self):
        """The browser refuses what the page does not need."""
        page = self.report(KVM / "npt-map.dat.gz")
        self.check("everything is in the page", not re.search(rb'(src|href)="(?!data:|#)', page.read_bytes()))
        self.check("the policy forbids all but its own script", re.search(
            rb"default-src 'none'; script-src 'sha256-[\w+/]{43}='; style-src 'sha256-[\w+/]{43}='; img-src data:", page.read_bytes()))
        self.check("the licence of d3 is in it", b"Redistribution and use in source and binary forms" in page.read_bytes() and
                   b"Mike Bostock" in page.read_bytes())
        b = self.browser
        b.open(page)
        b.run("const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.append(s);"
              "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
        self.check("a script that is put in does not run", b.run("return typeof hit") == "undefined")
        said = b.driver.execute_async_script("fetch('http://127.0.0.1:9/').then(() => arguments[0]('yes'), () => arguments[0]('no'))")
        self.check("nothing is fetched", said == "no")

    def large(self):
        """A long recording: a page of coarser steps that still opens."""
        events = int(os.environ.get("VMMU_EVENTS", "400000"))
        trace = self.work / "large.dat"
        with trace.open("wb") as out:
            subprocess.run([self.generate, "dat", str(events), "65536"], stdout=out, check=True, timeout=900)
        page = self.report(trace, vmmu=self.fast, name="large.html")
        size = page.stat().st_size
        self.check("a long recording's page is below 20 MB", size < 20e6, size)
        b = self.browser
        b.open(page)
        self.sound("a long recording")
        print(f"{events} events: a page of {size / 1e6:.1f} MB, ready after {b.run('return document.documentElement.dataset.readyAfter')} ms")

    def command(self):
        def run(*arguments, stdout=subprocess.PIPE):
            return subprocess.run([self.vmmu, "report", "--no-index", *arguments], stdout=stdout, stderr=subprocess.PIPE, timeout=120)
        done = run("-o", "-", KVM / "npt-map.dat.gz")
        self.check("a page on standard output", done.returncode == 0 and done.stdout.startswith(b"<!DOCTYPE html>") and
                   done.stdout.endswith(b"</html>\n"))
        done = subprocess.run([self.vmmu, "report", "-"], input=(KVM / "npt-map.dat.gz").read_bytes(), capture_output=True, cwd=self.work)
        self.check("from a pipe to a pipe", done.returncode == 0 and done.stdout.endswith(b"</html>\n") and
                   not (self.work / "report.html").exists(), done.stderr)
        done = run("-o", self.work / "none/page.html", KVM / "npt-map.dat.gz")
        self.check("a folder that is not there", done.returncode == 2 and b"cannot be written" in done.stderr, done.stderr)
        with open("/dev/full", "wb") as full:
            done = run("-o", "-", KVM / "npt-map.dat.gz", stdout=full)
        self.check("a full disk", done.returncode == 2 and b"cannot be written" in done.stderr, done.stderr)
        copy = self.work / "boot.dat.gz"
        copy.write_bytes((KVM / "npt-map.dat.gz").read_bytes())
        done = run(copy)
        self.check("a name of its own, beside the trace", done.returncode == 0 and (self.work / "boot.html").exists(), done.stderr)
        (self.work / "link.dat.gz").symlink_to(copy)
        for other in (copy, self.work / "link.dat.gz", self.work / "." / ".." / self.work.name / "boot.dat.gz"):
            done = run("-o", other, copy)
            self.check(f"the trace is not written over: {other}", done.returncode == 2 and b"is the trace itself" in done.stderr and
                       copy.read_bytes() == (KVM / "npt-map.dat.gz").read_bytes(), done.stderr)
        self.check("nothing half done is left", not list(self.work.glob("*.partial*")))
        done = run(ROOT / "README.md")
        self.check("no trace", done.returncode == 2 and done.stderr, done.stderr)


def slowness():
    """How much slower than alone things may be here: others may use this machine."""
    return max(1.0, 4 * os.getloadavg()[0] / os.cpu_count())


def main():
    if missing():
        print(missing())
        print("0 passed, 0 failed, 1 skipped")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        tests = Tests(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(folder))
        try:
            for test in (tests.command, tests.boot, tests.others, tests.marks, tests.short, tests.dark, tests.hostile, tests.visor, tests.many, tests.policy, tests.large):
                test()
        finally:
            tests.browser.driver.quit()
    print(f"{tests.passed} passed, {tests.failed} failed, 0 skipped")
    return tests.failed > 0


sys.exit(main())
