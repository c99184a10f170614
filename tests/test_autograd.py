"""The tape: accumulation, sharing, versions, modes, and what it records."""

import itertools
import threading

import numpy as np
import pytest
from support.backends import every_backend
from support.data import integers

import fastconv as fc
import fastconv.functional as F
from fastconv import backends
from fastconv.autograd import Function
from fastconv.errors import ShapeError


def leaf(values, dtype=None):
    return fc.tensor(values, dtype, requires_grad=True)


def ones(tensor):
    return np.ones(tensor.shape, tensor.dtype)


def test_gradients_accumulate_over_walks():
    x = leaf([1.0, 2.0])
    for walk in (1, 2, 3):
        (x * x).sum().backward()
        assert x.grad.tolist() == [2.0 * walk, 4.0 * walk]
    held = x.grad.numpy()
    x.grad.zero_()
    assert held.tolist() == [0, 0]
    x.backward(np.ones(2, np.float32))  # a leaf is its own graph
    assert x.grad.tolist() == [1, 1]


def test_every_path_through_a_diamond_counts():
    x = leaf([3.0])
    y = x * 2
    (y * y + y * x + x).sum().backward()
    assert x.grad.tolist() == [8 * 3 + 4 * 3 + 1]


def test_a_chain_of_diamonds_takes_linear_time():
    x = y = leaf([1.0], "float64")
    for _ in range(60):
        y = y + y
    y.sum().backward()
    assert x.grad.tolist() == [2.0**60]


def test_a_graph_may_be_deeper_than_the_stack():
    x = y = leaf([1.0])
    for _ in range(20_000):
        y = y + 1
    y.backward(np.ones(1, np.float32))
    assert x.grad.tolist() == [1]


SHARING = {
    "both operands": lambda a, b: a + b,
    "one operand twice": lambda a, b: a + a + b,
    "views": lambda a, b: a.reshape(-1).reshape(a.shape) + b.flatten(0).reshape(a.shape),
    "difference": lambda a, b: a - b,
    "through a cast": lambda a, b: a.to(a.dtype) + b,
    "relu": lambda a, b: a.relu() + b.relu(),
    "long way and short way": lambda a, b: (a + b) + (a + b) + a,
    "an index": lambda a, b: a[:] + b[...],
    "activations": lambda a, b: F.tanh(a) + F.sigmoid(b) + F.softmax(F.leaky_relu(a, 1), 1),
}


@pytest.mark.parametrize("function", SHARING.values(), ids=SHARING)
def test_no_two_gradients_share_memory(function):
    a, b = leaf(np.ones((2, 3), np.float32)), leaf(np.ones((2, 3), np.float32))
    seed = np.full((2, 3), 2, np.float32)
    out = function(a, b)
    out.backward(seed, retain_graph=True)
    arrays = {"seed": seed, "a": a.numpy(), "b": b.numpy(), "a.grad": a.grad.numpy(), "b.grad": b.grad.numpy()}
    for (name, array), (other_name, other) in itertools.combinations(arrays.items(), 2):
        assert not np.may_share_memory(array, other), (name, other_name)
    kept = b.grad.numpy().copy()
    a.grad.zero_()
    np.testing.assert_array_equal(b.grad.numpy(), kept)
    np.testing.assert_array_equal(seed, 2)
    out.backward(seed)  # the first walk's gradients were nobody's input
    np.testing.assert_array_equal(b.grad.numpy(), 2 * kept)


@every_backend
def test_only_wanted_gradients_are_computed(backend, rng):
    values = [integers(rng, shape) for shape in ((1, 2, 5, 5), (3, 2, 3, 3), (3,))]
    ops = ["conv2d_grad_input", "conv2d_grad_weight", "conv2d_grad_bias"]
    for wanted in itertools.product([True, False], repeat=3):
        tensors = [fc.tensor(array, requires_grad=flag) for array, flag in zip(values, wanted, strict=True)]
        out = F.conv2d(*tensors, backend=backend)
        assert out.requires_grad == any(wanted)
        if not any(wanted):
            continue
        with backends.recording() as launches:
            out.backward(ones(out))
        assert [record.op for record in launches] == [op for op, flag in zip(ops, wanted, strict=True) if flag]
        assert [tensor.grad is not None for tensor in tensors] == list(wanted)


