"""The table of bad inputs where it concerns gradients, and the operations beside convolution and pooling."""

import numpy as np
import pytest
from support.backends import every_backend
from support.data import assert_same_bits, integers

import fastconv as fc
import fastconv.functional as F
from fastconv.errors import DTypeError, ShapeError


def convolution(rng, backend):
    leaves = [fc.tensor(integers(rng, s), requires_grad=True) for s in ((2, 4, 6, 5), (6, 2, 3, 3), (6,))]
    return leaves, F.conv2d(*leaves, padding=1, groups=2, backend=backend)


def pooling(rng, backend):
    leaf = fc.tensor(integers(rng, (2, 4, 6, 5)), requires_grad=True)
    return [leaf], F.max_pool2d(leaf, 2, backend=backend)


operations = pytest.mark.parametrize("operation", [convolution, pooling])
# id: (from the right gradient to a wrong one, class, words)
GRADIENTS = {
    "one row less": (lambda g: g[:, :, 1:], ShapeError, r"gradient has shape \(.*\), the Tensor has shape \("),
    "one image less": (lambda g: g[:1], ShapeError, "gradient has shape"),
    "unbatched": (lambda g: g[0], ShapeError, "gradient has shape"),
    "flat": (lambda g: g.ravel(), ShapeError, "gradient has shape"),
    "one more": (lambda g: np.concatenate([g, g]), ShapeError, "gradient has shape"),
    "empty": (lambda g: g[:0], ShapeError, "gradient has shape"),
    "a number": (lambda g: np.float32(1), ShapeError, r"gradient has shape \(\)"),
    "wider": (lambda g: g.astype(np.float64), DTypeError, "mixed dtypes: gradient is float64, the Tensor is float32"),
    "integers": (lambda g: g.astype(np.int32), DTypeError, "mixed dtypes: gradient is int32"),
    "objects": (lambda g: g.astype(object), DTypeError, "gradient has dtype object"),
    "a list": (lambda g: g.tolist(), TypeError, "gradient must be an array or a Tensor, got list"),
    "None": (lambda g: None, RuntimeError, "grad can be implicitly created only for scalar outputs"),
}


@every_backend
@operations
@pytest.mark.parametrize("row", GRADIENTS)
def test_a_wrong_gradient_changes_nothing(backend, operation, row, rng):
    spoil, error, words = GRADIENTS[row]
    leaves, out = operation(rng, backend)
    grad = integers(rng, out.shape)
    with pytest.raises(error, match=words):
        out.backward(spoil(grad))
    assert all(leaf.grad is None for leaf in leaves)
    out.backward(grad)  # the graph is still there
    assert all(leaf.grad.shape == leaf.shape for leaf in leaves)


@every_backend
@operations
def test_backward_twice(backend, operation, rng):
    leaves, out = operation(rng, backend)
    out.backward(np.ones(out.shape, np.float32))
    first = [leaf.grad.numpy().copy() for leaf in leaves]
    with pytest.raises(RuntimeError, match=r"backward through the graph a second time.*retain_graph=True"):
        out.backward(np.ones(out.shape, np.float32))
    for leaf, expected in zip(leaves, first, strict=True):
        assert_same_bits(leaf.grad.numpy(), expected)


@every_backend
@pytest.mark.parametrize("change", [lambda t: t.zero_(), lambda t: t.copy_(1), lambda t: t.__setitem__(0, 5)])
@pytest.mark.parametrize("which", [0, 1])
def test_a_saved_tensor_changed_in_place(backend, change, which, rng):
    leaves, out = convolution(rng, backend)
    with fc.no_grad():
        change(leaves[which])
    with pytest.raises(RuntimeError, match=r"an inplace operation: it is at version 1; expected version 0 instead"):
        out.backward(np.ones(out.shape, np.float32))
    assert all(leaf.grad is None for leaf in leaves)


def test_a_tensor_that_asks_for_nothing():
    with pytest.raises(RuntimeError, match="does not require grad"):
        fc.tensor([1.0]).backward()


@every_backend
def test_indices_outside_the_output(backend, rng):
    out, indices = F.max_pool2d(integers(rng, (1, 2, 6, 5)), 2, return_indices=True, backend=backend)
    for bad in (-1, 24, 2**62, -(2**63)):
        wrong = indices.copy()
        wrong[0, 1, 2, 1] = bad
        with pytest.raises(IndexError, match="found an index outside the 6 x 4 output"):
            F.max_unpool2d(out, wrong, 2)
    with pytest.raises(ShapeError, match="indices have shape"):
        F.max_unpool2d(out, indices[:, :1], 2)
    with pytest.raises(DTypeError, match="indices must be integers, got float32"):
        F.max_unpool2d(out, out, 2)
    with pytest.raises(ValueError, match="must lie within one stride of"):
        F.max_unpool2d(out, indices, 2, output_size=(9, 9))
    with pytest.raises(ShapeError, match=r"expected 3D .* max_unpool2d, got shape \(3, 2\)"):
        F.max_unpool2d(out[0, 0], indices[0, 0], 2)


