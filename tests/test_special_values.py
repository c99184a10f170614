"""NaN, infinities, signed zeros, subnormals, ties and empty batches."""

import numpy as np
import pytest
from support.backends import every_backend
from support.data import DTYPES, FORMATS, assert_same_bits, in_format, integers
from support.kernel_calls import geometry_of

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays
from fastconv.bench.cases import ConvCase

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_format = pytest.mark.parametrize("wanted", FORMATS)
CONV_CASES = [
    ConvCase("plain", "here", (2, 5, 9, 8), (7, 5, 3, 3), padding=1, bias=False),
    ConvCase("strided", "here", (1, 4, 11, 10), (6, 2, 3, 2), stride=2, padding=(2, 1), groups=2, bias=False),
    ConvCase("dilated", "here", (1, 3, 10, 9), (18, 3, 2, 3), padding=2, dilation=2, bias=False),
    ConvCase("depthwise", "here", (1, 6, 7, 8), (6, 1, 3, 3), padding=1, groups=6, bias=False),
    ConvCase("pointwise", "here", (1, 65, 4, 5), (70, 65, 1, 1), bias=False),
    ConvCase("few filters", "here", (2, 2, 7, 30), (4, 2, 3, 3), padding=1, bias=False),
    ConvCase("small planes of many images", "here", (13, 2, 6, 7), (5, 2, 3, 4), padding=1, bias=False),
]
conv_cases = pytest.mark.parametrize("case", CONV_CASES, ids=lambda case: case.name)


def passes(case, x, weight, grad, backend):
    """out, grad_input, grad_weight."""
    leaves = [fc.tensor(array, requires_grad=True) for array in (x, weight)]
    out = F.conv2d(*leaves, **case.parameters, backend=backend)
    out.backward(grad)
    return out.numpy(), *(leaf.grad.numpy() for leaf in leaves)


def operands(case, rng, dtype):
    shapes = case.x_shape, case.weight_shape, geometry_of(case).out_shape
    return [integers(rng, shape, dtype, 9) for shape in shapes]


@every_backend
@every_dtype
@every_format
@conv_cases
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_special_values_go_where_their_windows_are_and_nowhere_else(backend, dtype, wanted, case, value, rng):
    values = operands(case, rng, dtype)
    for place in range(3):  # in x, in the weight, in the gradient
        special = [array.copy() for array in values]
        special[place][tuple(rng.integers(0, special[place].shape))] = value
        expected = passes(case, *special, "reference")
        special[0] = in_format(special[0], wanted)
        special[2] = in_format(special[2], wanted)
        for found, exact in zip(passes(case, *special, backend), expected, strict=True):
            np.testing.assert_array_equal(found, exact)
            assert np.isfinite(found).any()


def test_the_reference_puts_special_values_where_the_definition_says(rng):
    x, weight = integers(rng, (1, 2, 6, 5)), np.ones((3, 2, 3, 3), np.float32)
    clean = F.conv2d(x, weight, padding=1, backend="reference")
    x[0, 1, 2, 4] = np.nan
    found = F.conv2d(x, weight, padding=1, backend="reference")
    touched = np.zeros(found.shape, bool)
    touched[:, :, 1:4, 3:] = True
    assert np.isnan(found[touched]).all()
    assert_same_bits(found[~touched], clean[~touched])


@every_backend
@every_dtype
@every_format
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("width", [6, 32])
def test_a_special_weight_over_zero_padding_does_nothing(backend, dtype, wanted, value, width, rng):
    case = ConvCase("corner tap", "here", (2, 3, 7, width), (20, 3, 3, 3), padding=1, bias=False)
    x, weight, grad = operands(case, rng, dtype)
    x[x == 0] = 1
    clean = passes(case, x, weight, grad, backend)
    weight[:, :, 0, 0] = value
    out, grad_input, grad_weight = passes(case, in_format(x, wanted), weight, in_format(grad, wanted), backend)
    plain = weight.copy()
    plain[:, :, 0, 0] = 0
    without = passes(case, x, plain, grad, backend)
    # The corner tap lies in the padding for the first row and column of outputs; no output reads the last inputs by it.
    assert_same_bits(out[:, :, 0], without[0][:, :, 0])
    assert_same_bits(out[:, :, :, 0], without[0][:, :, :, 0])
    assert not np.isfinite(out[:, :, 1:, 1:]).any()
    assert_same_bits(grad_input[:, :, -1], without[1][:, :, -1])
    assert_same_bits(grad_input[:, :, :, -1], without[1][:, :, :, -1])
    assert_same_bits(grad_weight, clean[2])


