"""PyTorch as the judge of convolution and pooling, over generated parameters: values, gradients, indices."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.backends import USABLE
from support.data import FORMATS, in_format

import fastconv as fc
import fastconv.functional as F
from fastconv.dtypes import FLOAT_TYPES
from fastconv.errors import ShapeError
from fastconv.geometry import Axis

pytestmark = pytest.mark.oracle
backends = st.sampled_from(USABLE)
dtypes = st.sampled_from(["float32", "float64"])
seeds = st.integers(0, 2**32 - 1)
TORCH_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


@st.composite
def convolutions(draw):
    """Shapes and keyword arguments of a convolution that fits, with explicit pads."""
    groups, C_g, K_g = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 20))
    mode = draw(st.sampled_from(list(TORCH_MODE)))
    N = draw(st.integers(1, 3))
    sizes, kernels, strides, dilations, pads = [], [], [], [], []
    for _ in range(2):
        sizes.append(draw(st.integers(1, 13)))
        kernels.append(draw(st.integers(1, 4)))
        strides.append(draw(st.integers(1, 4)))
        dilations.append(draw(st.integers(1, 3)))
        limit = {"reflect": sizes[-1] - 1, "circular": sizes[-1]}.get(mode, 5)
        pads.append((draw(st.integers(0, limit)), draw(st.integers(0, limit))))
    axes = zip(sizes, kernels, strides, pads, dilations, strict=True)
    assume(all(Axis.of(*axis).out >= 1 for axis in axes))
    parameters = {"stride": tuple(strides), "padding": tuple(pads), "dilation": tuple(dilations), "groups": groups}
    shapes = (N, C_g * groups, *sizes), (K_g * groups, C_g, *kernels)
    return shapes, parameters | {"padding_mode": mode}


def torch_conv2d(torch, x, weight, bias, stride, padding, dilation, groups, padding_mode):
    (top, bottom), (left, right) = padding
    x = torch.nn.functional.pad(x, (left, right, top, bottom), mode=TORCH_MODE[padding_mode])
    return torch.nn.functional.conv2d(x, weight, bias, stride, 0, dilation, groups)


def torch_leaves(torch, values):
    return [torch.from_numpy(array.copy()).requires_grad_() for array in values]


def assert_close(found, expected, scale, dtype):
    """Within 64 units of roundoff of the largest sum of magnitudes."""
    unit = FLOAT_TYPES[dtype].unit_roundoff
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=0, atol=64 * unit * max(1.0, scale))


@given(convolutions(), backends, dtypes, st.booleans(), st.sampled_from(FORMATS), seeds)
def test_conv2d_and_its_gradients(torch, generated, backend, dtype, has_bias, wanted, seed):
    (x_shape, weight_shape), parameters = generated
    rng = np.random.default_rng(seed)
    shapes = [x_shape, weight_shape, *([weight_shape[:1]] if has_bias else [])]
    values = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    theirs = torch_leaves(torch, values)
    expected = torch_conv2d(torch, *theirs, *([] if has_bias else [None]), **parameters)
    grad = rng.standard_normal(expected.shape).astype(dtype)
    expected.backward(torch.from_numpy(grad))
    ours = [fc.tensor(array, requires_grad=True) for array in (in_format(values[0], wanted), *values[1:])]
    out = F.conv2d(*ours, **parameters, backend=backend)
    out.backward(in_format(grad, wanted))
    terms = int(np.prod(weight_shape[1:])), int(np.prod(weight_shape)), grad.size, grad.size
    for found, other, n in zip(
        (out, *(t.grad for t in ours)), (expected, *(t.grad for t in theirs)), terms, strict=False
    ):
        assert_close(found.numpy(), other, n**0.5, dtype)


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
@pytest.mark.parametrize("padding", ["same", "valid", 2, (1, 3)])
def test_conv2d_takes_torchs_paddings(torch, padding, rng):
    x, weight = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, 4, 3))
    expected = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, weight)), padding=padding)
    np.testing.assert_allclose(F.conv2d(x, weight, padding=padding), expected, atol=1e-12)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["same", (2, 1)])
def test_padding_modes_are_those_of_torchs_layer(torch, mode, padding, rng):
    layer = torch.nn.Conv2d(3, 4, (3, 4), padding=padding, padding_mode=mode, dtype=torch.float64)
    x = rng.standard_normal((2, 3, 7, 6))
    weight, bias = (value.detach().numpy() for value in (layer.weight, layer.bias))
    found = F.conv2d(x, weight, bias, padding=padding, padding_mode=mode)
    np.testing.assert_allclose(found, layer(torch.from_numpy(x)).detach(), atol=1e-12)


@st.composite
def poolings(draw, dilated=True):
    """A shape and (kernel, stride, padding, dilation, ceil_mode) that torch may accept."""
    shape = draw(st.integers(1, 2)), draw(st.integers(1, 20)), draw(st.integers(1, 12)), draw(st.integers(1, 12))
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride = draw(st.none() | st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = tuple(draw(st.integers(1, 3 if dilated else 1)) for _ in range(2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    return shape, (kernel, stride, padding, dilation, draw(st.booleans()))


@given(poolings(), backends, dtypes, st.sampled_from(FORMATS), seeds)
def test_max_pool2d_its_indices_and_its_gradient(torch, generated, backend, dtype, wanted, seed):
    shape, (kernel, stride, padding, dilation, ceil_mode) = generated
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(dtype)  # many ties
    x[rng.random(shape) < 0.1] = np.nan
    x[rng.random(shape) < 0.1] = -np.inf
    leaf = fc.tensor(in_format(x, wanted), requires_grad=True)
    (theirs,) = torch_leaves(torch, [x])
    parameters = {"ceil_mode": ceil_mode, "return_indices": True}
    try:
        expected, expected_at = torch.nn.functional.max_pool2d(theirs, kernel, stride, padding, dilation, **parameters)
    except RuntimeError:
        with pytest.raises(ShapeError):
            F.max_pool2d(leaf, kernel, stride, padding, dilation, **parameters, backend=backend)
        return
    out, indices = F.max_pool2d(leaf, kernel, stride, padding, dilation, **parameters, backend=backend)
    np.testing.assert_array_equal(out.numpy(), expected.detach().numpy())
    inputless = windows_without_input(shape, kernel, stride or kernel, padding, dilation, out.shape)
    np.testing.assert_array_equal(indices.numpy()[..., ~inputless], expected_at.numpy()[..., ~inputless])
    assert ((indices.numpy() >= 0) & (indices.numpy() < shape[2] * shape[3])).all()
    grad = rng.integers(-5, 6, out.shape).astype(dtype)
    grad[..., inputless] = 0
    out.backward(in_format(grad, wanted))
    expected.backward(torch.from_numpy(grad))
    np.testing.assert_array_equal(leaf.grad.numpy(), theirs.grad.numpy())


def windows_without_input(shape, kernel, stride, padding, dilation, out_shape):
    """(OH, OW) mask of the windows that lie in the padding with all their taps."""
    masks = []
    for size, k, s, p, d, out in zip(shape[2:], kernel, stride, padding, dilation, out_shape[2:], strict=True):
        places = np.arange(out)[:, None] * s - p + np.arange(k) * d
        masks.append(~((places >= 0) & (places < size)).any(axis=1))
    return masks[0][:, None] | masks[1]


@given(poolings(dilated=False), dtypes, st.sampled_from(FORMATS), st.booleans(), st.none() | st.integers(1, 9), seeds)
def test_avg_pool2d_and_its_gradient(torch, generated, dtype, wanted, count_include_pad, divisor, seed):
    shape, (kernel, stride, padding, _, ceil_mode) = generated
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    leaf = fc.tensor(in_format(x, wanted), requires_grad=True)
    (theirs,) = torch_leaves(torch, [x])
    parameters = (kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    try:
        expected = torch.nn.functional.avg_pool2d(theirs, *parameters)
    except RuntimeError:
        with pytest.raises(ShapeError):
            F.avg_pool2d(leaf, *parameters)
        return
    out = F.avg_pool2d(leaf, *parameters)
    grad = rng.standard_normal(out.shape).astype(dtype)
    out.backward(in_format(grad, wanted))
    expected.backward(torch.from_numpy(grad))
    assert_close(out.numpy(), expected, 9, dtype)
    assert_close(leaf.grad.numpy(), theirs.grad, 9, dtype)


@st.composite
def adaptive_poolings(draw):
    """A shape and an output size."""
    shape = draw(st.integers(0, 2)), draw(st.integers(1, 20)), draw(st.integers(1, 12)), draw(st.integers(1, 12))
    sizes = st.none() | st.integers(1, 15)
    return shape, draw(st.integers(1, 15) | st.tuples(sizes, sizes))


@given(adaptive_poolings(), dtypes, st.sampled_from(FORMATS), seeds)
def test_adaptive_avg_pool2d_and_its_gradient(torch, generated, dtype, wanted, seed):
    shape, output_size = generated
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    leaf = fc.tensor(in_format(x, wanted), requires_grad=True)
    (theirs,) = torch_leaves(torch, [x])
    expected = torch.nn.functional.adaptive_avg_pool2d(theirs, output_size)
    out = F.adaptive_avg_pool2d(leaf, output_size)
    grad = rng.standard_normal(out.shape).astype(dtype)
    out.backward(in_format(grad, wanted))
    expected.backward(torch.from_numpy(grad))
    assert_close(out.numpy(), expected, 144, dtype)
    assert_close(leaf.grad.numpy(), theirs.grad, 15 * 15, dtype)


@given(adaptive_poolings(), dtypes, st.sampled_from(FORMATS), seeds)
def test_adaptive_max_pool2d_its_indices_and_its_gradient(torch, generated, dtype, wanted, seed):
    shape, output_size = generated
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(dtype)
    x[rng.random(shape) < 0.1] = np.nan
    x[rng.random(shape) < 0.1] = -np.inf
    leaf = fc.tensor(in_format(x, wanted), requires_grad=True)
    (theirs,) = torch_leaves(torch, [x])
    expected, expected_at = torch.nn.functional.adaptive_max_pool2d(theirs, output_size, return_indices=True)
    out, indices = F.adaptive_max_pool2d(leaf, output_size, return_indices=True)
    np.testing.assert_array_equal(out.numpy(), expected.detach().numpy())
    # Of a window of -inf alone torch has the first position, too.
    np.testing.assert_array_equal(indices.numpy(), expected_at.numpy())
    grad = rng.integers(-5, 6, out.shape).astype(dtype)
    out.backward(in_format(grad, wanted))
    expected.backward(torch.from_numpy(grad))
    np.testing.assert_array_equal(leaf.grad.numpy(), theirs.grad.numpy())


@given(poolings(dilated=False), seeds)
def test_max_unpool2d_and_its_gradient(torch, generated, seed):
    shape, (kernel, stride, padding, _, _) = generated
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.permutation(np.arange(float(np.prod(shape)))).reshape(shape))
    # Where windows overlap an index occurs twice, and which value wins is nobody's promise.
    stride = tuple(max(pair) for pair in zip(kernel, stride or kernel, strict=True))
    try:
        pooled, indices = torch.nn.functional.max_pool2d(x, kernel, stride, padding, return_indices=True)
        pooled = pooled.requires_grad_()
        expected = torch.nn.functional.max_unpool2d(pooled, indices, kernel, stride, padding, output_size=shape[2:])
    except (RuntimeError, ValueError):
        return
    leaf = fc.tensor(pooled.detach().numpy(), requires_grad=True)
    found = F.max_unpool2d(leaf, indices.numpy(), kernel, stride, padding, output_size=shape[2:])
    np.testing.assert_array_equal(found.numpy(), expected.detach().numpy())
    grad = rng.standard_normal(found.shape)
    found.backward(grad)
    expected.backward(torch.from_numpy(grad))
    np.testing.assert_array_equal(leaf.grad.numpy(), pooled.grad.numpy())
