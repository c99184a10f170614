"""The page that explains convolution: its numbers are the engine's, every control works, nothing is loaded."""

import functools
import itertools
import json
import re

import numpy as np
import pytest
from support.browser import check_nothing_was_loaded, chromium

import fastconv.functional as F
from fastconv import cli, weights
from fastconv.errors import FormatError
from fastconv.pages import embedding, explain_conv
from fastconv.pages.explain_conv import filters, page, picture

NASTY = "</script><script>alert('$x')</script><!-- &amp; \u2028\"{{data}}"


# The picture and the filters


def test_a_volume_is_made_of_means_from_the_darkest_to_the_brightest(rng):
    pixels = rng.integers(0, 256, (picture.SIDE, picture.SIDE, 3)).astype(np.uint8)
    volume = picture.Picture("", pixels).volume(6)
    means = pixels.reshape(6, 8, 6, 8, 3).mean((1, 3)).transpose(2, 0, 1)
    expected = (means - means.min()) / np.ptp(means) * picture.BRIGHTEST
    assert np.abs(volume - expected).max() <= 0.5 + 1e-9
    assert volume.min() == 0
    assert volume.max() == picture.BRIGHTEST


@pytest.mark.parametrize("size", page.SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_volume_has_every_size_whether_it_divides_or_not(size, channels):
    volume = picture.bundled().volume(size, channels)
    assert volume.shape == (channels, size, size)
    assert len(np.unique(volume)) > 3


def test_an_even_picture_gives_an_even_volume():
    assert not picture.Picture("", np.full((picture.SIDE, picture.SIDE, 3), 77, np.uint8)).volume(7).any()


def test_the_middle_square_of_an_image_is_read(tmp_path):
    image = pytest.importorskip("PIL.Image")
    wide = np.zeros((60, 100, 3), np.uint8)
    wide[:, 20:80] = 200
    wide[:, 20:50, 0] = 10
    image.fromarray(wide).save(tmp_path / "wide.png")
    shown = picture.read(tmp_path / "wide.png")
    assert shown.caption == "wide.png"
    assert np.unique(shown.pixels[:, :24, 0]).tolist() == [10]
    assert np.unique(shown.pixels[:, 24:]).tolist() == [200]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_has_small_whole_filters_of_all_sizes(channels):
    sizes = range(1, page.LARGEST_FILTER + 1)
    kinds = (
        filters.drawn(channels, sizes),
        filters.learned(picture.bundled(), channels, sizes),
        filters.random(0, channels, sizes),
    )
    for kind, size in itertools.product(kinds, sizes):
        bank = kind.banks[size]
        assert bank.weight.shape == (filters.MOST, channels, size, size)
        assert bank.weight.dtype == bank.bias.dtype == np.int64
        assert np.abs(bank.weight).max() <= 50
        assert len(bank.names) == len(bank.bias) == filters.MOST


def test_a_learned_bias_takes_away_the_mean_output():
    pixels = picture.bundled().volume(24).astype(np.float32)
    bank = filters.learned(picture.bundled(), 3, [3]).banks[3]
    out = F.conv2d(pixels, bank.weight.astype(np.float32), bank.bias.astype(np.float32))
    assert np.abs(out.mean((1, 2))).max() <= 0.5


def test_the_same_seed_gives_the_same_page_and_another_one_another():
    assert explain_conv.render(size=3, seed=3) == explain_conv.render(size=3, seed=3)
    assert explain_conv.render(size=3, seed=3) != explain_conv.render(size=3, seed=4)


def test_filters_of_a_file_are_the_strongest_of_its_first_layer_scaled(tmp_path, rng):
    weight = rng.normal(size=(6, 3, 5, 5)).astype(np.float32)
    weight[[1, 4]] *= 0.01
    bias = rng.normal(size=6).astype(np.float32)
    others = {"a.weight": np.ones((4, 8, 3, 3), np.float32), "b.weight": np.ones((4, 1, 3, 3), np.float32)}
    weights.save({**others, "first.weight": weight, "first.bias": bias}, tmp_path / "net.npz")
    found = filters.of_file(tmp_path / "net.npz")
    (bank,) = found.banks.values()
    scale = 9 / np.abs(weight).max()
    np.testing.assert_allclose(bank.weight, weight[[0, 2, 3, 5]] * scale, atol=0.5)
    np.testing.assert_allclose(bank.bias, bias[[0, 2, 3, 5]] * scale * picture.BRIGHTEST, atol=0.501)
    assert bank.names[1] == "number 3 of 6"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"fc.weight": np.ones((3, 4))}, "of convolutions it has none"),
        ({"c.weight": np.ones((3, 2, 3, 3))}, "c.weight (3, 2, 3, 3)"),
        ({"c.weight": np.ones((3, 3, 3, 5))}, "windows of F x F"),
        ({"c.weight": np.ones((3, 3, 13, 13))}, "F from 1 to 11"),
        ({"c.weight": np.full((3, 3, 3, 3), np.nan)}, "not finite"),
        ({"c.weight": np.full((3, 3, 3, 3), 1e-300), "c.bias": np.ones(3)}, "does not fit"),
        ({"c.weight": np.ones((3, 3, 3, 3)), "c.bias": np.ones(2)}, "does not fit"),
    ],
)
def test_files_without_filters_of_images_are_refused(state, words, tmp_path):
    weights.save(state, tmp_path / "net.npz")
    with pytest.raises(FormatError, match=re.escape(words)):
        filters.of_file(tmp_path / "net.npz")


