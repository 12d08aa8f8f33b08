#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""The pictures in README.md, parts of two pages of vmmu report as headless Chromium shows them; and that of docs/plot.md.

    tests/report/pictures.py VMMU BOOT FOLDER

BOOT is the trace of a boot under the visor (make run); the other one is KVM's, of tests/kvm.
"""

import base64
import pathlib
import subprocess
import sys
import tempfile

from chromium import Browser, missing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WIDTH = 1200
MAP = "section[aria-labelledby='map-title']"


def clip(browser, first, last):
    """From the top of one element to the bottom of another, whole width."""
    return browser.run(
        "const top = document.querySelector(arguments[0]).getBoundingClientRect().top + scrollY - 10,"
        "bottom = document.querySelector(arguments[1]).getBoundingClientRect().bottom + scrollY + 10;"
        "return {x: 0, y: top, width: innerWidth, height: bottom - top, scale: 1}", first, last)


def point(browser, kind, share, region, height):
    """A click or a move of the pointer on the map: a share of the time, a region from below, a share of its height."""
    browser.run(
        "const e = document.querySelectorAll('#strip canvas')[arguments[2]], c = e.getBoundingClientRect();"
        "e.dispatchEvent(new MouseEvent(arguments[0], {clientX: c.left + c.width * arguments[1], clientY: c.top + c.height * arguments[3], bubbles: true}));",
        kind, share, region, height)


def shoot(browser, first, last, path):
    browser.run("document.getElementById('clock').style.position = 'static'")
    browser.settle()
    shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": False,
                                                                     "captureBeyondViewport": True, "clip": clip(browser, first, last)})
    path.write_bytes(base64.b64decode(shot["data"]))
    print(f"{path}: {path.stat().st_size} bytes")


def main():
    vmmu, boot, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    if missing():
        print(missing(), file=sys.stderr)
        return 1
    subprocess.run([vmmu, "plot", "--no-index", "--what", "pages,tables,faults,writes", "-o", folder / "plot-kvm.png",
                    ROOT / "tests/kvm/traces/npt-nested.dat.gz"], check=True)
    with tempfile.TemporaryDirectory() as work:
        browser = Browser(f"{work}/profile")
        try:
            browser.width(WIDTH)
            for name, trace, click, over, parts in (
                    ("report-boot", boot, (0.31, 0, 0.3), (0.5, 1, 0.1), ("#clock", "#history")),
                    ("report-kvm", ROOT / "tests/kvm/traces/npt-nested.dat.gz", (0.6, 6, 0.1), (0.4, 6, 0.1), (MAP, MAP))):
                page = pathlib.Path(work) / f"{name}.html"
                subprocess.run([vmmu, "report", "--no-index", "-o", page, trace], check=True, stderr=subprocess.DEVNULL)
                browser.open(page)
                point(browser, "click", *click)
                point(browser, "mousemove", *over)
                shoot(browser, *parts, folder / f"{name}.png")
        finally:
            browser.driver.quit()
    return 0


sys.exit(main())
