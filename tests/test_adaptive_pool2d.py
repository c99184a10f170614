"""Adaptive pooling: the parts of a plane, by definition."""

import itertools
import math

import numpy as np
import pytest
from support.data import DTYPES, FORMATS, assert_same_bits, in_format, integers

import fastconv as fc
import fastconv.functional as F
import fastconv.nn as nn
from fastconv import arrays
from fastconv.errors import DTypeError, ShapeError
from fastconv.geometry import AdaptiveAxis, Axis, Pool2dGeometry

SHAPES = [
    ((2, 3, 7, 5), (3, 2)),
    ((1, 20, 13, 17), (6, 6)),
    ((1, 4, 6, 8), (3, 4)),
    ((2, 2, 3, 2), (5, 7)),
    ((1, 67, 7, 7), 1),
    ((1, 3, 1, 9), (2, None)),
    ((2, 5, 4, 6), None),
]
every_shape = pytest.mark.parametrize(("shape", "output_size"), SHAPES)


def parts(size, out):
    """Begin and end of every part, by torch's definition."""
    return [(math.floor(o * size / out), math.ceil((o + 1) * size / out)) for o in range(out)]


def parts_of(shape, output_size):
    pair = output_size if isinstance(output_size, tuple) else (output_size,) * 2
    return [parts(size, size if out is None else out) for size, out in zip(shape[2:], pair, strict=True)]


def each_part(shape, output_size):
    """((oh, ow), (rows, cols)) of every output."""
    rows, cols = parts_of(shape, output_size)
    for (oh, row), (ow, col) in itertools.product(enumerate(rows), enumerate(cols)):
        yield (oh, ow), (slice(*row), slice(*col))


@pytest.mark.parametrize("size", range(1, 20))
@pytest.mark.parametrize("out", range(1, 20))
def test_axes_have_the_parts_of_the_definition(size, out):
    axis, expected = AdaptiveAxis.of(size, out), parts(size, out)
    if isinstance(axis, Axis):
        assert [(o * axis.stride, o * axis.stride + axis.kernel) for o in range(out)] == expected
    else:
        assert [(axis.begin(o), axis.end(o)) for o in range(out)] == expected
        assert list(zip(axis.begin(np.arange(out)), axis.end(np.arange(out)), strict=True)) == expected
    assert axis.kernel == max(end - begin for begin, end in expected)
    assert axis.out == out


@every_shape
def test_geometries_are_checked_once_and_hashable(shape, output_size):
    g = Pool2dGeometry.adaptive(shape, output_size)
    assert g.x_shape == shape
    assert g.out_shape[2:] == tuple(map(len, parts_of(shape, output_size)))
    assert g.taps == math.prod(max(end - begin for begin, end in axis) for axis in parts_of(shape, output_size))
    assert hash(g) == hash(Pool2dGeometry.adaptive(shape, output_size))


@every_shape
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wanted", FORMATS)
def test_averages_and_their_gradient(shape, output_size, dtype, wanted, rng):
    x = integers(rng, shape, dtype) * 144
    leaf = fc.tensor(in_format(x, wanted), requires_grad=True)
    out = F.adaptive_avg_pool2d(leaf, output_size)
    grad = integers(rng, out.shape, dtype) * 144
    out.backward(in_format(grad, wanted))
    expected, expected_grad = np.zeros(out.shape, dtype), np.zeros(shape, np.float64)
    for at, part in each_part(shape, output_size):
        window = x[:, :, *part]
        count = window[0, 0].size
        expected[:, :, *at] = window.sum(axis=(2, 3), dtype=np.float64) / count
        expected_grad[:, :, *part] += (grad[:, :, *at] / np.dtype(dtype).type(count))[:, :, None, None]
    assert_same_bits(out.numpy(), expected)
    np.testing.assert_allclose(leaf.grad.numpy(), expected_grad, rtol=1e-6, atol=1e-5)
    assert leaf.grad.dtype == out.dtype == np.dtype(dtype)


