"""Response maps and their peaks: SciPy's and scikit-image's, also where light and numbers are awkward."""

import tracemalloc

import numpy as np
import pytest
from support.data import DTYPES, assert_same_bits, integers

import fastconv as fc
from fastconv import scanning
from fastconv.errors import DTypeError, ShapeError

SHAPES = (((9, 11), (3, 4)), ((30, 21), (7, 5)), ((5, 6), (5, 6)), ((40, 33), (1, 1)), ((12, 50), (12, 2)))


@pytest.fixture(scope="module")
def feature():
    return pytest.importorskip("skimage.feature")


def exact_coefficient(window, template):
    """Pearson's, around the means, in extended precision."""
    window, template = (np.asarray(values, np.longdouble).ravel() for values in (window, template))
    window, template = window - window.mean(), template - template.mean()
    return float((window @ template) / np.sqrt((window @ window) * (template @ template)))


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "small"), SHAPES)
def test_correlation_is_that_of_scipy(shape, small, dtype, rng):
    signal = pytest.importorskip("scipy.signal")
    image, template = integers(rng, shape, dtype), integers(rng, small, dtype)
    found = fc.localize(image, template)
    assert_same_bits(found.response, signal.correlate2d(image, template, mode="valid").astype(dtype))
    image, template = rng.standard_normal(shape).astype(dtype), rng.standard_normal(small).astype(dtype)
    expected = signal.correlate2d(image.astype("f8"), template.astype("f8"), mode="valid")
    np.testing.assert_allclose(fc.localize(image, template).response, expected, atol=30 * np.finfo(dtype).eps)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "small"), [pair for pair in SHAPES if pair[1] != (1, 1)])
def test_normalized_correlation_is_that_of_scikit_image(feature, shape, small, dtype, rng):
    image, template = rng.random(shape).astype(dtype), rng.random(small).astype(dtype)
    found = fc.localize(image, template, "normalized").response
    assert found.dtype == dtype
    expected = feature.match_template(image.astype("f8"), template.astype("f8"))
    np.testing.assert_allclose(found, expected, atol=1e-9 if dtype == "float64" else 1e-6)


