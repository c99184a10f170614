"""PyTorch as the judge of everything that is neither convolution nor pooling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv as fc
import fastconv.functional as F

pytestmark = pytest.mark.oracle
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float32", "float64"])
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def compare(torch, ours, theirs, values, seed, dtype):
    """Values and gradients of two functions of the same leaves."""
    leaves = [fc.tensor(array, requires_grad=True) for array in values]
    others = [torch.from_numpy(array.copy()).requires_grad_() for array in values]
    out, expected = ours(*leaves), theirs(*others)
    assert out.shape == tuple(expected.shape)
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(out.numpy(), expected.detach().numpy(), **tolerance)
    grad = np.random.default_rng(seed).standard_normal(out.shape).astype(dtype)
    out.backward(grad)
    expected.backward(torch.from_numpy(np.asarray(grad)))
    for leaf, other in zip(leaves, others, strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), other.grad.numpy(), **tolerance)
        assert leaf.grad.dtype == leaf.dtype


@st.composite
def classifications(draw):
    """(logits, classes, keyword arguments) for one sample, a batch, or a batch of maps."""
    C, extra = draw(st.integers(1, 6)), draw(st.sampled_from([None, (), (3,), (2, 4)]))
    rng = np.random.default_rng(draw(seeds))
    dtype = draw(dtypes)
    shape, target_shape = ((C,), ()) if extra is None else ((4, C, *extra), (4, *extra))
    logits = (rng.standard_normal(shape) * draw(st.sampled_from([1, 30]))).astype(dtype)
    classes = rng.integers(0, C, target_shape)
    ignored = draw(st.sampled_from([-100, 0, 7]))
    if draw(st.booleans()) and target_shape:
        classes[rng.random(target_shape) < 0.3] = ignored
    weight = rng.uniform(0.1, 2, C).astype(dtype) if draw(st.booleans()) else None
    reduction = draw(st.sampled_from(["mean", "sum", "none"]))
    smoothing = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return logits, classes, weight, {"ignore_index": ignored, "reduction": reduction, "label_smoothing": smoothing}


@given(classifications(), seeds)
def test_cross_entropy(torch, generated, seed):
    logits, classes, weight, parameters = generated
    their_weight = None if weight is None else torch.from_numpy(weight)
    compare(
        torch,
        lambda x: F.cross_entropy(x, classes, weight, **parameters),
        lambda x: torch.nn.functional.cross_entropy(x, torch.tensor(classes), their_weight, **parameters),
        [logits],
        seed,
        logits.dtype.name,
    )


def test_cross_entropy_of_extreme_logits(torch):
    logits = np.array([[1e30, -1e30, 0], [-np.inf, 0, 1], [500, 500, -500]], np.float32)
    for target in ([1, 2, 0], [0, 1, 2]):
        expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.tensor(target), reduction="none")
        found = F.cross_entropy(logits, np.array(target), reduction="none")
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


@given(st.integers(1, 4), st.integers(0, 3), dtypes, st.sampled_from([1.0, 200.0]), seeds)
@pytest.mark.parametrize("name", ["log_softmax", "softmax"])
def test_softmax(torch, name, ndim, dim, dtype, scale, seed):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal(rng.integers(1, 6, ndim)) * scale).astype(dtype)
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    compare(torch, lambda t: ours(t, dim=dim % ndim), lambda t: theirs(t, dim=dim % ndim), [x], seed, dtype)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("name", ["log_softmax", "softmax"])
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_softmax_without_an_axis(torch, rng, name, ndim):
    x = rng.standard_normal((3, 2, 4, 2)[:ndim]).astype(np.float32)
    expected = getattr(torch.nn.functional, name)(torch.from_numpy(x)).numpy()
    # A logarithm near zero is the difference of numbers that are not.
    np.testing.assert_allclose(getattr(F, name)(x), expected, rtol=1e-6, atol=1e-6)


ACTIVATIONS = {
    "tanh": lambda library, x: library.tanh(x),
    "sigmoid": lambda library, x: library.sigmoid(x),
    "relu6": lambda library, x: library.relu6(x),
    "hardtanh": lambda library, x: library.hardtanh(x),
    "hardtanh between two": lambda library, x: library.hardtanh(x, -0.25, 1.5),
    "leaky_relu": lambda library, x: library.leaky_relu(x),
    "leaky_relu, steep": lambda library, x: library.leaky_relu(x, negative_slope=-1.5),
}


@given(st.integers(0, 4), dtypes, st.sampled_from([1.0, 20.0]), seeds)
@pytest.mark.parametrize("function", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations(torch, function, ndim, dtype, scale, seed):
    rng = np.random.default_rng(seed)
    x = np.asarray(rng.standard_normal(rng.integers(0, 6, ndim)) * scale, dtype)
    compare(torch, lambda t: function(F, t), lambda t: function(torch.nn.functional, t), [x], seed, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", [*ACTIVATIONS.values(), lambda library, x: library.softmax(x, 1)])
def test_activations_of_special_values(torch, function, dtype):
    rows = [
        [np.nan, 0.0, 1.0],
        [np.inf, 0.0, 1.0],
        [-np.inf, 0.0, 800.0],
        [-np.inf] * 3,
        [6.0, 0.0, 1.0],
        [-0.0, 1e-30, -1e-30],
    ]
    ours = fc.tensor(np.array(rows, dtype), requires_grad=True)
    theirs = torch.tensor(rows, dtype=getattr(torch, dtype), requires_grad=True)
    out, expected = function(F, ours), function(torch.nn.functional, theirs)
    np.testing.assert_allclose(out.numpy(), expected.detach().numpy(), rtol=1e-6)
    np.testing.assert_array_equal(np.signbit(out.numpy()[-1]), np.signbit(expected.detach().numpy()[-1]))
    out.backward(np.ones(out.shape, dtype))
    expected.backward(torch.ones_like(expected))
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6, atol=1e-7)


@given(
    st.lists(st.integers(1, 4), min_size=0, max_size=3),
    st.integers(1, 9),
    st.integers(1, 9),
    st.booleans(),
    dtypes,
    seeds,
)
def test_linear(torch, batch, inputs, outputs, has_bias, dtype, seed):
    rng = np.random.default_rng(seed)
    shapes = [(*batch, inputs), (outputs, inputs), *([(outputs,)] if has_bias else [])]
    values = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    compare(torch, F.linear, torch.nn.functional.linear, values, seed, dtype)


VECTORS = [((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,))]
MATRICES = [((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 1, 2, 3), (4, 3, 2))]


@given(dtypes, seeds)
@pytest.mark.parametrize("shapes", [*VECTORS, *MATRICES], ids=str)
def test_matmul(torch, shapes, dtype, seed):
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    compare(torch, lambda a, b: a @ b, lambda a, b: a @ b, values, seed, dtype)


ELEMENTWISE = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "mixed": lambda a, b: (2 * a - b / 3) * (1 - a) / (4 + b * b) + a**3 - (-b) ** 2,
    "reciprocal": lambda a, b: 1 / a + b**-1,
}


@given(dtypes, seeds)
@pytest.mark.parametrize("function", ELEMENTWISE.values(), ids=ELEMENTWISE)
@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 3)), ((4, 1, 3), (2, 1)), ((), (2, 3)), ((1,), (1, 1)), ((3,), ())], ids=str
)
def test_elementwise_with_broadcasting(torch, function, shapes, dtype, seed):
    rng = np.random.default_rng(seed)
    values = [np.asarray(rng.uniform(0.5, 2, shape) * rng.choice((-1, 1), shape), dtype) for shape in shapes]
    compare(torch, function, function, values, seed, dtype)


REDUCTIONS = {
    "sum": lambda x: x.sum(),
    "sum over one": lambda x: x.sum(1),
    "sum over two, kept": lambda x: x.sum((0, 2), True),
    "mean": lambda x: x.mean(),
    "mean over the last": lambda x: x.mean(-1),
    "mean over two": lambda x: x.mean((1, 2)),
    "relu": lambda x: x.relu(),
    "reshape": lambda x: x.reshape(-1, 2),
    "flatten": lambda x: x.flatten(1),
    "index": lambda x: x[1],
    "slice": lambda x: x[:, 1:3],
    "ellipsis": lambda x: x[..., 0],
    "new axis": lambda x: x[:, None],
    "array of indices": lambda x: x[[0, 1, 0, 0]],
    "two arrays of indices": lambda x: x[[0, 1, 1], [2, 0, 0]],
}


@given(dtypes, seeds)
@pytest.mark.parametrize("function", REDUCTIONS.values(), ids=REDUCTIONS)
def test_reductions_and_shapes(torch, function, dtype, seed):
    x = np.random.default_rng(seed).standard_normal((2, 3, 4)).astype(dtype)
    compare(torch, function, function, [x], seed, dtype)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3.0, -1, 0.5])
def test_powers_of_zero_and_one(torch, exponent):
    values = [np.array([0.0, 1.0, 2.0]) if exponent >= 0 else np.array([1.0, 2.0])]
    with np.errstate(divide="ignore"):
        compare(torch, lambda x: x**exponent, lambda x: x**exponent, values, 0, "float64")


def test_argmax_and_comparisons(torch, rng):
    x = rng.integers(-3, 4, (4, 5)).astype(np.float32)
    ours, theirs = fc.tensor(x), torch.from_numpy(x)
    for axis in (None, 0, 1):
        assert ours.argmax(axis).tolist() == x.argmax(axis).tolist()
    for operation in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(ours, operation)(1).tolist() == getattr(theirs, operation)(1).tolist()
