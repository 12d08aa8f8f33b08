# SPDX-License-Identifier: BSD-2-Clause
"""Headless Chromium that shows a page of vmmu report, for tests and pictures."""

import re
import shutil
import time

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.keys import Keys
except ImportError:
    webdriver = Service = Keys = None


def missing():
    """What keeps pages from being shown here, or None."""
    if webdriver and shutil.which("chromium") and shutil.which("chromedriver"):
        return None
    return "chromium, chromium-driver or python3-selenium is missing: scripts/setup tests installs them"


class Browser:
    def __init__(self, folder):
        options = webdriver.ChromeOptions()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}"):
            options.add_argument(word)
        options.binary_location = shutil.which("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        self.driver.set_page_load_timeout(120)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def width(self, width):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})

    def open(self, page):
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(page.as_uri())
        for _ in range(600):
            if self.run("return document.documentElement.dataset.ready"):
                break
            time.sleep(0.1)
        self.settle()

    def settle(self):
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def requests(self):
        """Addresses that the page asked for, but for itself."""
        found = re.findall(r'"Network\.requestWillBeSent".*?"url":"([^"]*)"',
                           "\n".join(entry["message"] for entry in self.driver.get_log("performance")))
        return [url for url in found if not url.startswith(("data:", "file:///")) or url.endswith((".ico", ".js", ".css"))]

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def count(self, selector):
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)