@every_shape
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wanted", FORMATS)
def test_maxima_and_their_gradient(shape, output_size, dtype, wanted, rng):
    x = integers(rng, shape, dtype)
    leaf = fc.tensor(in_format(x, wanted), requires_grad=True)
    out, indices = F.adaptive_max_pool2d(leaf, output_size, return_indices=True)
    assert_same_bits(F.adaptive_max_pool2d(x, output_size), out.numpy())
    grad = integers(rng, out.shape, dtype)
    out.backward(in_format(grad, wanted))
    positions = np.arange(math.prod(shape[2:])).reshape(shape[2:])
    expected_grad = np.zeros((*shape[:2], positions.size), dtype)
    for at, part in each_part(shape, output_size):
        winner = x[:, :, *part].reshape(*shape[:2], -1).argmax(axis=2)
        assert_same_bits(out.numpy()[:, :, *at], x[:, :, *part].max(axis=(2, 3)))
        places = positions[part].reshape(-1)[winner]
        np.testing.assert_array_equal(indices.numpy()[:, :, *at], places)
        for n, c in np.ndindex(shape[:2]):
            expected_grad[n, c, places[n, c]] += grad[n, c, *at]
    assert indices.dtype == np.int64
    assert_same_bits(leaf.grad.numpy(), expected_grad.reshape(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_special_values_stay_in_the_windows_that_have_them(value):
    x = np.ones((1, 2, 7, 10))
    x[0, 1, 3, 4] = value
    for function in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        out = function(x, (3, 4))
        touched = np.zeros(out.shape, bool)
        for at, part in each_part(x.shape, (3, 4)):
            touched[0, 1, *at] = 3 in range(7)[part[0]] and 4 in range(10)[part[1]]
        assert touched.sum() in (1, 2, 4)
        np.testing.assert_array_equal(out[~touched], 1)
        expected = 1 if function is F.adaptive_max_pool2d and value == -np.inf else value
        np.testing.assert_array_equal(out[touched], expected)


def test_one_sample_an_empty_batch_and_formats(rng):
    x = rng.standard_normal((2, 3, 5, 6))
    for function in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        out = function(x, (2, 4))
        assert_same_bits(function(x[1], (2, 4)), out[1])
        assert function(x[:0], 3).shape == (0, 3, 3, 3)
        given = in_format(x, arrays.CHANNELS_LAST)
        assert_same_bits(function(given, (2, 4)), out)
        assert arrays.memory_format(function(given, (2, 4))) == arrays.CHANNELS_LAST
        leaf = fc.tensor(x[0], requires_grad=True)
        function(leaf, 1).sum().backward()
        assert leaf.grad.shape == (3, 5, 6)
        empty = fc.tensor(x[:0], requires_grad=True)
        function(empty, 2).sum().backward()
        assert empty.grad.shape == (0, 3, 5, 6)


@pytest.mark.parametrize(
    ("x", "output_size", "error", "words"),
    [
        (np.ones((1, 1, 4, 4)), 0, ValueError, "output_size must be a positive int, got 0"),
        (np.ones((1, 1, 4, 4)), (2, -1), ValueError, "output_size must be a positive int, got -1"),
        (
            np.ones((1, 1, 4, 4)),
            (1, 2, 3),
            ValueError,
            r"must be an int, None or 2 of them, got \(1, 2, 3\)",
        ),
        (np.ones((1, 1, 4, 4)), 2.0, TypeError, "output_size must be an int, got 2.0"),
        (np.ones((1, 1, 4, 4)), True, TypeError, "output_size must be an int, got True"),
        (np.ones((1, 1, 4, 4)), 2**31, ValueError, "output_size is too large"),
        (np.ones((4, 4)), 2, ShapeError, r"expected 3D .* 4D .* input to adaptive_..._pool2d, got shape \(4, 4\)"),
        (np.ones((1, 1, 4, 0)), 2, ShapeError, "zero extent"),
        (np.ones((1, 1, 4, 4), int), 2, DTypeError, "dtype int64; supported"),
        ([[1.0]], 2, TypeError, "input must be an array or a Tensor, got list"),
    ],
)
def test_bad_input_is_refused(x, output_size, error, words):
    for function in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        with pytest.raises(error, match=words):
            function(x, output_size)
    if isinstance(x, np.ndarray) and x.shape == (1, 1, 4, 4) and x.dtype == float:
        for layer in (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d):
            with pytest.raises(error, match=words):
                layer(output_size)


def test_layers_call_their_functions(rng):
    x = rng.standard_normal((2, 3, 5, 6))
    assert_same_bits(nn.AdaptiveAvgPool2d((2, None))(x).numpy(), F.adaptive_avg_pool2d(x, (2, None)))
    pooled, indices = nn.AdaptiveMaxPool2d(3, return_indices=True)(x)
    for found, expected in zip((pooled, indices), F.adaptive_max_pool2d(x, 3, True), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected)
    assert repr(nn.AdaptiveAvgPool2d(1)) == "AdaptiveAvgPool2d(output_size=1)"
    assert repr(nn.AdaptiveMaxPool2d((2, None))) == "AdaptiveMaxPool2d(output_size=(2, None))"
    with pytest.raises(TypeError, match="return_indices must be True or False"):
        nn.AdaptiveMaxPool2d(1, return_indices=1)