@every_backend
@every_dtype
def test_a_special_gradient_over_zero_padding_does_nothing(backend, dtype, rng):
    case = ConvCase("corner output", "here", (1, 3, 7, 6), (5, 3, 3, 3), padding=1, bias=False)
    x, weight, grad = operands(case, rng, dtype)
    grad[:, :, 0, 0] = np.inf
    grad_weight = passes(case, x, weight, grad, backend)[2]
    assert np.isfinite(grad_weight[:, :, 0]).all()
    assert np.isfinite(grad_weight[:, :, :, 0]).all()
    assert not np.isfinite(grad_weight[:, :, 1:, 1:]).any()


@every_backend
@every_dtype
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_an_infinite_bias_and_overflow_follow_ieee(backend, dtype):
    largest = np.finfo(dtype).max
    x, weight = np.full((1, 2, 3, 3), largest, dtype), np.ones((2, 2, 1, 1), dtype)
    assert np.isposinf(F.conv2d(x, weight, backend=backend)).all()
    bias = np.array([np.inf, -np.inf], dtype)
    out = F.conv2d(np.ones_like(x), weight, bias, backend=backend)
    assert np.isposinf(out[:, 0]).all()
    assert np.isneginf(out[:, 1]).all()


@every_backend
@every_dtype
@every_format
def test_pooling_ties_nan_and_zeros(backend, dtype, wanted):
    windows = {
        "the first of equal values": ([2, 7, 7, 7], 7, 1),
        "the last NaN": ([np.nan, 9, np.nan, 1], np.nan, 2),
        "NaN before infinity": ([np.inf, np.nan, np.inf, 3], np.nan, 1),
        "zeros are equal": ([-0.0, 0.0, -0.0, -1.0], -0.0, 0),
        "zeros are equal, the other way": ([0.0, -0.0, -0.0, -1.0], 0.0, 0),
        "nothing but minus infinity": ([-np.inf] * 4, -np.inf, 0),
        "minus infinity and less": ([-np.inf, -np.inf, -5, -np.inf], -5, 2),
        "the last": ([1, 2, 3, 4], 4, 3),
    }
    x = np.array([values for values, _, _ in windows.values()], dtype).reshape(1, -1, 2, 2)
    out, indices = F.max_pool2d(in_format(x, wanted), 2, return_indices=True, backend=backend)
    assert_same_bits(out.ravel(), np.array([best for _, best, _ in windows.values()], dtype))
    assert dict(zip(windows, indices.ravel().tolist(), strict=True)) == {n: at for n, (_, _, at) in windows.items()}


@every_backend
@every_dtype
@every_format
def test_pooling_minus_infinity_at_the_border_stays_inside(backend, dtype, wanted):
    x = in_format(np.full((1, 3, 4, 5), -np.inf, dtype), wanted)
    leaf = fc.tensor(x, requires_grad=True)
    out, indices = F.max_pool2d(leaf, 3, 2, 1, return_indices=True, backend=backend)
    assert np.isneginf(out.numpy()).all()
    rows, cols = np.divmod(indices.numpy(), 5)
    assert rows[0, 0].tolist() == [[0] * 3, [1] * 3]
    assert cols[0, 0].tolist() == [[0, 1, 3]] * 2
    out.backward(np.ones(out.shape, dtype))
    assert leaf.grad.numpy().sum() == out.numel()


