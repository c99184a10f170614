"""Takes the pictures of the two interactive pages, in Chromium without a window.

python docs/guide/screenshots.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from run import PICTURES, fewer_colours
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

# Seconds until something that has to come counts as lost; until a filter that slides has arrived.
PATIENCE, SLIDING = 60, 1.0
SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1")
# A 7, from the middle of the pad, in parts of its size.
STROKE = ((-0.2, -0.25), (0.2, -0.25), (-0.05, 0.3))


@contextmanager
def browser(size: str) -> Iterator[webdriver.Chrome]:
    """A window of a size, "width,height"."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    with tempfile.TemporaryDirectory() as profile:
        for switch in (*SWITCHES, f"--window-size={size}", f"--user-data-dir={profile}"):
            options.add_argument(switch)
        driven = webdriver.Chrome(options=options, service=Service(executable_path=shutil.which("chromedriver")))
        try:
            yield driven
        finally:
            driven.quit()


def fastconv(*arguments: str, **settings) -> subprocess.Popen:
    """The command in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "fastconv", *arguments], text=True, **settings)


def explain_conv(picture: Path) -> None:
    """The page of ``fastconv explain-conv`` after some steps."""
    with tempfile.TemporaryDirectory() as folder, browser("1180,1290") as driven:
        page = Path(folder, "conv.html")
        if fastconv("explain-conv", "--out", str(page), stdout=subprocess.DEVNULL).wait():
            sys.exit("the page was not written")
        driven.get(page.as_uri())
        for _ in range(11):
            driven.execute_script("document.getElementById('forth').click()")
        time.sleep(SLIDING)
        driven.save_screenshot(str(picture))


def live_training(picture: Path) -> None:
    """The page of ``fastconv demo --web`` after some epochs, with a digit drawn on it."""
    server = fastconv("demo", "--web", "--port", "0", "--no-browser", stdout=subprocess.PIPE)
    try:
        address = server.stdout.readline().split(" on ")[1].split()[0]
        with browser("1180,1330") as driven:
            driven.get(address)
            wait = WebDriverWait(driven, PATIENCE)
            wait.until(lambda _: driven.find_element("id", "run").is_enabled())
            driven.execute_script("document.getElementById('run').click()")
            wait.until(lambda _: _number(driven.find_element("id", "epoch").text) >= 8)
            driven.execute_script("document.getElementById('run').click()")
            _draw(driven, driven.find_element("id", "pad"))
            wait.until(lambda _: "Nothing" not in driven.find_element("id", "drawn-verdict").text)
            driven.execute_script("scrollTo(0, 0)")
            driven.save_screenshot(str(picture))
    finally:
        server.terminate()
        server.communicate()


def _number(text: str) -> int:
    digits = text.split()[0] if text.split() else ""
    return int(digits) if digits.isdecimal() else 0


def _draw(driven: webdriver.Chrome, pad) -> None:
    width, height = pad.size["width"], pad.size["height"]
    places = [(round(x * width), round(y * height)) for x, y in STROKE]
    actions = ActionChains(driven, duration=100).move_to_element_with_offset(pad, *places[0]).click_and_hold()
    for begin, end in pairwise(places):
        actions.move_by_offset(end[0] - begin[0], end[1] - begin[1])
    actions.release().perform()


PAGES = {"explain-conv.png": explain_conv, "live-training.png": live_training}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PICTURES, metavar="FOLDER", help="(default: the guide's)")
    folder = parser.parse_args().out
    for name, take in PAGES.items():
        take(folder / name)
        fewer_colours(folder / name, folder / name)
        print(f"taken: {folder / name}")


if __name__ == "__main__":
    main()
