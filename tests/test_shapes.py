"""Operations that move values: concatenation, padding, other orders of axes; PyTorch is the judge."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import false_cupy
from support.backends import every_backend
from support.data import FORMATS, assert_same_bits, in_format, integers

import fastconv as fc
import fastconv.functional as F
import fastconv.nn as nn
from fastconv import arrays, backends
from fastconv.errors import DeviceError, DTypeError, ShapeError

seeds = st.integers(0, 2**32 - 1)
MODES = ["constant", "reflect", "replicate", "circular"]


def compare(torch, ours, theirs, values, rng):
    """Values and gradients of two functions of the same leaves, bit for bit: nothing is computed but small sums."""
    leaves = [fc.tensor(array, requires_grad=True) for array in values]
    others = [torch.from_numpy(array.copy()).requires_grad_() for array in values]
    out, expected = ours(*leaves), theirs(*others)
    assert_same_bits(np.ascontiguousarray(out.numpy()), expected.detach().numpy())
    grad = integers(rng, out.shape, out.dtype)
    out.backward(grad)
    expected.backward(torch.from_numpy(grad))
    for leaf, other in zip(leaves, others, strict=True):
        assert_same_bits(np.ascontiguousarray(leaf.grad.numpy()), other.grad.numpy())


@pytest.mark.oracle
@given(st.integers(1, 4), st.data(), st.sampled_from(["float32", "float64"]), seeds)
def test_cat(torch, ndim, data, dtype, seed):
    rng = np.random.default_rng(seed)
    dim = data.draw(st.integers(-ndim, ndim - 1))
    shape = [int(n) for n in rng.integers(0, 4, ndim)]
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    values = []
    for size in sizes:
        shape[dim] = size
        values.append(integers(rng, tuple(shape), dtype))
    # An empty array of one axis is of any shape for PyTorch, as it was long ago.
    compare(torch, lambda *t: F.cat(t, dim), lambda *t: torch.cat(t, dim), values, rng)


@pytest.mark.parametrize("wanted", FORMATS)
def test_cat_keeps_the_format_of_the_first(wanted, rng):
    parts = [in_format(integers(rng, (2, C, 3, 5)), wanted) for C in (16, 4, 1)]
    other = [*parts[:2], in_format(parts[2], next(item for item in FORMATS if item != wanted))]
    for given_ in (parts, other):
        found = F.cat(given_, 1)
        assert type(found) is np.ndarray
        assert arrays.memory_format(found) == wanted
        assert_same_bits(np.ascontiguousarray(found), np.concatenate(parts, 1))


@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_large_parts_are_copied_by_kernels(backend, wanted, dtype, dim, rng, monkeypatch):
    """Rows of all lengths: pieces of planes, whole images, the channels of a pixel."""
    monkeypatch.setattr(import_module("fastconv.functional.cat"), "_FEW", 0)
    parts = []
    for extent in (5, 64, 0, 33):
        shape = [2, 40, 13, 17]
        shape[dim] = extent
        parts.append(in_format(integers(rng, tuple(shape), dtype), wanted))
    with fc.use_backend(backend), backends.recording() as launches:
        found = F.cat(parts, dim)
    assert_same_bits(np.ascontiguousarray(found), np.concatenate(parts, dim))
    assert [record.op for record in launches] == (["copy_part"] * 3 if dtype.startswith("float") else [])


@pytest.mark.usefixtures("_restore_settings")
@every_backend
def test_long_rows_are_copied_by_several_threads(backend, rng):
    parts = [integers(rng, (1, channels, 200, 201)) for channels in (8, 19)]
    with fc.use_backend(backend):
        for threads in (1, 3):
            fc.set_num_threads(threads)
            assert_same_bits(F.cat(parts, 1), np.concatenate(parts, 1))


def test_cat_takes_one_tensor_twice_and_constants(rng):
    x, constant = fc.tensor(integers(rng, (2, 3)), requires_grad=True), integers(rng, (1, 3))
    fc.concat([x, constant, x]).backward(np.arange(15, dtype=np.float32).reshape(5, 3))
    np.testing.assert_array_equal(x.grad.numpy(), [[9, 11, 13], [15, 17, 19]])
    assert fc.cat((np.array([1, 2]), np.array([3]))).tolist() == [1, 2, 3]


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


# id: (function, class, words)
BAD = {
    "an array alone": (lambda: F.cat(zeros(2, 3)), TypeError, "tensors must be a tuple or a list .*, got ndarray"),
    "nothing": (lambda: F.cat([]), ValueError, "tensors must not be empty"),
    "a list inside": (lambda: F.cat([zeros(2), [1.0]]), TypeError, r"tensors\[1\] must be an array or a Tensor"),
    "None inside": (lambda: F.cat([None]), TypeError, r"tensors\[0\] must be an array or a Tensor, got NoneType"),
    "another size": (
        lambda: F.cat([zeros(1, 2, 3, 3), zeros(1, 4, 3, 3), zeros(1, 2, 3, 4)], 1),
        ShapeError,
        r"must match except in dimension 1: tensors\[0\] has shape \(1, 2, 3, 3\) but tensors\[2\] .* \(1, 2, 3, 4\)",
    ),
    "another rank": (lambda: F.cat([zeros(2, 3), zeros(3)]), ShapeError, "must match except in dimension 0"),
    "no axes": (lambda: F.cat([np.float32(1), np.float32(2)]), ShapeError, r"tensors\[0\] has no axis"),
    "axis 2 of 2": (lambda: F.cat([zeros(2, 3)], 2), IndexError, "dim 2 is out of range for 2 axes"),
    "axis 1.0": (lambda: F.cat([zeros(2, 3)], 1.0), TypeError, "dim must be an int, got 1.0"),
    "mixed dtypes": (
        lambda: F.cat([zeros(2), zeros(2, dtype=np.float64)]),
        DTypeError,
        r"mixed dtypes: tensors\[0\] is float32 but tensors\[1\] is float64",
    ),
    "an odd number of ends": (lambda: F.pad(zeros(2, 3), (1, 2, 3)), ValueError, "an even number of ints"),
    "ends as one number": (lambda: F.pad(zeros(2, 3), 1), ValueError, "an even number of ints, 2 for each axis, got 1"),
    "ends as floats": (lambda: F.pad(zeros(2, 3), (1.0, 1)), TypeError, "pad must be an int, got 1.0"),
    "too many ends": (lambda: F.pad(zeros(3), (1, 1, 1, 1)), ShapeError, r"of 2 axes, but input has shape \(3,\)"),
    "too large": (lambda: F.pad(zeros(3), (2**62, 0)), ValueError, "pad is too large"),
    "cut away": (lambda: F.pad(zeros(2, 3), (-2, -2)), ShapeError, r"padding \(-2, -2\) of axis 1 leaves nothing"),
    "mode": (lambda: F.pad(zeros(2, 3), (1, 1), "mirror"), ValueError, "mode must be one of constant, .* got 'mirror'"),
    "a value of no use": (lambda: F.pad(zeros(2, 3), (1, 1), "reflect", 0), ValueError, "'reflect' takes no value"),
    "value 'a'": (lambda: F.pad(zeros(2, 3), (1, 1), value="a"), TypeError, "value must be a number, got 'a'"),
    "axes of reflection": (lambda: F.pad(zeros(3), (1, 1), "reflect"), ShapeError, "'reflect' pads 1 axis of 2 or 3"),
    "reflected too far": (
        lambda: F.pad(zeros(1, 1, 3, 4), (0, 0, 3, 0), "reflect"),
        ShapeError,
        r"padding \(3, 0\) of axis 2 must be at most 2 for mode 'reflect' and input of shape \(1, 1, 3, 4\)",
    ),
    "around more than once": (lambda: F.pad(zeros(1, 3), (0, 4), "circular"), ShapeError, "must be at most 3"),
    "no edge": (lambda: F.pad(zeros(2, 0), (1, 1), "replicate"), ShapeError, "leaves nothing of input"),
    "memory": (lambda: F.pad(zeros(1), (2**31 - 1,) * 2), MemoryError, r"shape \(4294967295,\) and dtype float32"),
    "an axis twice": (lambda: F.permute(zeros(2, 3), 0, 0), ShapeError, "each of the 2 axes of input once"),
    "an axis less": (lambda: F.permute(zeros(2, 3), (0,)), ShapeError, r"axes of input once, got \(0,\)"),
    "an axis too far": (lambda: F.permute(zeros(2, 3), 0, 2), IndexError, "dims 2 is out of range"),
    "axis 5": (lambda: F.transpose(zeros(2, 3), 0, 5), IndexError, "dim1 5 is out of range for 2 axes"),
    "layer of three ends": (lambda: nn.ZeroPad2d((1, 2, 3, 4, 5, 6)), ValueError, r"an int or \(left, right, top"),
    "layer of floats": (lambda: nn.ZeroPad2d(1.5), TypeError, "pad must be an int, got 1.5"),
}


@pytest.mark.parametrize("row", BAD)
def test_bad_input(row, monkeypatch):
    function, error, words = BAD[row]
    from fastconv import memory

    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    with pytest.raises(error, match=words):
        function()


@pytest.mark.oracle
@given(st.data(), st.sampled_from(MODES), seeds)
def test_pad(torch, data, mode, seed):
    rng = np.random.default_rng(seed)
    count = data.draw(st.integers(1, 3))
    ndim = data.draw(st.integers(count, 5) if mode == "constant" else st.integers(count + 1, count + 2))
    shape = tuple(int(n) for n in rng.integers(2, 6, ndim))
    ends = []
    for size in shape[::-1][:count]:
        low = data.draw(st.integers(-(size // 2), size - (mode == "reflect")))
        left = size + min(low, 0)
        high = data.draw(st.integers(1 - left, left - (mode == "reflect")))
        ends += [min(low, size + min(high, 0)), high]
    value = data.draw(st.sampled_from([None, 0, 2.5, -np.inf])) if mode == "constant" else None
    ours, theirs = (lambda x, F=F: F.pad(x, tuple(ends), mode, value) for F in (F, torch.nn.functional))
    compare(torch, ours, theirs, [integers(rng, shape)], rng)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wanted", FORMATS)
def test_pad_keeps_the_format(mode, wanted, rng):
    x = fc.tensor(in_format(integers(rng, (2, 3, 4, 5)), wanted), requires_grad=True)
    out = F.pad(x, (1, 2, 3, 0), mode)
    assert arrays.memory_format(out.numpy()) == wanted
    out.backward(in_format(integers(rng, out.shape), wanted))
    assert arrays.nearest_format(x.grad.numpy()) == wanted


def test_an_empty_batch_is_padded():
    for mode in MODES:
        assert F.pad(zeros(0, 3, 4, 5), (1, 1, 2, 2), mode).shape == (0, 3, 8, 7)


@pytest.mark.oracle
@pytest.mark.parametrize("padding", [2, (1, 0, 3, -2)])
def test_zero_pad2d(torch, padding, rng):
    compare(torch, nn.ZeroPad2d(padding), torch.nn.ZeroPad2d(padding), [integers(rng, (2, 3, 5, 4))], rng)
    assert repr(nn.ZeroPad2d(padding)) == repr(torch.nn.ZeroPad2d(padding))


ORDERS = {
    "permute": lambda x: x.permute(2, 0, -2),
    "permute by a tuple": lambda x: x.permute((1, 2, 0)),
    "transpose": lambda x: x.transpose(0, -1),
    "transpose of one": lambda x: x.transpose(1, 1),
    "T": lambda x: x[0].T,
    "in the middle": lambda x: (x * 2).permute(1, 0, 2).reshape(3, -1).T,
}


@pytest.mark.oracle
@pytest.mark.parametrize("function", ORDERS.values(), ids=ORDERS)
def test_orders_of_axes(torch, function, rng):
    compare(torch, function, function, [integers(rng, (2, 3, 4))], rng)


def test_other_orders_show_the_same_memory(rng):
    x = fc.tensor(integers(rng, (2, 3)))
    view = x.T
    view[0, 0] = 7
    assert x.tolist()[0][0] == 7
    assert x.version == view.version
    assert F.transpose(np.float32(3), 0, 0) == 3


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return F.relu(F.cat([self.first(x), self.second(x), x], 1))


@every_backend
@pytest.mark.parametrize("few", [0, 1 << 20])
def test_a_fused_model_repeats_concatenations_and_padding(backend, few, rng, monkeypatch):
    monkeypatch.setattr(import_module("fastconv.functional.cat"), "_FEW", few)
    monkeypatch.setattr(Branches, "__module__", "fastconv.models")
    model = fc.fuse(nn.Sequential(Branches(), nn.ZeroPad2d((1, 0, 2, 0)), nn.MaxPool2d(3)))
    with fc.use_backend(backend):
        for N in (1, 3, 2) * 5:
            x = in_format(integers(rng, (N, 3, 6, 7)), arrays.CHANNELS_LAST)
            assert_same_bits(model(x).numpy(), model.forward(fc.tensor(x)).numpy())
        assert model._replays.refusal(model, (x,)) is None
        with backends.recording() as launches:
            model(x)
    assert [record.op for record in launches].count("copy_part") == (0 if few else 3)


def test_on_a_device(rng, monkeypatch):
    false_cupy.installed(monkeypatch)
    values = [integers(rng, (2, 3, 4, 5)) for _ in range(2)]

    def everything(place):
        leaves = [fc.tensor(array).to(place).requires_grad_() for array in values]
        out = F.cat(leaves, 1).permute(0, 2, 3, 1).T
        for mode in MODES:
            out = F.pad(out, (1, 1, 2, 0), mode)
        assert out.device == place
        out.backward(fc.tensor(np.arange(out.numel(), dtype=np.float32).reshape(out.shape)).to(place))
        return [tensor.cpu().numpy() for tensor in (out, *(leaf.grad for leaf in leaves))]

    for found, expected in zip(everything("cuda:1"), everything("cpu"), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(DeviceError, match=r"tensors\[0\] is on device cpu but tensors\[1\] is on device cuda:0"):
        F.cat([fc.tensor(values[0]), fc.tensor(values[1]).cuda()])
