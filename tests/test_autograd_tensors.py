"""Tensors: what NumPy sees of them, what in-place writes do, dtypes, and gradients of broadcasting and of indexing."""

import pickle

import numpy as np
import pytest
from support.backends import every_backend
from support.data import integers

import fastconv as fc
import fastconv.functional as F
from fastconv.errors import DTypeError, ShapeError


def leaf(values, dtype=None):
    return fc.tensor(values, dtype, requires_grad=True)


def test_tensor_copies_and_lists_become_float32():
    source = np.ones((2, 3))
    made = fc.tensor(source)
    source[...] = 7
    assert made.tolist() == [[1] * 3] * 2
    assert made.dtype == np.float64
    assert [fc.tensor(value).dtype.name for value in ([1, 2], [1.5], (1, 2), 3, 2.5)] == ["float32"] * 5
    assert fc.tensor([1, 2], dtype=np.int64).dtype == np.int64
    assert fc.tensor(fc.tensor([1.0])).tolist() == [1]
    assert fc.tensor([fc.tensor(1.0), fc.tensor(2.0)]).tolist() == [1, 2]


def test_values_of_tensors_that_ask_for_gradients_are_read_only():
    x = leaf([1.0, 2.0])
    for view in (x.numpy(), np.asarray(x), (x * 2).numpy()):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 5
    assert np.shares_memory(x.numpy(), x.detach().numpy())
    copied = np.array(x)
    copied[0] = 5
    assert x.tolist() == [1, 2]
    plain = fc.tensor([1.0, 2.0])
    plain.numpy()[0] = 5
    assert plain.tolist() == [5, 2]


def test_array_protocol():
    x = fc.tensor([[1.5, 2.5]])
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x, copy=True), x.numpy())
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float64, copy=False)
    assert np.stack([x, x]).shape == (2, 1, 2)


OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "@": lambda a, b: a @ b,
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_an_array_on_the_left_stays_on_the_tape(operator):
    array, x = np.full((2, 2), 3.0, np.float32), leaf(np.full((2, 2), 2.0, np.float32))
    for out in (operator(array, x), operator(x, array)):
        assert isinstance(out, fc.Tensor)
        assert out.requires_grad
        assert out.dtype == np.float32
    np.testing.assert_allclose(operator(array, x).numpy(), operator(array, np.asarray(x)))
    if operator is not OPERATORS["@"]:
        assert isinstance(operator(np.float64(2), x), fc.Tensor)
        assert operator(2, x).dtype == operator(x, 2.5).dtype == np.float32
    for attempt in (lambda: np.add(array, x), lambda: array.__iadd__(x)):  # neither may leave the tape silently
        with pytest.raises(TypeError, match="does not support ufuncs"):
            attempt()


