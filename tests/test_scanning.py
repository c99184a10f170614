"""Find the digits in the form: forms of held-back digits, the one-pass scan, and what is counted as found."""

import itertools

import numpy as np
import pytest
from support.data import assert_same_bits

import fastconv as fc
from fastconv import datasets, models, scanning, weights
from fastconv.errors import DTypeError, FormatError, ShapeError
from fastconv.scanning import Digit, Found, Recipe, Score, lessons, trained

QUICK = Recipe(forms=2, digits=5, epochs=1)


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    """The network that users get, taught once for this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTCONV_HOME", str(tmp_path_factory.mktemp("home")))
        yield scanning.load_finder(progress=False)


def held_back(seed, **options):
    return scanning.compose_form(*datasets.load_digits("test"), seed=seed, **options)


def test_digits_of_all_classes_are_found_on_forms_of_held_back_ones(finder):
    total, by_value = Score(), dict.fromkeys(range(10), Score())
    for seed, gap in itertools.product(range(6), (0, 1, 5)):
        form = held_back(seed, shape=(120, 160), count=60, gap=gap)
        total += scanning.score(scanning.find_digits(form.ink, finder), form.digits)
        for value in range(10):
            found = scanning.find_digits(form.ink, finder, digit=value)
            assert {one.value for one in found} <= {value}
            by_value[value] += scanning.score(found, [digit for digit in form.digits if digit.value == value])
    assert total.right + total.missed == 18 * 60
    assert min(total.precision, total.recall) >= 0.95
    assert min(min(score.precision, score.recall) for score in by_value.values()) >= 0.9
    assert min(by_value[3].precision, by_value[3].recall) >= 0.95


def test_a_page_may_be_a_single_digit(finder):
    images, labels = datasets.load_digits("test")
    for light in (0, 1):
        pages = np.rint(255 * np.abs(1 - light - images[:, 0])).astype(np.uint8)
        found = [scanning.find_digits(scanning.ink_of(page), finder) for page in pages]
        right = [len(some) == 1 and some[0][:3] == (value, 0, 0) for some, value in zip(found, labels, strict=True)]
        assert np.mean(right) >= 0.95


def test_an_empty_form_and_halves_of_digits_have_nothing_on_them(finder):
    assert scanning.find_digits(np.zeros((50, 60), np.float32), finder) == []
    images, _ = datasets.load_digits("test")
    halves = np.zeros((8 * 9, 16 * 12), np.float32)
    for number, (row, column) in enumerate(itertools.product(range(8), range(12))):
        halves[9 * row : 9 * row + 4, 16 * column : 16 * column + 8] = images[number, 0, 4:]
    assert len(scanning.find_digits(halves, finder)) <= 10


@pytest.mark.parametrize("backend", [name for name, usable in fc.available_backends().items() if usable])
@pytest.mark.parametrize("precision", ["strict", "high", "fast"])
def test_one_pass_gives_the_bits_of_the_classifier(finder, backend, precision):
    with fc.use_backend(backend), fc.use_precision(precision):
        for seed, shape in enumerate([(8, 8), (8, 40), (33, 9), (47, 61)]):
            ink = held_back(seed, shape=shape, count=1 + 3 * (seed > 0) + 8 * (seed > 2)).ink if seed != 2 else INK
            found = scanning.scan(ink, finder)
            assert found.shape == (11, shape[0] - 7, shape[1] - 7)
            for batch_size in (1, 7, 256) if min(shape) < 10 else (64, 256):
                by_window = scanning.scan_by_window(ink, finder, batch_size)
                assert_same_bits(found, np.ascontiguousarray(by_window))


INK = np.random.default_rng(0).random((33, 9), np.float32)


def test_large_forms_are_scanned_in_strips(finder, monkeypatch):
    ink = held_back(9, shape=(50, 70), count=20).ink
    whole = scanning.scan(ink, finder)
    for positions in (1, 64, 150, 43 * 63):
        monkeypatch.setattr("fastconv.scanning.finder._STRIP", positions)
        assert_same_bits(scanning.scan(ink, finder), whole)


def test_forms_hold_what_they_say():
    images, labels = datasets.load_digits("test")
    form = held_back(3, shape=(90, 120), count=40, gap=2)
    assert len(set(form.digits)) == len(form.digits) == 40
    assert {digit.value for digit in form.digits} == set(range(10))
    covered = np.zeros_like(form.ink, bool)
    for value, top, left in form.digits:
        square = form.ink[top : top + 8, left : left + 8]
        same = (images[:, 0] == square).all(axis=(1, 2))
        assert labels[same].tolist() == [value]
        covered[top : top + 8, left : left + 8] = True
    assert not form.ink[~covered].any()
    for first, second in itertools.combinations(form.digits, 2):
        assert max(abs(first.top - second.top), abs(first.left - second.left)) >= 10
    again, other = (held_back(seed, shape=(90, 120), count=40, gap=2) for seed in (3, 4))
    assert again.digits == form.digits
    assert other.digits != form.digits


def test_digits_that_find_no_room_are_an_error():
    with pytest.raises(ValueError, match=r"only [1-4] of 9 digits found room on 20x20 pixels"):
        held_back(0, shape=(20, 20), count=9)
    with pytest.raises(ValueError, match="361 digits were asked for, but there are 360"):
        held_back(0, shape=(900, 900), count=361)
    with pytest.raises(ShapeError, match="at least 8x8 pixels, got 7x90"):
        held_back(0, shape=(7, 90))
    with pytest.raises(ShapeError, match="expected images"):
        scanning.compose_form(np.zeros((3, 1, 9, 9)), np.zeros(3))
    with pytest.raises(ValueError, match="gap"):
        held_back(0, gap=-1)


def test_scores_count_each_digit_once():
    truth = [Digit(3, 10, 10), Digit(3, 30, 10), Digit(5, 50, 50)]
    near = [Found(3, 11, 10, 0.6), Found(3, 10, 11, 0.9), Found(5, 50, 53, 0.9), Found(3, 30, 12, 0.8)]
    assert scanning.score(near, truth) == Score(right=2, wrong=2, missed=1)
    assert scanning.score([], []) == Score()
    assert (Score().precision, Score().recall) == (1, 1)
    assert Score(1, 1, 0) + Score(0, 0, 2) == Score(1, 1, 2)
    assert str(Score(3, 1, 0)) == "precision 75.00%, recall 100.00% (3 right, 1 wrong, 0 missed)"
    assert scanning.overlap((0, 0), (1, 1)) == 49 / 79
    assert scanning.overlap((0, 0), (20, 0)) == 0


@pytest.mark.parametrize("paper", [255, 200, 30, 0])
def test_ink_is_what_differs_from_the_paper(paper):
    form = held_back(1, shape=(40, 60), count=8)
    contrast = 150 if paper < 128 else -150
    page = paper + np.rint(contrast * form.ink)
    np.testing.assert_allclose(scanning.ink_of(page.astype(np.uint8)), form.ink, atol=0.01)
    wrong = scanning.ink_of(page, "light" if contrast < 0 else "dark")
    assert not wrong.any()
    assert not scanning.ink_of(np.full((9, 9), paper)).any()
    assert not scanning.ink_of(np.where(form.ink > 0.5, paper, abs(paper - 9))).any()


def test_bad_pages():
    model = models.digit_finder()
    with pytest.raises(ShapeError, match="at least 8x8, got shape \\(7, 20\\)"):
        scanning.scan(np.zeros((7, 20)), model)
    with pytest.raises(ShapeError, match="at least 8x8"):
        scanning.find_digits(np.zeros((1, 20, 20)), model)
    for value in (np.nan, np.inf, 1e39):
        with pytest.raises(ValueError, match="finite in float32"):
            scanning.scan(np.full((9, 9), value), model)
    with pytest.raises(DTypeError, match="complex128"):
        scanning.scan(np.ones((9, 9), complex), model)
    with pytest.raises(ValueError, match="digit must be one of 0 to 9, got 10"):
        scanning.find_digits(np.zeros((9, 9)), model, digit=10)
    with pytest.raises(TypeError, match="digit must be an int"):
        scanning.find_digits(np.zeros((9, 9)), model, digit="3")
    for grey, error, words in (
        (np.zeros((3, 3, 3)), ShapeError, "grey levels"),
        (np.full((2, 2), 256), ValueError, "0..255"),
        (np.full((2, 2), np.nan), ValueError, "0..255"),
    ):
        with pytest.raises(error, match=words):
            scanning.ink_of(grey)
    with pytest.raises(ValueError, match="ink must be one of 'auto', 'dark', 'light', got 'red'"):
        scanning.ink_of(np.zeros((8, 8)), "red")


def test_lessons_are_half_digits_and_half_background():
    windows, classes = lessons.lessons(Recipe(forms=3, digits=10))
    assert windows.shape == (60, 1, 12, 12)
    assert windows.dtype == np.float32
    assert np.count_nonzero(classes == lessons.BACKGROUND) == 30
    again, _ = lessons.lessons(Recipe(forms=3, digits=10))
    np.testing.assert_array_equal(windows, again)


def test_a_finder_is_taught_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCONV_HOME", str(tmp_path / "home"))
    told = []
    first = scanning.load_finder(recipe=QUICK, announce=told.append)
    path = trained.kept_at(QUICK)
    assert [str(path) in line for line in told] == [True]
    second = scanning.load_finder(recipe=QUICK, announce=told.append)
    assert len(told) == 1
    assert weights.load_metadata(path)["model"] == "digit_finder"
    for model in (first, second):
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
    for name, value in first.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name].numpy(), value.numpy())
    assert trained.kept_at(Recipe(seed=1)) != trained.kept_at()
    given = scanning.load_finder(path)
    np.testing.assert_array_equal(given.fc.bias.numpy(), first.fc.bias.numpy())


def test_a_kept_file_that_cannot_be_used_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCONV_HOME", str(tmp_path))
    path = trained.kept_at(QUICK)
    path.parent.mkdir()
    path.write_bytes(b"PK and nothing else")
    with pytest.warns(UserWarning, match="cannot be used and is made anew"):
        scanning.load_finder(recipe=QUICK)
    assert weights.load_metadata(path)["model"] == "digit_finder"
    weights.save(models.lenet5().state_dict(), path)
    with pytest.warns(UserWarning, match="cannot be used"):
        scanning.load_finder(recipe=QUICK)


def test_a_home_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FASTCONV_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written, so the next call teaches again"):
        assert not scanning.load_finder(recipe=QUICK).training


def test_foreign_weights_are_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(FormatError):
        scanning.load_finder(tmp_path / "x.npz")
    weights.save(models.lenet5().state_dict(), tmp_path / "lenet.npz")
    with pytest.raises(ShapeError):
        scanning.load_finder(tmp_path / "lenet.npz")