@pytest.mark.parametrize("name", ["reference", "cython", "numba"])
def test_backward_runs_on_the_backend_of_forward(name):
    if not fc.available_backends()[name]:
        pytest.skip(fc.available_backends()[name].reason)
    x, weight = leaf(np.ones((1, 1, 4, 4), np.float32)), leaf(np.ones((1, 1, 2, 2), np.float32))
    with fc.use_backend(name):
        out = F.max_pool2d(F.conv2d(x, weight), 2)
    other = "reference" if name != "reference" else "auto"
    with fc.use_backend(other), backends.recording() as launches:
        out.backward(ones(out))
    assert {record.op for record in launches} == {"max_pool2d_grad_input", "conv2d_grad_input", "conv2d_grad_weight"}
    assert {record.backend for record in launches} == {name}


def test_no_grad_records_nothing_as_block_and_decorator():
    x = leaf([1.0])

    @fc.no_grad()
    def twice(value):
        """Doubles."""
        assert not fc.is_grad_enabled()
        return value * 2

    assert fc.is_grad_enabled()
    with fc.no_grad():
        inside = x * 2
        with fc.no_grad():
            assert not fc.is_grad_enabled()
        assert not fc.is_grad_enabled()
    assert fc.is_grad_enabled()
    assert not inside.requires_grad
    assert not twice(x).requires_grad
    assert twice.__doc__ == "Doubles."
    with pytest.raises(ZeroDivisionError), fc.no_grad():
        raise ZeroDivisionError
    assert fc.is_grad_enabled()
    assert (x * 2).requires_grad


def test_no_grad_is_per_thread():
    seen = []
    with fc.no_grad():
        thread = threading.Thread(target=lambda: seen.append(fc.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_outputs_that_nobody_used_count_as_zero():
    x = leaf(np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2))

    class Halves(Function):
        """Two outputs, each half of the input."""

        @staticmethod
        def forward(ctx, values):
            return values[:, :1] * 1, values[:, 1:] * 1

        @staticmethod
        def backward(ctx, first, second):
            return np.concatenate([first, second], axis=1)

    first, second = Halves.apply(x)
    second.sum().backward()
    assert x.grad.tolist() == [[[[0, 0], [0, 0]], [[1, 1], [1, 1]]]]
    assert first.requires_grad


def test_a_wrong_backward_is_an_error():
    class Wrong(Function):
        """Its gradient is too short."""

        @staticmethod
        def forward(ctx, values):
            return values * 1

        @staticmethod
        def backward(ctx, grad):
            return grad[:1]

    with pytest.raises(ShapeError, match=r"backward of Wrong returned a gradient that does not fit its input \(2,\)"):
        Wrong.apply(leaf([1.0, 2.0])).backward(np.ones(2, np.float32))


def test_an_operation_that_fails_leaves_nothing_behind():
    x = leaf(np.ones((2, 3), np.float32))
    with pytest.raises(ShapeError):
        F.linear(x, np.ones((4, 5), np.float32))
    (x * 2).sum().backward()
    assert x.grad.numpy().tolist() == [[2] * 3] * 2


@every_backend
def test_retain_graph_walks_again(backend, rng):
    leaves = [leaf(integers(rng, shape)) for shape in ((2, 3, 6, 5), (4, 3, 3, 3), (4,))]
    out = F.max_pool2d(F.relu(F.conv2d(*leaves, padding=1, backend=backend)), 2, backend=backend)
    grad = integers(rng, out.shape)
    out.backward(grad, retain_graph=True)
    first = [tensor.grad.numpy().copy() for tensor in leaves]
    out.backward(grad)
    for tensor, once in zip(leaves, first, strict=True):
        np.testing.assert_array_equal(tensor.grad.numpy(), 2 * once)
    with pytest.raises(RuntimeError, match="a second time"):
        out.backward(grad)


def test_two_graphs_may_share_their_beginning():
    x = leaf([2.0])
    shared = x * x
    a, b = shared * 3, shared * 5
    a.backward(ones(a), retain_graph=True)
    b.backward(ones(b))
    assert x.grad.tolist() == [4 * 8]
    with pytest.raises(RuntimeError, match="a second time"):
        (shared * 1).backward(np.ones(1, np.float32))


def test_a_scalar_needs_no_gradient_argument():
    x = leaf(np.ones((2, 2), np.float32))
    x.mean().backward()
    (x.sum().reshape(1, 1) * 2).backward()
    assert x.grad.tolist() == [[2.25, 2.25]] * 2


def test_the_node_shows_in_the_representation():
    assert "node=Mul" in repr(leaf([1.0]) * 2)
    assert "requires_grad=True" in repr(leaf([1.0]))
    assert repr(fc.tensor([1.0])) == "tensor([1.], dtype=float32)"