def array(*shape):
    return np.ones(shape, np.float32)


# id: (call, class, words)
OTHERS = {
    "linear, wrong features": (lambda: F.linear(array(2, 3), array(4, 5)), ShapeError, r"\(2, 3\) and weight \(4, 5\)"),
    "linear, rank": (lambda: F.linear(array(2, 3), array(3)), ShapeError, "linear expects"),
    "linear, no axes": (lambda: F.linear(np.float32(1), array(4, 1)), ShapeError, "linear expects"),
    "linear, bias": (
        lambda: F.linear(array(2, 3), array(4, 3), array(3)),
        ShapeError,
        r"bias must have shape \(4,\), got \(3,\)",
    ),
    "linear, dtypes": (lambda: F.linear(array(2, 3), array(4, 3).astype("f8")), DTypeError, "mixed dtypes"),
    "linear, None": (lambda: F.linear(None, array(4, 3)), TypeError, "input must be an array or a Tensor"),
    "matmul": (lambda: F.matmul(array(2, 3), array(2, 3)), ShapeError, r"\(2, 3\) and \(2, 3\) do not fit"),
    "matmul, a number": (lambda: F.matmul(array(2, 3), np.float32(2)), ShapeError, "do not fit"),
    "matmul, integers": (lambda: F.matmul(np.ones((2, 2), int), np.ones((2, 2), int)), DTypeError, "int64; supported"),
    "add": (lambda: fc.tensor(array(2, 3)) + array(4), ShapeError, r"shapes \(2, 3\) and \(4,\) cannot be broadcast"),
    "add None": (lambda: fc.tensor(array(2)) + None, TypeError, "b must be an array or a Tensor, got NoneType"),
    "add str": (lambda: fc.tensor(array(2)) + "1", TypeError, "b must be an array or a Tensor, got str"),
    "add list": (lambda: F.add(array(2), [1, 2]), TypeError, "b must be an array or a Tensor, got list"),
    "pow": (lambda: fc.tensor(array(2)) ** array(2), TypeError, "the exponent must be a number"),
    "relu of a list": (lambda: F.relu([1.0]), TypeError, "input must be an array or a Tensor, got list"),
    "relu of a number": (lambda: F.relu(1.0), TypeError, "input must be an array or a Tensor, got float"),
    "relu of objects": (lambda: F.relu(np.array([None])), DTypeError, "input has dtype object"),
    "log_softmax of integers": (lambda: F.log_softmax(np.ones(3, int)), DTypeError, "input has dtype int64"),
    "log_softmax, axis": (lambda: F.log_softmax(array(2, 3), 2), ShapeError, r"axis 2 is out of range for shape"),
    "log_softmax, text": (lambda: F.log_softmax(array(2, 3), "1"), TypeError, "dim must be an int, got '1'"),
    "softmax, axis": (lambda: F.softmax(array(2, 3), -3), ShapeError, r"axis -3 is out of range for shape \(2, 3\)"),
    "softmax of nothing": (lambda: F.softmax(array(2, 0), 1), ShapeError, r"\(2, 0\) has no class along axis 1"),
    "softmax of integers": (lambda: F.softmax(np.ones(3, int)), DTypeError, "input has dtype int64"),
    "tanh of integers": (lambda: F.tanh(np.ones(3, int)), DTypeError, "input has dtype int64"),
    "sigmoid of a list": (lambda: F.sigmoid([1.0]), TypeError, "input must be an array or a Tensor, got list"),
    "leaky_relu of integers": (lambda: F.leaky_relu(np.ones(3, int)), DTypeError, "input has dtype int64"),
    "leaky_relu, slope": (lambda: F.leaky_relu(array(2), "0.1"), TypeError, "negative_slope must be a number"),
    "relu6 of integers": (lambda: F.relu6(np.ones(3, int)), DTypeError, "input has dtype int64"),
    "relu6 of a list": (lambda: F.relu6([1.0]), TypeError, "input must be an array or a Tensor, got list"),
    "hardtanh, ends": (
        lambda: F.hardtanh(array(2), 1, 0),
        ValueError,
        "min_val must not be above max_val, got 1 and 0",
    ),
    "hardtanh, text": (lambda: F.hardtanh(array(2), "0"), TypeError, "min_val must be a number, got '0'"),
    "dropout2d of a matrix": (lambda: F.dropout2d(array(2, 3)), ShapeError, r"input to dropout2d, got shape \(2, 3\)"),
    "dropout2d above 1": (lambda: F.dropout2d(array(1, 2, 3), 2), ValueError, "has to be between 0 and 1, but got 2"),
    "dropout2d of integers": (lambda: F.dropout2d(np.ones((1, 2, 3), int)), DTypeError, "input has dtype int64"),
    "local_response_norm, rank": (
        lambda: F.local_response_norm(array(2, 3), 2),
        ShapeError,
        r"expected 3D or higher .* local_response_norm, got shape \(2, 3\)",
    ),
    "local_response_norm, size": (
        lambda: F.local_response_norm(array(1, 2, 3), 0),
        ValueError,
        "size must be a positive int, got 0",
    ),
    "local_response_norm, alpha": (
        lambda: F.local_response_norm(array(1, 2, 3), 2, "1"),
        TypeError,
        "alpha must be a number, got '1'",
    ),
    "local_response_norm of integers": (
        lambda: F.local_response_norm(np.ones((1, 2, 3), int), 2),
        DTypeError,
        "input has dtype int64",
    ),
    "dropout above 1": (lambda: F.dropout(array(2), 1.5), ValueError, "has to be between 0 and 1, but got 1.5"),
    "dropout below 0": (lambda: F.dropout(array(2), -0.1), ValueError, "has to be between 0 and 1, but got -0.1"),
    "dropout of a list": (lambda: F.dropout([1.0]), TypeError, "input must be an array or a Tensor, got list"),
    "flatten": (lambda: F.flatten(array(2, 3), 1, 0), ShapeError, "start_dim 1 comes after end_dim 0"),
    "flatten beyond": (lambda: F.flatten(array(2, 3), 2), IndexError, "start_dim 2 is out of range for 2 axes"),
    "flatten of a list": (lambda: F.flatten([1.0]), TypeError, "input must be an array or a Tensor, got list"),
    "reshape": (lambda: F.reshape(array(2, 3), (4, 2)), ShapeError, r"shape \(4, 2\) is invalid for input .*\(2, 3\)"),
    "reshape float": (lambda: F.reshape(array(2, 3), (2.0, 3)), TypeError, "shape must be an int, got 2.0"),
    "cast of a list": (lambda: F.cast([1.0], "f4"), TypeError, "input must be an array or a Tensor, got list"),
    "index of a list": (lambda: F.getitem([1.0], 0), TypeError, "input must be an array or a Tensor, got list"),
    "sum of a str": (lambda: F.sum("abc"), TypeError, "input must be an array or a Tensor, got str"),
    "class above": (
        lambda: F.cross_entropy(array(2, 3), np.array([0, 3])),
        IndexError,
        "target 0 to 3 is out of bounds",
    ),
    "class below": (
        lambda: F.cross_entropy(array(2, 3), np.array([0, -1])),
        IndexError,
        "target -1 to 0 is out of bounds",
    ),
    "classes as floats": (
        lambda: F.cross_entropy(array(2, 3), array(2)),
        DTypeError,
        "integer class indices, got .*float32",
    ),
    "classes of another batch": (
        lambda: F.cross_entropy(array(2, 3), np.zeros(3, int)),
        ShapeError,
        r"expects target of shape \(2,\), got \(3,\)",
    ),
    "class weights": (
        lambda: F.cross_entropy(array(2, 3), np.zeros(2, int), array(2)),
        ShapeError,
        r"weight must have shape \(3,\).*got \(2,\)",
    ),
    "reduction": (
        lambda: F.cross_entropy(array(2, 3), np.zeros(2, int), reduction="max"),
        ValueError,
        "reduction must be one of mean, sum, none, got 'max'",
    ),
    "smoothing": (
        lambda: F.cross_entropy(array(2, 3), np.zeros(2, int), label_smoothing=2),
        ValueError,
        "label_smoothing must lie between 0 and 1, got 2",
    ),
    "divisor": (
        lambda: F.avg_pool2d(array(1, 4, 4), 2, divisor_override=0),
        ValueError,
        "divisor_override must be a pos",
    ),
    "tensor of objects": (lambda: fc.tensor(np.array([None])), DTypeError, "data has dtype object"),
    "tensor of halves": (lambda: fc.tensor(np.ones(2, "f2")), DTypeError, "data has dtype float16"),
    "tensor of complex": (lambda: fc.tensor(np.ones(2, "c8")), DTypeError, "data has dtype complex64"),
    "tensor of None": (lambda: fc.tensor(None), TypeError, "data must be an array or a Tensor, got NoneType"),
    "integers with gradients": (
        lambda: fc.tensor(np.ones(2, int), requires_grad=True),
        DTypeError,
        "only floating-point Tensors can require gradients, this one is int64",
    ),
}


@pytest.mark.parametrize("row", OTHERS)
def test_other_operations(row):
    call, error, words = OTHERS[row]
    with pytest.raises(error, match=words):
        call()