@pytest.mark.oracle
def test_channels_are_summed(feature, rng):
    image, template = rng.random((3, 20, 25)), rng.random((3, 4, 6))
    planes = [fc.localize(*pair).response for pair in zip(image, template, strict=True)]
    np.testing.assert_allclose(fc.localize(image, template).response, sum(planes), rtol=1e-12)
    expected = feature.match_template(image.transpose(1, 2, 0), template.transpose(1, 2, 0))[..., 0]
    np.testing.assert_allclose(fc.localize(image, template, "normalized").response, expected, atol=1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize("min_distance", [1, 2, 5, 40])
@pytest.mark.parametrize("levels", [0, 7])
def test_peaks_are_those_of_scikit_image(feature, min_distance, levels, rng):
    # With few levels many positions are equal, and the first of them counts.
    response = rng.random((30, 41)) if not levels else rng.integers(0, levels, (30, 41)).astype("f8")
    for threshold, most in ((None, np.inf), (0.6, np.inf), (0.2, 3)):
        expected = feature.peak_local_max(
            response, min_distance, threshold_abs=threshold, num_peaks=most, exclude_border=False
        )
        limit = None if most == np.inf else most
        found = scanning.find_peaks(response, min_distance=min_distance, threshold=threshold, max_peaks=limit)
        assert [(peak.row, peak.column) for peak in found] == list(map(tuple, expected.tolist()))
        assert [peak.score for peak in found] == [response[tuple(place)] for place in expected]


def test_a_template_is_found_where_it_was_cut_out(rng):
    image = rng.random((60, 80)).astype(np.float32)
    found = fc.localize(image, image[21:30, 33:45], "normalized", max_peaks=3)
    assert found.peaks[0][:2] == (21, 33)
    assert found.peaks[0].score == pytest.approx(1, abs=1e-6)
    assert len(found.peaks) == 3
    assert str(found).splitlines()[1].split() == ["row", "21", "column", "33", "score", "1"]
    dimmed = fc.localize(0.1 * image + 5, image[21:30, 33:45], "normalized", max_peaks=1)
    assert dimmed.peaks[0][:2] == (21, 33)


def test_peaks_of_trivial_maps():
    assert scanning.find_peaks(np.zeros((4, 5))) == ()
    assert scanning.find_peaks(np.full((4, 5), 3.0), threshold=1) == ()
    assert scanning.find_peaks(np.ones((1, 1))) == (scanning.Peak(0, 0, 1.0),)
    assert scanning.find_peaks(np.ones((1, 1)), threshold=1) == ()
    assert scanning.find_peaks(np.array([[-np.inf, 2, np.inf]]), max_peaks=1) == (scanning.Peak(0, 2, np.inf),)


def test_distant_peaks_need_no_more_memory_than_the_map(rng):
    response = rng.random((500, 400))
    tracemalloc.start()
    try:
        (best,) = scanning.find_peaks(response, min_distance=500)
        assert tracemalloc.get_traced_memory()[1] < 20 * response.nbytes
    finally:
        tracemalloc.stop()
    assert response[best.row, best.column] == best.score == response.max()
    assert scanning.find_peaks(response, min_distance=2**31 - 1) == (best,)


# A signal far below the spacing of the numbers around its offset would not be there.
@pytest.mark.parametrize(
    ("offset", "size"), [(0, 1e-300), (0, 1e290), (1e6, 1e-3), (1e6, 1), (-1e12, 1), (1e300, 1e290)]
)
def test_normalized_correlation_survives_offsets_and_scales(offset, size, rng):
    image = offset + size * rng.random((14, 17))
    template = image[3:8, 5:9]
    found = fc.localize(image, template, "normalized").response
    for row, column in ((0, 0), (3, 5), (9, 13)):
        window = image[row : row + 5, column : column + 4]
        assert found[row, column] == pytest.approx(exact_coefficient(window, template), abs=1e-6)
    assert np.abs(found).max() <= 1


def test_a_small_signal_beside_a_huge_step_is_not_lost(rng):
    image = rng.random((20, 40))
    image[:, 25:] += 1e6
    template = rng.random((5, 5))
    found = fc.localize(image, template, "normalized").response
    windows = np.lib.stride_tricks.sliding_window_view(image, template.shape)
    expected = [[exact_coefficient(window, template) for window in row] for row in windows]
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_flat_windows_score_zero(rng):
    image = np.full((12, 20), 1e6, np.float32)
    image[4:8, 9:13] += rng.random((4, 4)).astype(np.float32)
    found = fc.localize(image, image[4:8, 9:13], "normalized")
    assert found.response[:, :6].tolist() == np.zeros((9, 6)).tolist()
    assert found.peaks[0][:2] == (4, 9)
    assert not fc.localize(np.full((9, 9), 0.1), image[4:8, 9:13].astype("f8"), "normalized").response.any()


@pytest.mark.parametrize(
    ("image", "template", "error", "words"),
    [
        (np.zeros((4, 9)), np.zeros((5, 3)), ShapeError, "5x3 is larger than image 4x9: 4 - 5 \\+ 1 = 0 rows"),
        (np.zeros((4, 9)), np.zeros((2, 2)), ValueError, "template is 0.0 everywhere"),
        (np.zeros((0, 9)), np.zeros((2, 2)), ShapeError, "must not be empty"),
        (np.zeros((4, 9)), np.zeros((2, 0)), ShapeError, "must not be empty"),
        (np.zeros(9), np.zeros(2), ShapeError, "both be \\(H, W\\)"),
        (np.zeros((1, 3, 9, 9)), np.zeros((1, 3, 2, 2)), ShapeError, "both be \\(H, W\\)"),
        (np.zeros((3, 9, 9)), np.zeros((2, 2)), ShapeError, "both be \\(H, W\\)"),
        (np.zeros((3, 9, 9)), np.zeros((2, 2, 2)), ShapeError, "image has 3 channels but template has 2"),
        (np.zeros((9, 9), np.uint8), np.zeros((2, 2)), DTypeError, "float32 and float64"),
        (np.zeros((9, 9), np.float32), np.zeros((2, 2)), DTypeError, "mixed dtypes"),
        (np.array([[0, np.nan], [np.inf, 1]]), np.eye(1), ValueError, "2 of its values are not, the first nan at"),
        (np.zeros((2, 2)), np.array([[-np.inf]]), ValueError, "template must be finite"),
        ([[1.0, 2.0]], np.eye(1), TypeError, "image must be an array"),
    ],
)
def test_bad_input(image, template, error, words):
    for method in ("normalized", "correlation"):
        if "everywhere" in words and method == "correlation":
            assert not fc.localize(image, template, method).response.any()
            continue
        with pytest.raises(error, match=words):
            fc.localize(image, template, method)


def test_bad_options():
    image = np.eye(5)
    with pytest.raises(ValueError, match="method must be one of 'correlation', 'normalized', got 'phase'"):
        fc.localize(image, image, "phase")
    with pytest.raises(ValueError, match="the correlation exceeds what float64 can hold"):
        fc.localize(np.full((3, 3), 1e200), np.full((2, 2), 1e200))
    for options, error in (
        ({"min_distance": 0}, ValueError),
        ({"max_peaks": 0}, ValueError),
        ({"threshold": "high"}, TypeError),
    ):
        with pytest.raises(error, match=next(iter(options))):
            fc.localize(image, image[:2, :2], **options)
    with pytest.raises(ValueError, match="NaN"):
        scanning.find_peaks(np.array([[np.nan]]))
    with pytest.raises(ShapeError, match="map"):
        scanning.find_peaks(np.zeros((2, 2, 2)))


def test_tensors_views_and_backends_give_the_same(rng):
    image, template = integers(rng, (20, 24)), integers(rng, (4, 5))
    expected = fc.localize(image, template)
    assert fc.localize(fc.tensor(image), fc.tensor(template)).peaks == expected.peaks
    assert_same_bits(fc.localize(image[::-1].copy()[::-1], template).response, expected.response)
    for name, status in fc.available_backends().items():
        if status and name != "cuda":
            with fc.use_backend(name):
                assert_same_bits(fc.localize(image, template).response, expected.response)


def test_a_threshold_that_is_no_number_is_refused(rng):
    with pytest.raises(ValueError, match="threshold must be a number, got nan"):
        scanning.find_peaks(rng.standard_normal((5, 6)), threshold=float("nan"))