def test_filters_that_are_all_zero_stay_so(tmp_path):
    weights.save({"c.weight": np.zeros((1, 1, 2, 2), np.float32)}, tmp_path / "net.npz")
    assert not filters.of_file(tmp_path / "net.npz").banks[2].weight.any()


# The page as text


def test_data_stay_data_whatever_they_hold():
    text = embedding.render(page.__package__, page.STYLES, page.SCRIPTS, title=NASTY, data={"a": NASTY, NASTY: 1})
    assert text.count("<script") == 2
    assert "<script>alert" not in text
    ((inside,),) = [re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)]
    assert json.loads(inside) == {"a": NASTY, NASTY: 1}


def test_numbers_that_json_does_not_know_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        embedding.json_text([float("nan")])


def test_the_policy_lets_nothing_in():
    text = default_page()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"url\((?!#)|@import|https?:", text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "{folder}/page.txt"], "must end in .html or .htm"),
        (["--out", "{folder}/absent/page.html"], "does not exist"),
        (["--size", "2"], "size must be from 3 to 12, got 2"),
        (["--size", "13"], "size must be from 3 to 12, got 13"),
        (["--seed", "-1"], "seed must not be negative, got -1"),
        (["--image", "{folder}/absent.png"], "absent.png"),
        (["--image", "{folder}"], "is a directory"),
        (["--image", "{folder}/text.txt"], "no image of a known format"),
        (["--weights", "{folder}/text.txt"], "text.txt"),
        (["--weights", "{folder}/absent.npz"], "absent.npz"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(arguments, words, tmp_path, capsys):
    pytest.importorskip("PIL")
    (tmp_path / "text.txt").write_text("no image")
    out = tmp_path / "page.html"
    given = [argument.format(folder=tmp_path) for argument in arguments]
    assert cli.main(["explain-conv", "--out", str(out), *given]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastconv: ")
    assert words in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_size_must_be_a_number(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["explain-conv", "--size", "big"])
    assert stop.value.code == 2
    assert "positive integer" in capsys.readouterr().err


@pytest.mark.parametrize("is_there", [True, False])
def test_open_asks_the_browser_and_says_when_there_is_none(is_there, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda url: asked.append(url) or is_there)
    out = tmp_path / "page.html"
    assert cli.main(["explain-conv", "--out", str(out), "--open"]) == (0 if is_there else 1)
    assert asked == [out.as_uri()]
    assert ("no browser" in capsys.readouterr().err) != is_there


# The page in a browser


@functools.cache
def default_page():
    return explain_conv.render()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driving:
        yield driving


@pytest.fixture
def browser(shared, tmp_path):
    """The page as it is by default, freshly loaded; in the end its console must be empty."""
    shared.get_log("performance")
    path = tmp_path / "conv.html"
    path.write_text(default_page(), "utf-8")
    shared.get(path.as_uri())
    yield shared
    assert shared.get_log("browser") == []
    shared.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    shared.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def choose(browser, **setting):
    """Click on radio buttons."""
    choices = [f"#choices input[name={name}][value='{value}']" for name, value in setting.items()]
    browser.execute_script("for (const one of arguments[0]) document.querySelector(one).click()", choices)


def press(browser, key, target="body"):
    from selenium.webdriver.common.keys import Keys

    browser.find_element("css selector", target).send_keys(getattr(Keys, key))


def shown(browser):
    """All numbers that the page shows, as a reader sees them."""
    return browser.execute_script("""
        const number = cell => Number(cell.textContent.replace("\\u2212", "-").replace(/[()]/g, ""));
        const all = (root, selector, f) => Array.from(root.querySelectorAll(selector), f);
        const numbersOf = (root, selector) => all(root, selector, number);
        const text = id => document.getElementById(id).textContent.replaceAll("\u00a0", " ");
        return {
            planes: all(document, "#input .pixels", plane => numbersOf(plane, ".cell:not(.padding)")),
            padded: numbersOf(document, "#input .padding"),
            unread: all(document, "#input .pixels", plane => plane.querySelectorAll(".unread").length),
            weight: all(document, "#output .map", map => all(map, ".weights", slice => numbersOf(slice, ".cell"))),
            bias: numbersOf(document, "#output .bias b"),
            outputs: all(document, "#output .map", map =>
                all(map, ".output", cell => cell.textContent && number(cell))),
            current: all(document, "#output [aria-current]", cell => Number(cell.dataset.step)),
            taps: all(document, "#arithmetic .taps", block => all(block, ".tap", tap => numbersOf(tap, "i, b"))),
            sums: numbersOf(document, "#arithmetic .sum b"),
            equation: numbersOf(document, "#equation b"),
            formula: text("formula"), verdict: text("verdict"), check: text("check"), counts: text("counts"),
            count: text("count"), spoken: text("spoken"), playing: text("play-text"),
        };""")


def expected(page_shows, stride, padding):
    """What the engine computes from the pixels and weights that the page shows."""
    planes, weight = np.array(page_shows["planes"]), np.array(page_shows["weight"])
    size, taps = (int(np.sqrt(count)) for count in (planes.shape[-1], weight.shape[-1]))
    x = planes.reshape(-1, size, size).astype(np.float32)
    filters_shown = weight.reshape(*weight.shape[:2], taps, taps).astype(np.float32)
    return F.conv2d(x, filters_shown, np.array(page_shows["bias"], np.float32), stride=stride, padding=padding)


def select(browser, kind):
    browser.execute_script(f"""
        const select = document.getElementById("filters");
        select.value = {kind};
        select.dispatchEvent(new Event("change"));""")


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_shown_outputs_are_those_of_the_engine(browser, kind, rng):
    select(browser, kind)
    settings = list(itertools.product(range(1, 9), page.STRIDES, page.PADDINGS))
    for size, stride, padding in [*rng.permutation(settings)[:20].tolist(), [8, 1, 0], [3, 3, 0], [1, 4, 3]]:
        filters_chosen = int(rng.integers(1, filters.MOST + 1))
        choose(browser, F=size, S=stride, P=padding, K=filters_chosen)
        press(browser, "END")
        found = shown(browser)
        if size > 7 + 2 * padding:
            assert "does not fit" in found["verdict"]
            assert "kernel size can't be greater than the padded input" in found["verdict"]
            assert found["outputs"] == [[]] * filters_chosen
            continue
        out = expected(found, stride, padding)
        assert out.shape[0] == filters_chosen
        assert found["outputs"] == out.reshape(filters_chosen, -1).tolist()
        assert f"{out.size} of {out.size} outputs are equal" in found["check"]
        assert len(found["padded"]) == 3 * ((7 + 2 * padding) ** 2 - 49)
        assert not any(found["padded"])


def test_the_page_checks_every_setting_against_the_engine(browser):
    checks = browser.execute_script("""
        const found = [];
        const values = name => Array.from(document.querySelectorAll(`#choices input[name=${name}]`));
        const kinds = document.getElementById("filters");
        for (kinds.value of [0, 1, 2]) {
            kinds.dispatchEvent(new Event("change"));
            for (const F of values("F")) for (const S of values("S")) for (const P of values("P")) {
                for (const one of [F, S, P]) one.click();
                found.push([F.value, P.value, document.getElementById("check").textContent]);
            }
        }
        return found;""")
    assert len(checks) == 3 * 128
    for size, padding, said in checks:
        numbers = re.search(r"✓ .*: (\d+) of (\d+) outputs are equal", said)
        if int(size) > 7 + 2 * int(padding):
            assert "refuses this setting, too" in said
        else:
            assert int(numbers[1]) == int(numbers[2]) > 0


def test_a_wrong_number_is_seen_by_the_page_itself(shared, tmp_path):
    text, found = re.subn(r'("3,2,1":\{"shape":\[4,4,4\],"values":\[)', r"\g<1>7,", default_page())
    assert found == 3
    (tmp_path / "wrong.html").write_text(text, "utf-8")
    shared.get((tmp_path / "wrong.html").as_uri())
    said = shared.find_element("css selector", "#check.bad").text
    assert re.search(r"✗ .*: \d of 32 outputs are equal", said)


def test_every_step_shows_its_window_its_products_and_their_sum(browser):
    choose(browser, F=3, S=2, P=1, K=2)
    found = shown(browser)
    out = expected(found, 2, 1)
    padded = np.pad(np.array(found["planes"]).reshape(3, 7, 7), ((0, 0), (1, 1), (1, 1)))
    for step, (k, row, column) in enumerate(np.ndindex(out.shape)):
        found = shown(browser)
        taps = np.array(found["taps"])
        assert found["current"] == [step]
        window = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        assert taps[..., 0].tolist() == window.reshape(3, -1).tolist()
        assert taps[..., 1].tolist() == found["weight"][k]
        assert (taps[..., 0] * taps[..., 1] == taps[..., 2]).all()
        assert found["sums"] == taps[..., 2].sum(1).tolist()
        assert found["equation"] == [*found["sums"], found["bias"][k], out[k, row, column]]
        assert found["count"] == f"{step + 1} of 32 outputs"
        assert [cell for filled in found["outputs"] for cell in filled[:]] == [
            value if index <= step else "" for index, value in enumerate(out.ravel())
        ]
        browser.find_element("id", "forth").click()
    assert shown(browser)["current"] == [0]


def test_the_frames_stand_where_the_window_is(browser):
    choose(browser, F=3, S=2, P=1)
    browser.execute_script("document.querySelector('[data-step=\"7\"]').click()")
    places = browser.execute_async_script("""
        const done = arguments[0];
        const box = element => element.getBoundingClientRect();
        setTimeout(() => done(Array.from(document.querySelectorAll("#input .board"), board => {
            const cells = board.querySelectorAll(".cell");
            const [first, last] = [box(cells[2 * 9 + 6]), box(cells[4 * 9 + 8])];
            const { left, top, right, bottom } = box(board.querySelector(".window"));
            return [left - first.left, top - first.top, right - last.right, bottom - last.bottom];
        })), 600);""")
    assert len(places) == 3
    assert np.abs(places).max() < 1


def test_play_pause_and_the_ends(browser):
    browser.execute_script("""
        const speed = document.getElementById("speed");
        speed.value = 5; speed.dispatchEvent(new Event("input"));""")
    assert browser.find_element("id", "pace").text == "16 steps a second"
    browser.find_element("id", "play").click()
    _wait(browser, "document.querySelectorAll('.computed').length >= 4")
    browser.find_element("id", "play").click()
    paused = shown(browser)
    assert paused["playing"] == "Play"
    browser.execute_async_script("setTimeout(arguments[0], 400)")
    assert shown(browser) == paused
    press(browser, "SPACE")
    assert shown(browser)["playing"] == "Pause"
    _wait(browser, "document.getElementById('play-text').textContent === 'Play'")
    ended = shown(browser)
    assert ended["count"] == "32 of 32 outputs"
    assert ended["current"] == [31]
    browser.find_element("id", "play").click()
    _wait(browser, "document.querySelectorAll('.computed').length < 20")
    browser.find_element("id", "back").click()
    assert shown(browser)["playing"] == "Play"


def test_keys_step_jump_and_move_between_outputs(browser):
    press(browser, "ARROW_RIGHT")
    press(browser, "ARROW_RIGHT")
    press(browser, "ARROW_LEFT")
    assert shown(browser)["current"] == [1]
    assert "Filter 1, row 1, column 2: red " in shown(browser)["spoken"]
    press(browser, "END")
    assert shown(browser)["current"] == [31]
    press(browser, "HOME")
    found = shown(browser)
    assert found["current"] == [0]
    assert found["count"] == "1 of 32 outputs"
    browser.find_element("css selector", '[data-step="21"]').click()
    moves = {"ARROW_DOWN": 25, "ARROW_RIGHT": 26, "ARROW_UP": 22, "ARROW_LEFT": 21, "END": 23, "HOME": 20}
    for key, step in moves.items():
        press(browser, key, ":focus")
        found = shown(browser)
        assert found["current"] == [step]
        assert browser.switch_to.active_element.get_attribute("data-step") == str(step)
    press(browser, "ARROW_LEFT", ":focus")
    assert shown(browser)["current"] == [20]
    assert browser.execute_script("return document.querySelectorAll('.output[tabindex=\"0\"]').length") == 2


def test_the_keyboard_alone_changes_the_setting(browser):
    radio = "#choices input[name=S]:checked"
    press(browser, "ARROW_LEFT", radio)
    found = shown(browser)
    assert "7 outputs" not in found["count"]
    assert re.sub(r"\s", "", found["formula"]).endswith("7−3+2·11+1=7")
    assert found["current"] == [0]
    assert browser.switch_to.active_element.get_attribute("name") == "S"


def test_a_stride_that_does_not_divide_is_explained(browser):
    choose(browser, F=3, S=3, P=0)
    found = shown(browser)
    assert "2.33" in found["formula"]
    assert "rounded down: 2" in found["formula"]
    assert "does not divide evenly" in found["verdict"]
    assert "It divides with F = 1, 4 or 7; or S = 1, 2 or 4; or P = 1." in found["verdict"]
    assert found["unread"] == [13] * 3
    assert len(browser.find_elements("css selector", "#input .next")) == 3
    uneven = browser.execute_script("""
        return Array.from(document.querySelectorAll(".uneven input"), input => input.name + input.value)""")
    assert uneven == ["F2", "F3", "F5", "F6", "F8", "S3", "P0", "P2", "P3"]


def test_a_filter_that_does_not_fit_is_explained_and_a_way_out_works(browser):
    choose(browser, F=8, S=1, P=0)
    found = shown(browser)
    assert "The filter does not fit. It is 8 wide, the image only 7" in found["verdict"]
    assert "It fits, and evenly, with F = 1, 2, 3, 4, 5, 6 or 7; or P = 1, 2 or 3." in found["verdict"]
    assert "refuses this setting, too" in found["check"]
    for name in ("play", "forth", "back", "restart"):
        assert not browser.find_element("id", name).is_enabled()
    press(browser, "SPACE")
    press(browser, "END")
    choose(browser, P=2)
    assert shown(browser)["count"] == "1 of 32 outputs"


def test_parameters_are_counted_shared_and_unshared(browser):
    choose(browser, F=5, S=2, P=2, K=3)
    counts = browser.execute_script("""
        return Array.from(document.querySelectorAll("#counts dd"), dd => dd.firstChild.textContent)""")
    assert counts == [f"{n:,}" for n in (3 * (75 + 1), 16 * 3 * (75 + 1), 16 * 3 * (147 + 1))]


def test_own_files_with_hostile_names_are_shown_as_text(shared, tmp_path, rng):
    image = pytest.importorskip("PIL.Image")
    name = "<img src=x onerror=alert(1)><script>{{data}}"
    image.fromarray(rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)).save(tmp_path / f"{name}.png")
    state = {"c.weight": rng.normal(size=(2, 1, 9, 9)).astype(np.float32), "c.bias": np.ones(2, np.float32)}
    weights.save(state, tmp_path / f"{name}.npz")
    options = {"image": tmp_path / f"{name}.png", "weights": tmp_path / f"{name}.npz", "size": 10}
    path = explain_conv.save(tmp_path / "own.html", **options)
    shared.get(path.as_uri())
    assert shared.find_element("id", "caption").text == f"{name}.png"
    assert (
        shared.execute_script("return document.getElementById('filters').selectedOptions[0].text") == f"from {name}.npz"
    )
    found = shown(shared)
    assert len(found["planes"]) == 1
    choose(shared, S=1, P=3, K=2)
    press(shared, "END")
    found = shown(shared)
    assert found["outputs"] == expected(found, 1, 3).reshape(2, -1).tolist()
    assert len(found["outputs"][0]) == 64
    select(shared, 1)
    found = shown(shared)
    assert "10 − 3 + 2·3" in found["formula"]  # a kind without filters of that size
    assert len(found["weight"]) == 2
    assert shared.get_log("browser") == []


def test_injected_scripts_do_not_run(shared, tmp_path):
    text = default_page().replace("<noscript>", "<script>window.injected = 1</script><noscript>")
    (tmp_path / "page.html").write_text(text, "utf-8")
    shared.get((tmp_path / "page.html").as_uri())
    assert shared.execute_script("return window.injected ?? null") is None
    assert "Content Security Policy" in shared.get_log("browser")[0]["message"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1366, 2560])
