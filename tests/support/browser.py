"""A Chromium without a window, driven by Selenium, and what a page that needs no network must leave undone."""

import contextlib
import json
import os
import shutil

import pytest

SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--window-size=1366,900"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--force-device-scale-factor=1"),
)


@contextlib.contextmanager
def chromium(profile):
    """A driven Chromium; where it is absent the test is skipped, or fails with FASTCONV_REQUIRE_BROWSER=1."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        webdriver = None
    if not (binary and driver and webdriver):
        lacking = "the browser test needs selenium, chromium and chromedriver"
        (pytest.fail if os.environ.get("FASTCONV_REQUIRE_BROWSER") == "1" else pytest.skip)(lacking)
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driving = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        yield driving
    finally:
        driving.quit()


def check_nothing_was_loaded(browser, path):
    """The page at ``path`` is shown, and asked for nothing but itself."""
    assert browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    urls = {entry["request"]["url"] for entry in sent if entry["documentURL"] == path.as_uri()}
    assert {url for url in urls if not url.startswith("data:")} == {path.as_uri()}
