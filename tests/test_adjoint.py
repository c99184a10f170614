"""Linear operations and their transposes: <Jv, w> == <v, Jᵀw>, exactly on integers, instead of finite differences."""

import numpy as np
import pytest
from support.backends import every_backend
from support.data import integers
from support.kernel_calls import geometry_of

import fastconv as fc
import fastconv.functional as F
from fastconv.bench.cases import AWKWARD_CONVS, AWKWARD_POOLS

conv_cases = pytest.mark.parametrize("case", AWKWARD_CONVS, ids=lambda case: case.name)
pool_cases = pytest.mark.parametrize("case", AWKWARD_POOLS, ids=lambda case: case.name)


def dot(a, b):
    """The inner product of integer-valued arrays, without rounding."""
    assert a.shape == b.shape
    return int(np.vdot(a.astype(np.int64), b.astype(np.int64)))


def transpose(function, v, w):
    """Jᵀw of a linear function at v."""
    leaf = fc.tensor(v, requires_grad=True)
    function(leaf).backward(w)
    return leaf.grad.numpy()


def assert_adjoint(function, v, w):
    image = function(v)
    assert dot(image, w) == dot(v, transpose(function, v, w))


@every_backend
@conv_cases
def test_conv2d_with_respect_to_the_input(backend, case, rng):
    weight, w = integers(rng, case.weight_shape), integers(rng, geometry_of(case).out_shape)
    v = integers(rng, case.x_shape)
    assert_adjoint(lambda x: F.conv2d(x, weight, **case.parameters, backend=backend), v, w)


@every_backend
@conv_cases
def test_conv2d_with_respect_to_the_weight(backend, case, rng):
    x, w = integers(rng, case.x_shape), integers(rng, geometry_of(case).out_shape)
    v = integers(rng, case.weight_shape)
    assert_adjoint(lambda weight: F.conv2d(x, weight, **case.parameters, backend=backend), v, w)


@every_backend
@conv_cases
def test_conv2d_with_respect_to_the_bias(backend, case, rng):
    x, weight = np.zeros(case.x_shape, np.float32), integers(rng, case.weight_shape)
    v, w = integers(rng, case.weight_shape[:1]), integers(rng, geometry_of(case).out_shape)
    assert_adjoint(lambda bias: F.conv2d(x, weight, bias, **case.parameters, backend=backend), v, w)


@every_backend
@pool_cases
def test_max_pooling_with_its_winners_fixed(backend, case, rng):
    x, w = integers(rng, case.x_shape), integers(rng, geometry_of(case).out_shape)
    out, indices = F.max_pool2d(x, **case.parameters, return_indices=True, backend=backend)
    v = integers(rng, case.x_shape)
    image = np.take_along_axis(v.reshape(*v.shape[:2], -1), indices.reshape(*v.shape[:2], -1), 2).reshape(w.shape)
    image[np.isneginf(out)] = 0  # windows without any input take nothing
    assert dot(image, w) == dot(v, transpose(lambda x: F.max_pool2d(x, **case.parameters, backend=backend), x, w))


@pool_cases
@pytest.mark.parametrize("count_include_pad", [True, False])
def test_average_pooling(case, count_include_pad, rng):
    if case.dilation != 1:
        case = type(case)(case.name, case.suite, case.x_shape, 1, case.stride)
    parameters = {name: value for name, value in case.parameters.items() if name != "dilation"}
    v, w = integers(rng, case.x_shape), integers(rng, geometry_of(case).out_shape)
    assert_adjoint(lambda x: F.avg_pool2d(x, **parameters, divisor_override=1), v, w)
    function = lambda x: F.avg_pool2d(x, **parameters, count_include_pad=count_include_pad)  # noqa: E731
    v, w = v.astype(np.float64), w.astype(np.float64)
    np.testing.assert_allclose(np.vdot(function(v), w), np.vdot(v, transpose(function, v, w)), atol=1e-9)


def test_max_unpooling(rng):
    x = integers(rng, (2, 3, 7, 6))
    out, indices = F.max_pool2d(x, (3, 2), (3, 2), return_indices=True)
    w = integers(rng, x.shape)
    assert_adjoint(lambda y: F.max_unpool2d(y, indices, (3, 2), (3, 2), output_size=(7, 6)), out, w)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.linear(x, np.arange(15, dtype=np.float32).reshape(3, 5)),
        lambda x: F.matmul(np.arange(8, dtype=np.float32).reshape(2, 4), x),
        lambda x: x.reshape(5, 4),
        lambda x: F.getitem(x, (slice(1, 3), slice(None, None, -1))),
        lambda x: F.getitem(x, np.array([3, 0, 3])),
        lambda x: F.sum(x, axis=0),
        lambda x: F.sum(x, axis=(0, 1), keepdims=True),
        lambda x: F.add(x, np.zeros((3, 1, 1), np.float32)),
        lambda x: F.mul(x, np.arange(3, dtype=np.float32).reshape(3, 1, 1)),
        lambda x: F.sub(np.float32(0), x),
        lambda x: F.neg(x),
        lambda x: F.leaky_relu(x, 1),
    ],
)
def test_other_linear_operations(function, rng):
    v = integers(rng, (4, 5))
    assert_adjoint(function, v, integers(rng, function(v).shape))


def test_leaky_relu_with_its_signs_fixed(rng):
    x, v, w = (integers(rng, (4, 5)) for _ in range(3))
    image = np.where(x > 0, v, 3 * v)
    assert dot(image, w) == dot(v, transpose(lambda x: F.leaky_relu(x, 3), x, w))


@pytest.mark.parametrize("function", [F.tanh, F.sigmoid, F.softmax], ids=lambda function: function.__name__)
def test_smooth_activations_have_the_slope_of_a_chord(function, rng):
    x, v, w = (rng.standard_normal((4, 5)) for _ in range(3))
    chord = (function(x + 1e-6 * v) - function(x - 1e-6 * v)) / 2e-6
    np.testing.assert_allclose(np.vdot(chord, w), np.vdot(v, transpose(function, x, w)), rtol=1e-7)