def test_gradients_come_back_in_the_dtype_and_shape_of_their_leaves():
    narrow, wide = leaf(np.ones((3, 1), np.float32)), leaf(np.ones((1, 4), np.float64))
    integer = fc.tensor(np.full((2, 1, 1), 2))
    out = narrow * wide * integer
    assert (out.dtype, out.shape) == (np.float64, (2, 3, 4))
    out.sum().backward()
    assert (narrow.grad.dtype, narrow.grad.tolist()) == (np.float32, [[16], [16], [16]])
    assert (wide.grad.dtype, wide.grad.tolist()) == (np.float64, [[12, 12, 12, 12]])
    cast = narrow.to("float64").sum()
    cast.backward()
    assert narrow.grad.tolist() == [[17], [17], [17]]
    assert not narrow.to("int32").requires_grad


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (1, [[0, 0, 0], [1, 1, 1]]),
        ((slice(None), -1), [[0, 0, 1], [0, 0, 1]]),
        (np.array([0, 0, 1]), [[2, 2, 2], [1, 1, 1]]),
        (([0, 1, 1], [2, 0, 0]), [[0, 0, 1], [2, 0, 0]]),
        (np.array([[True, False, True], [False, False, True]]), [[1, 0, 1], [0, 0, 1]]),
        ((Ellipsis, None, 0), [[1, 0, 0], [1, 0, 0]]),
        (slice(5, 9), [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_indexing_sends_gradients_back(index, expected):
    x = leaf(np.arange(6, dtype=np.float32).reshape(2, 3))
    out = x[index]
    np.testing.assert_array_equal(out.numpy(), x.numpy()[index])
    out.sum().backward()
    assert x.grad.tolist() == expected


def test_tensors_serve_as_indices():
    x = leaf([10.0, 20.0, 30.0])
    chosen = x[fc.tensor([2, 0, 2], dtype=np.int64)]
    chosen.sum().backward()
    assert (chosen.tolist(), x.grad.tolist()) == ([30, 10, 30], [1, 0, 2])
    assert x[x > 15].tolist() == [20, 30]


WRITES = {
    "copy_": lambda t: t.copy_(np.float32(3)),
    "zero_": lambda t: t.zero_(),
    "item assignment": lambda t: t.__setitem__((0, 1), 3),
    "through a view": lambda t: t.reshape(-1).__setitem__(0, 3),
    "through a row": lambda t: t[1].zero_(),
    "through detach": lambda t: t.detach().zero_(),
    "another door": lambda t: t.bump_version(),
}
SAVES = {
    "mul": lambda t: t * t,
    "div": lambda t: t / t,
    "pow": lambda t: t**2,
    "matmul": lambda t: t @ t,
    "linear": lambda t: F.linear(t, t),
    "conv2d": lambda t: F.conv2d(t.reshape(1, 1, 2, 2), t.reshape(1, 1, 2, 2)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("operation", SAVES.values(), ids=SAVES)
def test_writing_to_what_backward_needs_is_an_error(write, operation):
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    out = operation(x)
    with fc.no_grad():
        write(x)
    with pytest.raises(RuntimeError, match=r"an inplace operation: it is at version 1; expected version 0 instead"):
        out.backward(np.ones(out.shape, np.float32))
    assert x.grad is None


def test_writing_to_a_saved_output_is_an_error():
    for operation in (F.relu, F.log_softmax):
        out = operation(leaf([1.0, 2.0]))
        with fc.no_grad():
            out[0] = 5
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.backward(np.ones(2, np.float32))


def test_writing_to_what_backward_does_not_need_is_none():
    x = leaf([1.0, 2.0])
    out = x + 1
    with fc.no_grad():
        x.copy_([7, 8])
    out.backward(np.ones(2, np.float32))
    assert (out.tolist(), x.tolist(), x.grad.tolist()) == ([2, 3], [7, 8], [1, 1])
    image, weight = fc.tensor(np.ones((1, 1, 3, 3), np.float32)), leaf(np.ones((1, 1, 2, 2), np.float32))
    out = F.conv2d(image, weight)
    with fc.no_grad():
        weight.zero_()  # the gradient of the weight reads the image alone
    out.backward(np.ones(out.shape, np.float32))
    assert weight.grad.tolist() == [[[[4, 4], [4, 4]]]]


def test_recorded_tensors_refuse_writes():
    x = leaf([1.0, 2.0])
    for tensor, kind in ((x, "a leaf"), (x * 2, "a recorded")):
        with pytest.raises(
            RuntimeError, match=f"{kind} Tensor that requires grad is being used in an in-place operation"
        ):
            tensor[0] = 5
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        (x * 2).requires_grad_(False)


def test_writes_that_do_not_fit_change_nothing():
    x = fc.tensor([[1.0, 2.0]])
    for write in (lambda: x.copy_(np.ones(3)), lambda: x.__setitem__(0, np.ones((2, 2)))):
        with pytest.raises(ShapeError, match="cannot write values of shape"):
            write()
    with pytest.raises(IndexError):
        x[5] = 1
    assert x.tolist() == [[1, 2]]


@every_backend
def test_debug_watches_plain_arrays(backend, monkeypatch, rng):
    monkeypatch.setenv("FASTCONV_DEBUG", "1")
    x, weight = integers(rng, (1, 2, 5, 5)), leaf(integers(rng, (3, 2, 3, 3)))
    out = F.conv2d(x, weight, backend=backend)
    x[0, 0, 0, 0] += 1
    with pytest.raises(RuntimeError, match=r"modified after forward \(FASTCONV_DEBUG\)"):
        out.backward(np.ones(out.shape, np.float32))
    x[0, 0, 0, 0] -= 1
    out.backward(np.ones(out.shape, np.float32))
    assert weight.grad.shape == weight.shape


def test_numbers_and_containers():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    assert (len(x), x.ndim, x.numel(), x.shape) == (2, 2, 4, (2, 2))
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert (float(x[0, 1]), int(x[1, 0]), x[1, 1].item(), bool(x[0, 0] > 0)) == (2.0, 3, 4.0, True)
    assert [10, 20, 30][fc.tensor(1, dtype=np.int64)] == 20
    assert len({x, x, x.detach()}) == 2
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError, match=r"len\(\) of a Tensor without axes"):
        len(x.sum())
    with pytest.raises(TypeError, match="Tensors are not pickled"):
        pickle.dumps(x)


def test_asking_for_gradients():
    x = fc.tensor([1.0])
    assert not x.requires_grad
    x.requires_grad = True
    assert (x * 2).requires_grad
    assert not x.requires_grad_(False).requires_grad
    with pytest.raises(DTypeError, match="only floating-point Tensors can require gradients, this one is int64"):
        fc.tensor([1], dtype=np.int64).requires_grad_()