def test_nothing_is_loaded_and_every_width_has_room(browser, width, scheme):
    _screen(browser, width, scheme)
    check_nothing_was_loaded(browser, _path(browser))
    for setting in ({"F": 3, "S": 3, "P": 0, "K": 4}, {"F": 8, "S": 1, "P": 3, "K": 2}, {"F": 8, "S": 1, "P": 0}):
        choose(browser, **setting)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_controls_are_named(browser, scheme):
    _screen(browser, 1366, scheme)
    choose(browser, F=3, S=3, P=1, K=4)
    press(browser, "END")
    contrasts = browser.execute_script(CONTRASTS)
    assert len(contrasts) > 300
    assert [found for found in contrasts if found[-1] < 4.5] == []
    unnamed = browser.execute_script("""
        return Array.from(document.querySelectorAll("button, input, select, canvas, [role=img], [role=grid], progress"))
            .filter(one => !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim()))
            .map(one => one.outerHTML)""")
    assert unnamed == []


# All texts and their contrast with the nearest plain background; a canvas gives any colour as numbers.
CONTRASTS = """
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = colour => {
        pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
        return pen.getImageData(0, 0, 1, 1).data;
    };
    const linear = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const ground = element => {
        for (; element; element = element.parentElement) {
            const found = rgba(getComputedStyle(element).backgroundColor);
            if (found[3] === 255) return found;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const style = getComputedStyle(element);
        const own = Array.from(element.childNodes).some(node => node.nodeType === 3 && node.data.trim());
        if (!own || element.closest("script, noscript, .unseen, .unread") || !element.getClientRects().length) continue;
        const [ink, paper] = [luminance(rgba(style.color)), luminance(ground(element))];
        const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        found.push([element.className, element.textContent.slice(0, 40), contrast]);
    }
    return found;"""


def _wait(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda driving: driving.execute_script(f"return {condition}"))


def _screen(browser, width, scheme):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def _path(browser):
    from pathlib import Path
    from urllib.parse import unquote, urlparse

    return Path(unquote(urlparse(browser.current_url).path))