@every_backend
@every_dtype
@every_format
def test_pooling_windows_without_any_input(backend, dtype, wanted):
    x = in_format(np.arange(12, dtype=dtype).reshape(1, 3, 2, 2), wanted)
    leaf = fc.tensor(x, requires_grad=True)
    out, indices = F.max_pool2d(leaf, 2, padding=1, dilation=3, return_indices=True, backend=backend)
    assert np.isneginf(out.numpy()).all()
    assert ((indices.numpy() >= 0) & (indices.numpy() < 4)).all()
    out.backward(np.ones(out.shape, dtype))
    assert not leaf.grad.numpy().any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_keeps_nan_and_the_sign_of_zero(dtype):
    x = fc.tensor(np.array([np.nan, -0.0, 0.0, -1.0, 2.0, -np.inf, np.inf], dtype), requires_grad=True)
    out = F.relu(x)
    assert_same_bits(out.numpy(), np.array([np.nan, -0.0, 0.0, 0.0, 2.0, 0.0, np.inf], dtype))
    out.backward(np.arange(1, 8, dtype=dtype))
    assert x.grad.tolist() == [1, 0, 0, 0, 5, 0, 7]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sigmoid_keeps_subnormals_and_never_overflows(dtype):
    x = np.array([-np.inf, np.log(np.finfo(dtype).tiny) - 2, -1.0, 0.0, 1.0, 1e4, np.inf], dtype)
    with np.errstate(all="raise", under="ignore"):
        found = F.sigmoid(x)
    assert 0 < found[1] < np.finfo(dtype).tiny
    assert found[[0, 3, 5, 6]].tolist() == [0, 0.5, 1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softmax"])
def test_an_infinite_gradient_of_what_does_not_change_is_nan_without_a_warning(name, dtype):
    x = fc.tensor(np.array([-np.inf, 1e4], dtype), requires_grad=True)
    out = getattr(F, name)(x)
    with np.errstate(all="raise"):
        out.backward(np.full(2, np.inf, dtype))
    assert np.isnan(x.grad.numpy()).all()


@every_backend
@every_dtype
def test_subnormals_are_kept(backend, dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    x = (np.arange(1, 2 * 3 * 8 * 9 + 1).reshape(2, 3, 8, 9) * smallest).astype(dtype)
    identity = np.eye(3, dtype=dtype).reshape(3, 3, 1, 1)
    out, grad_input, _ = passes(ConvCase("identity", "here", x.shape, identity.shape), x, identity, x, backend)
    assert_same_bits(out, x)
    assert_same_bits(grad_input, x)
    assert_same_bits(F.max_pool2d(x, 1, backend=backend), x)
    # A product of two normal numbers that is none.
    root = np.full((1, 1, 1, 1), np.sqrt(np.finfo(dtype).tiny) / 64, dtype)
    for product in passes(ConvCase("product", "here", root.shape, root.shape), root, root, root, backend):
        assert_same_bits(product, root * root)
    assert 0 < (root * root).item() < np.finfo(dtype).tiny
    # The processor's flush mode is as it was.
    assert smallest * np.dtype(dtype).type(1) == smallest


@every_backend
@every_dtype
@every_format
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_an_empty_batch_of_convolution(backend, dtype, wanted, padding_mode):
    x = fc.tensor(in_format(np.zeros((0, 3, 6, 5), dtype), wanted), requires_grad=True)
    weight, bias = (fc.tensor(np.ones(shape, dtype), requires_grad=True) for shape in ((4, 3, 3, 3), (4,)))
    out = F.conv2d(x, weight, bias, padding=1, padding_mode=padding_mode, backend=backend)
    assert (out.shape, out.dtype) == ((0, 4, 6, 5), np.dtype(dtype))
    out.backward(np.zeros(out.shape, dtype))
    for leaf in (x, weight, bias):
        assert (leaf.grad.shape, leaf.grad.dtype) == (leaf.shape, leaf.dtype)
        assert not leaf.grad.numpy().any()


@every_backend
@every_dtype
@every_format
def test_an_empty_batch_of_pooling(backend, dtype, wanted):
    x = fc.tensor(in_format(np.zeros((0, 3, 6, 5), dtype), wanted), requires_grad=True)
    out, indices = F.max_pool2d(x, 2, return_indices=True, backend=backend)
    assert (out.shape, indices.shape, indices.dtype) == ((0, 3, 3, 2), (0, 3, 3, 2), np.int64)
    averaged = F.avg_pool2d(x, 2)
    assert averaged.shape == out.shape
    for result in (out, averaged):
        result.backward(np.zeros(out.shape, dtype))
    assert x.grad.shape == x.shape
    assert arrays.memory_format(x.grad.numpy()) is not None


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "sigmoid", "softmax", "log_softmax", "flatten", "sum"])
def test_other_operations_take_an_empty_batch(name):
    x = fc.tensor(np.zeros((0, 3, 2), np.float32), requires_grad=True)
    out = getattr(F, name)(x, *((1,) if name in ("flatten", "softmax", "log_softmax") else ()))
    out.backward(np.zeros(out.shape, np.float32))
    assert x.grad.shape == x.shape
