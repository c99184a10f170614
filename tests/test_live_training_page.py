"""The live training page in a real browser: started, watched, paused, drawn on, reset, closed and opened again."""

import base64
import io
import json

import numpy as np
import pytest
from support.live import served, until

from fastconv.pages.live_training import messages

pytest.importorskip("selenium")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

SIZES = [(1366, 900), (360, 740), (768, 1024), (1920, 1080)]
# Handwriting as points on the pad, in parts of its side.
DRAWN = {
    0: [
        [
            (0.5, 0.1),
            (0.32, 0.2),
            (0.25, 0.5),
            (0.32, 0.8),
            (0.5, 0.9),
            (0.68, 0.8),
            (0.75, 0.5),
            (0.68, 0.2),
            (0.5, 0.1),
        ]
    ],
    4: [[(0.6, 0.1), (0.25, 0.6), (0.8, 0.6)], [(0.62, 0.4), (0.6, 0.9)]],
}


@pytest.fixture(scope="module")
def live():
    with served(epochs=40) as running:
        yield running


class Page:
    """What a visitor reads and does."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url
        browser.get(url)
        until(lambda: self.text("status") == "ready" or self.number("step"))

    def find(self, name):
        return self.browser.find_element("id", name)

    def text(self, name):
        return self.find(name).text

    def number(self, name):
        digits = self.text(name).replace(",", "").replace("%", "").strip()
        return float(digits) if digits not in ("", "–") else 0.0

    def click(self, name):
        self.find(name).click()

    def pixels(self, css):
        """The values of a canvas, RGBA."""
        script = """const canvas = document.querySelector(arguments[0]);
            return [canvas.width, canvas.height, canvas.toDataURL().split(",")[1]];"""
        width, height, png = self.browser.execute_script(script, css)
        image = pytest.importorskip("PIL.Image").open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
        assert image.size == (width, height)
        return np.asarray(image)

    def bars(self, name):
        rows = self.find(name).find_elements("tag name", "li")
        return [
            float(row.find_element("class name", "share").text.replace("%", "").replace("–", "nan")) for row in rows
        ]

    def draw(self, strokes):
        pad = self.find("pad")
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", pad)
        side = pad.size["width"]
        for stroke in strokes:
            chain = ActionChains(self.browser, duration=10)
            for index, (x, y) in enumerate(stroke):
                chain.move_to_element_with_offset(pad, round((x - 0.5) * side), round((y - 0.5) * side))
                if index == 0:
                    chain.click_and_hold()
            chain.release().perform()

    def screenshot(self):
        size = self.browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        image = pytest.importorskip("PIL.Image").open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        return np.asarray(image)


@pytest.fixture
def page(browser, live):
    live.order("reset")
    live.order("settings", pace=25, learning_rate=0.003, batch_size=64)
    opened = Page(browser, live.url)
    yield opened
    live.order("pause")
    assert browser.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [entry["params"]["request"]["url"] for entry in sent if entry["method"] == "Network.requestWillBeSent"]
    assert urls
    assert [url for url in urls if not url.startswith((live.url, "data:", "about:", "chrome:"))] == []


def test_a_network_learns_before_ones_eyes(page, live):
    assert (page.text("status"), page.text("run"), page.number("step")) == ("ready", "Start", 0)
    filters, curve = page.pixels("#filters"), page.pixels("#loss-chart")
    maps = page.pixels("[data-layer=relu3]")
    assert len(np.unique(filters.reshape(-1, 4), axis=0)) > 50
    Select(page.find("pace")).select_by_visible_text("as fast as it can")
    page.click("run")
    until(lambda: page.text("status") == "training")
    until(lambda: page.number("accuracy") > 90)
    until(lambda: int(page.text("right")) >= 17)
    assert page.text("run") == "Pause"
    until(lambda: np.mean(live.trainer.snapshot.losses[-10:]) < 0.7)
    assert live.trainer.snapshot.losses[0] > 2
    for before, name in ((filters, "#filters"), (curve, "#loss-chart"), (maps, "[data-layer=relu3]")):
        assert not np.array_equal(before, page.pixels(name))
    page.click("run")
    until(lambda: page.text("status") == "paused")
    step = until(lambda: page.number("step") == live.trainer.snapshot.step and page.number("step"))
    shown = page.pixels("#loss-chart")
    assert {(live.order("settings")["step"], page.number("step")) for _ in range(20)} == {(step, step)}
    assert np.array_equal(shown, page.pixels("#loss-chart"))
    told = f"Test accuracy {page.text('accuracy')} after {step:.0f} steps"
    assert page.find("accuracy-chart").get_attribute("aria-label") == told
    page.click("run")
    until(lambda: page.number("step") > step)
    page.click("reset")
    until(lambda: page.text("status") == "ready")
    assert (page.number("step"), page.number("epoch"), page.text("run")) == (0, 0, "Start")
    until(lambda: np.array_equal(page.pixels("#filters"), filters))
    assert page.number("accuracy") < 50


def test_a_chosen_digit_goes_through_the_layers(page, live):
    seen = set()
    choices = page.browser.find_elements("css selector", "#digits input")
    assert len(choices) == 21
    assert not choices[20].is_enabled()
    for number in (0, 7, 19):
        page.browser.execute_script("arguments[0].click()", choices[number])
        digit = number // 2
        until(lambda digit=digit: page.text("input-caption") == f"a {digit}, 8×8")
        until(lambda number=number: _are_shown(page, live.trainer.snapshot, number))
        seen.add(page.pixels("[data-layer=relu2]").tobytes())
        assert page.text("verdict").startswith("It says")
    assert len(seen) == 3
    assert "48 maps of 4×4" in page.browser.find_element("css selector", "[data-layer=pool] + figcaption").text


def _are_shown(page, snapshot, number):
    expected = messages.update(snapshot, number, None)["probabilities"][number]
    return np.allclose(page.bars("bars"), 100 * np.array(expected), atol=0.51)


def test_the_keyboard_is_enough(page):
    page.browser.execute_script("document.querySelector('#digits input').focus()")
    ActionChains(page.browser).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT).perform()
    until(lambda: page.text("input-caption") == "a 1, 8×8")
    page.browser.execute_script("document.getElementById('run').focus()")
    ActionChains(page.browser).send_keys(Keys.SPACE).perform()
    until(lambda: page.text("status") == "training")


def test_a_drawn_digit_is_read(page, live, monkeypatch):
    answers, predict = [], messages.prediction
    monkeypatch.setattr(messages, "prediction", lambda *given: answers.append(predict(*given)) or answers[-1])
    live.order("settings", pace=0)
    live.order("start")
    until(lambda: live.trainer.snapshot.step > 250)
    live.order("pause")
    assert np.isnan(page.bars("drawn-bars")).all()
    blank = page.pixels("#reduced")
    for number, strokes in DRAWN.items():
        page.draw(strokes)
        until(lambda number=number: page.text("drawn-verdict") == f"It says {number}")
        assert np.argmax(page.bars("drawn-bars")) == number
        assert sum(page.bars("drawn-bars")) == pytest.approx(100, abs=4)
        reduced = page.pixels("#reduced")
        assert not np.array_equal(blank, reduced)
        if number == 0:
            page.click("clear")
            until(lambda: page.text("drawn-verdict") == "Nothing drawn yet")
            assert np.array_equal(blank, page.pixels("#reduced"))
    own = page.browser.find_element("css selector", "#digits .own input")
    page.browser.execute_script("arguments[0].click()", own)
    until(lambda: page.text("input-caption") == "your drawing, 8×8")
    assert page.bars("bars") == page.bars("drawn-bars")
    before = page.bars("drawn-bars")
    live.order("start")  # the answer follows the network
    until(lambda: page.bars("drawn-bars") != before)
    step = live.order("pause")["step"]
    until(lambda: answers[-1]["step"] == step)
    until(lambda: np.allclose(page.bars("drawn-bars"), 100 * np.array(answers[-1]["probabilities"]), atol=0.51))
    page.click("undo")
    page.click("undo")
    until(lambda: page.text("input-caption") == "a 0, 8×8")


def test_a_finger_draws_too(page, live):
    box = page.browser.execute_script(
        "const pad = document.getElementById('pad'); pad.scrollIntoView({block: 'center'});"
        "const box = pad.getBoundingClientRect(); return [box.x, box.y, box.width];"
    )
    points = [(box[0] + box[2] / 2, box[1] + box[2] * y) for y in np.linspace(0.15, 0.85, 8)]
    touch = "Input.dispatchTouchEvent"
    for kind, at in (("touchStart", points[:1]), *(("touchMove", [point]) for point in points), ("touchEnd", [])):
        page.browser.execute_cdp_cmd(touch, {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in at]})
    until(lambda: page.text("drawn-verdict").startswith("It says"))
    inked = page.pixels("#pad")[..., 3] > 0
    assert inked.any(axis=1).mean() > 0.6
    assert inked.any(axis=0).mean() < 0.15


def test_a_page_that_is_loaded_again_shows_all_that_has_happened(page, live):
    live.order("settings", pace=0)
    live.order("start")
    until(lambda: page.number("step") > 60)
    step = live.order("pause")["step"]
    until(lambda: page.number("step") == step)
    shown = page.pixels("#loss-chart")
    page.browser.refresh()
    until(lambda: page.number("step") == step)
    until(lambda: np.array_equal(shown, page.pixels("#loss-chart")))
    assert page.text("run") == "Go on"


def test_two_tabs_show_one_training(page, live):
    first = page.browser.current_window_handle
    page.browser.switch_to.new_window("window")
    other = Page(page.browser, live.url)
    other.click("run")
    until(lambda: other.number("step") > 5)
    other.click("run")
    step = until(lambda: other.text("status") == "paused" and live.trainer.snapshot.step)
    page.browser.switch_to.window(first)
    until(lambda: page.number("step") == step)
    assert page.text("status") == "paused"
    page.browser.get("about:blank")
    until(lambda: len(live.web.server_state.tasks) == 1)


def test_hidden_tabs_cost_nothing_and_catch_up(page, live):
    streams = live.web.server_state.tasks
    until(lambda: len(streams) == 1)
    first = page.browser.current_window_handle
    for _ in range(7):  # more than a browser connects to one server at the same time
        page.browser.switch_to.new_window("tab")
        last = Page(page.browser, live.url)
        until(lambda: len(streams) == 1)
    last.click("run")
    until(lambda: last.number("step") > 5)
    step = live.order("pause")["step"]
    page.browser.switch_to.window(first)
    until(lambda: page.number("step") == step)
    until(lambda: len(streams) == 1)


def test_the_page_fits_every_screen_in_both_schemes(page, live):
    live.order("start")
    until(lambda: page.number("step") > 20)
    live.order("pause")
    page.draw(DRAWN[4])
    brightness = {}
    for scheme in ("light", "dark"):
        page.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        for width, height in SIZES:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            until(lambda width=width: page.browser.execute_script("return innerWidth") == width)
            wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.browser.execute_script(wide) <= 0, f"wider than {width}"
            for control in page.browser.find_elements("css selector", "button, select"):
                assert control.size["height"] >= 28
            shot = page.screenshot()
            brightness[scheme] = shot.mean()
            assert len(np.unique(shot.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32))) > 200
    assert brightness["dark"] < 80 < 200 < brightness["light"]


def test_a_server_that_has_ended_is_told_and_found_again(browser):
    with served() as live:
        port = live.client.base_url.port
        page = Page(browser, live.url)
        assert not page.find("trouble").is_displayed()
    until(lambda: page.text("status") == "not connected")
    assert "fastconv demo --web" in page.text("trouble")
    assert not page.find("run").is_enabled()
    with served(port=port) as live:
        until(lambda: page.text("status") == "ready")
        page.click("run")
        until(lambda: live.trainer.snapshot.step > 0)
