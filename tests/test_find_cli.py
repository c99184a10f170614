"""fastconv locate and fastconv find as a user types them: what they print, write and draw, and what they refuse."""

import json
import sys

import numpy as np
import pytest

from fastconv import cli, scanning
from fastconv.scanning import pages

image_module = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory):
    """Where the finder is kept that the first of these tests teaches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTCONV_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def picture(path):
    return np.asarray(image_module.open(path).convert("RGB"))


def save(array, path):
    image_module.fromarray(np.asarray(array, np.uint8)).save(path)
    return str(path)


@pytest.fixture
def form(tmp_path, capsys):
    """A composed form, and what is on it."""
    path = tmp_path / "form.png"
    assert cli.main(["find", "--compose", str(path), "--seed", "7", "--count", "30", "--size", "80,110"]) == 0
    capsys.readouterr()
    return path, json.loads((tmp_path / "form.json").read_text())["digits"]


@pytest.mark.parametrize("colour", [False, True])
def test_locate_prints_and_draws_the_peaks(colour, tmp_path, capsys, rng):
    pytest.importorskip("matplotlib")
    pixels = rng.integers(0, 256, (60, 80, 3) if colour else (60, 80))
    paths = [save(pixels, tmp_path / "image.png"), save(pixels[20:30, 33:47], tmp_path / "template.png")]
    out = tmp_path / "heat.png"
    assert cli.main(["locate", *paths, "--out", str(out), "--peaks", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["1", "20", "33", "1"]
    assert len(lines) == 5
    assert lines[-1] == f"drawn in {out}"
    drawn = picture(out)
    assert min(drawn.shape[:2]) > 300
    assert drawn.std() > 20
    assert cli.main(["locate", *paths, "--json", "--threshold", "0.9"]) == 0
    (peak,) = json.loads(capsys.readouterr().out)["peaks"]
    assert (peak["row"], peak["column"]) == (20, 33)
    assert cli.main(["locate", *paths, "--method", "correlation", "--threshold", "1e9"]) == 0
    assert capsys.readouterr().out == "no peaks\n"


def test_locate_refuses(tmp_path, capsys):
    small, large = save(np.eye(5) * 255, tmp_path / "small.png"), save(np.eye(9) * 255, tmp_path / "large.png")
    flat, text = save(np.full((3, 3), 9), tmp_path / "flat.png"), tmp_path / "text.png"
    text.write_text("no image")
    for arguments, words in (
        ([small, large], "template 9x9 is larger than image 5x5"),
        ([large, flat], "a constant has no variance"),
        ([large, str(text)], "no image of a known format"),
        ([large, str(tmp_path / "absent.png")], "absent.png"),
        ([large, small, "--out", str(tmp_path / "x.txt")], "must end in .png"),
        ([large, small, "--out", str(tmp_path / "absent" / "x.png")], "does not exist"),
    ):
        assert cli.main(["locate", *arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("fastconv: ")
        assert words in error


def test_find_prints_draws_and_counts(form, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path, truth = form
    wanted = truth[0]["value"]
    command = ["find", str(path), "--truth", str(tmp_path / "form.json"), "--out", str(tmp_path / "marked.png")]
    assert cli.main(["find", "--digit", str(wanted), *command[1:]]) == 0
    printed = capsys.readouterr()
    rows = [line.split() for line in printed.out.splitlines()[2:-2]]
    expected = [entry for entry in truth if entry["value"] == wanted]
    assert {row[0] for row in rows} == {str(wanted)}
    assert abs(len(rows) - len(expected)) <= 1
    assert "precision" in printed.out.splitlines()[-2]
    drawn = picture(tmp_path / "marked.png").astype(int)
    assert np.count_nonzero(np.abs(drawn - (0x00, 0x9E, 0x73)).sum(axis=2) < 30) > 100
    assert cli.main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert min(report["score"].values()) >= 0.9
    assert len(report["digits"]) == pytest.approx(len(truth), abs=2)
    assert cli.main(["find", str(path), "--threshold", "1"]) == 0
    assert capsys.readouterr().out == "nothing found\n"


def test_find_draws_what_it_found_where_nobody_knows_the_truth(form, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path, truth = form
    marked = tmp_path / "marked.png"
    assert cli.main(["find", "--digit", str(truth[0]["value"]), str(path), "--out", str(marked)]) == 0
    assert "precision" not in capsys.readouterr().out
    drawn = picture(marked).astype(int)
    assert np.count_nonzero(np.abs(drawn - (0x00, 0x9E, 0x73)).sum(axis=2) < 30) > 100


@pytest.mark.parametrize("change", ["light", "colour", "jpeg", "large"])
def test_forms_come_in_many_ways(change, form, tmp_path, capsys):
    path, truth = form
    image, options = image_module.open(path), []
    changed = tmp_path / ("other.jpg" if change == "jpeg" else "other.png")
    if change == "light":
        image = image.point(lambda level: 220 - level * 0.75)
    elif change == "colour":
        paper, ink = (np.array(colour, float) for colour in ((250, 240, 210), (20, 30, 120)))
        share = np.asarray(image)[..., None] / 255
        image = image_module.fromarray((share * paper + (1 - share) * ink).astype(np.uint8))
    elif change == "large":
        image, options = image.resize((image.width * 3, image.height * 3)), ["--scale", "24"]
    image.save(changed)
    assert cli.main(["find", str(changed), "--json", *options]) == 0
    scale = 3 if change == "large" else 1
    found = [scanning.Found(**one) for one in json.loads(capsys.readouterr().out)["digits"]]
    found = [one._replace(top=round(one.top / scale), left=round(one.left / scale)) for one in found]
    score = scanning.score(found, [scanning.Digit(**entry) for entry in truth])
    assert min(score.precision, score.recall) >= 0.9


def test_a_composed_form_can_be_large(tmp_path, capsys):
    path = str(tmp_path / "large.png")
    options = ["--scale", "20", "--size", "60,70", "--count", "12", "--seed", "1"]
    assert cli.main(["find", "--compose", path, *options]) == 0
    assert image_module.open(path).size == (175, 150)
    truth = ["--truth", str(tmp_path / "large.json")]
    assert cli.main(["find", path, *truth, "--scale", "20"]) == 0
    assert "(12 right" in capsys.readouterr().out
    assert cli.main(["find", path, *truth]) == 1
    assert "20 pixels high, but those of the form were said to be 8" in capsys.readouterr().err


def test_compare_finds_no_difference(capsys, monkeypatch):
    monkeypatch.setattr("fastconv.cli.find.COMPARED", ((40, 60), 8))
    monkeypatch.setattr("fastconv.scanning.comparison.BATCHES", (64,))
    assert cli.main(["find", "--compare"]) == 0
    assert "\n0 of 19,239 logits differ in any bit" in capsys.readouterr().out
    assert cli.main(["find", "--compare", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["different"] == 0
    assert report["speedup"] > 0


def test_find_refuses(form, tmp_path, capsys):
    path, tiny, foreign = str(form[0]), save(np.zeros((7, 30)), tmp_path / "tiny.png"), tmp_path / "foreign.json"
    foreign.write_text('{"digits": [{"value": "three"}]}')
    far = tmp_path / "far.json"
    far.write_text(json.dumps({"digits": [{"value": 3, "top": 10**400, "left": 0}], "scale": 8}))
    for arguments, words in (
        ([], "give a FORM to look at, or --compose FORM.png, or --compare"),
        ([path, "--compare"], "give a FORM"),
        (["--compose", str(tmp_path / "x.png"), "--digit", "0"], "--digit goes with a FORM to look at"),
        (["--compare", "--out", str(tmp_path / "x.png")], "--out goes with a FORM to look at"),
        ([tiny], "at least as large as a digit, 8x8 pixels, got 7x30"),
        ([path, "--scale", "200"], "200x200 pixels, got 80x110"),
        ([str(foreign)], "no image"),
        ([path, "--truth", str(foreign)], "no list of a form's digits"),
        ([path, "--truth", str(far)], "no list of a form's digits (OverflowError"),
        ([path, "--truth", str(tmp_path / "absent.json")], "absent.json"),
        ([path, "--weights", path], "unknown suffix '.png'"),
        ([path, "--out", str(tmp_path)], "must end in .png"),
        (["--compose", str(tmp_path / "x.gif")], "must end in .png"),
        (["--compose", str(tmp_path / "x.png"), "--count", "361"], "361 digits were asked for"),
        (["--compose", str(tmp_path / "x.png"), "--size", "20,20"], "found room on 20x20 pixels"),
    ):
        assert cli.main(["find", *arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("fastconv: ")
        assert words in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--digit", "10"], "must be a digit, 0 to 9, got '10'"),
        (["--digit", "three"], "must be a digit, 0 to 9"),
        (["--digit", "²"], "must be a digit, 0 to 9"),
        (["--threshold", "2"], "must be a probability between 0 and 1, got '2'"),
        (["--threshold", "nan"], "must be a probability"),
        (["--size", "80"], "must be H,W such as 120,160, got '80'"),
        (["--scale", "0"], "positive integer"),
    ],
)
def test_wrong_arguments_of_find_end_with_status_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["find", "form.png", *arguments])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_truth_survives_a_file(tmp_path):
    form = scanning.Form(np.zeros((30, 40), np.float32), (scanning.Digit(3, 5, 7), scanning.Digit(0, 20, 31)))
    for scale in (8, 12, 30):
        truth = pages.write_form(form, tmp_path / "form.png", scale=scale, seed=1)
        assert pages.read_truth(truth, scale) == list(form.digits)
        assert not pages.read_page(tmp_path / "form.png", scale=scale).ink.any()


@pytest.mark.parametrize(
    "words", [["locate", "no.png", "such.png"], ["find", "no.png"], ["demo"]], ids=lambda words: words[0]
)
def test_without_matplotlib_nothing_is_read_or_taught_for_a_picture(words, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert cli.main([*words, "--out", str(tmp_path / "picture.png")]) == 1
    told = capsys.readouterr()
    assert "pip install 'fastconv[plot]'" in told.err
    assert not told.out
