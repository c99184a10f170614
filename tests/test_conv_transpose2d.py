"""Transposed convolution; PyTorch is the judge, on integers that no order of summation changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import USABLE, every_backend
from support.data import DTYPES, FORMATS, assert_same_bits, in_format, integers

import fastconv as fc
import fastconv.functional as F
import fastconv.nn as nn
from fastconv import arrays, backends
from fastconv.errors import BackendUnavailableError, DTypeError, ShapeError


@st.composite
def calls(draw):
    """(x, weight, bias or None, parameters) that fit, of small integers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(DTYPES))
    groups, C_g, K_g = draw(st.integers(1, 2)), draw(st.sampled_from([1, 5])), draw(st.sampled_from([1, 17]))
    kernel, stride, dilation = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(3))
    sizes = [draw(st.integers(1, 6)) for _ in range(2)]
    extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    padding = []
    for n, k, s, d, e in zip(sizes, kernel, stride, dilation, extra, strict=True):
        padding.append(draw(st.integers(0, min(3, ((n - 1) * s + d * (k - 1) + e) // 2))))
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    x = integers(rng, (*batch, groups * C_g, *sizes), dtype)
    weight = integers(rng, (groups * C_g, K_g, *kernel), dtype)
    bias = integers(rng, (groups * K_g,), dtype) if draw(st.booleans()) else None
    names = ("stride", "padding", "output_padding", "dilation")
    parameters = dict(zip(names, map(tuple, (stride, padding, extra, dilation)), strict=True))
    return x, weight, bias, parameters | {"groups": groups}


def everything(torch, x, weight, bias, parameters, **options):
    """Results and gradients of ours and of PyTorch's."""
    values = [x, weight] if bias is None else [x, weight, bias]
    leaves = [fc.tensor(array, requires_grad=True) for array in values]
    others = [torch.from_numpy(np.array(array)).requires_grad_() for array in values]
    out = F.conv_transpose2d(*leaves, **parameters, **options)
    expected = torch.nn.functional.conv_transpose2d(*others, **parameters)
    grad = np.random.default_rng(x.size).integers(-3, 4, out.shape).astype(x.dtype)
    out.backward(in_format(grad, arrays.memory_format(x)) if x.ndim == 4 else grad)
    expected.backward(torch.from_numpy(grad))
    return [out, *(leaf.grad for leaf in leaves)], [expected.detach(), *(other.grad for other in others)]


@pytest.mark.oracle
@given(calls(), st.sampled_from(USABLE), st.sampled_from(FORMATS))
def test_against_torch(torch, call, backend, wanted):
    x, weight, bias, parameters = call
    found, expected = everything(torch, in_format(x, wanted), weight, bias, parameters, backend=backend)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == x.dtype
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.oracle
@every_backend
@pytest.mark.parametrize("shape", [(2, 32, 9, 7), (1, 64, 14, 14)])
@pytest.mark.parametrize(("given_", "asked"), [(a, b) for a in FORMATS for b in (*FORMATS, None)])
def test_memory_formats(torch, backend, shape, given_, asked, rng):
    x, weight = in_format(integers(rng, shape), given_), integers(rng, (shape[1], 24, 4, 4))
    options = {"backend": backend, "memory_format": asked}
    parameters = {"stride": 2, "padding": 1}
    found, expected = everything(torch, x, weight, integers(rng, (24,)), parameters, **options)
    assert arrays.memory_format(found[0].numpy()) == (asked or given_)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@every_backend
def test_it_is_the_transpose_of_a_convolution(backend, rng):
    """<conv(a), b> == <a, conv_transpose(b)>."""
    a, weight = integers(rng, (2, 6, 9, 8)), integers(rng, (4, 3, 3, 2))
    parameters = {"stride": (2, 1), "padding": 1, "groups": 2, "backend": backend}
    there = F.conv2d(a, weight, **parameters)
    b = integers(rng, there.shape)
    back = F.conv_transpose2d(b, weight, **parameters)
    assert (there * b).sum() == (a * back).sum()


@every_backend
@pytest.mark.usefixtures("_restore_settings")
def test_any_number_of_threads_gives_the_same_bits(backend, rng):
    values = [rng.standard_normal(shape).astype(np.float32) for shape in ((2, 32, 20, 20), (32, 16, 3, 3), (16,))]
    results = []
    for threads in (1, 2, 5):
        fc.set_num_threads(threads)
        leaves = [fc.tensor(array, requires_grad=True) for array in values]
        out = F.conv_transpose2d(*leaves, stride=2, padding=1, backend=backend)
        out.backward(np.ones(out.shape, np.float32))
        results.append([out.numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            assert_same_bits(found, expected)


@every_backend
def test_special_values_reach_their_windows_alone(backend):
    x, weight = np.zeros((1, 1, 4, 4), np.float32), np.ones((1, 1, 2, 2), np.float32)
    x[0, 0, 1, 2] = np.nan
    out = F.conv_transpose2d(x, weight, np.ones(1, np.float32), stride=2, backend=backend)
    expected = np.ones((1, 1, 8, 8), np.float32)
    expected[0, 0, 2:4, 4:6] = np.nan
    assert_same_bits(np.nan_to_num(out, nan=7), np.nan_to_num(expected, nan=7))


@every_backend
def test_an_empty_batch(backend):
    leaves = [fc.tensor(np.ones(shape, np.float32), requires_grad=True) for shape in ((0, 2, 3, 3), (2, 4, 3, 3), (4,))]
    out = F.conv_transpose2d(*leaves, stride=2, backend=backend)
    assert out.shape == (0, 4, 7, 7)
    out.backward(out.detach())
    assert leaves[0].grad.shape == (0, 2, 3, 3)
    assert not leaves[1].grad.numpy().any()
    assert not leaves[2].grad.numpy().any()


@every_backend
def test_operands_in_every_form(backend, rng):
    x, weight, bias = integers(rng, (2, 4, 5, 6)), integers(rng, (4, 3, 3, 3)), integers(rng, (3,))
    expected = F.conv_transpose2d(x, weight, bias, backend=backend)
    for hostile in (x.astype(">f4"), x[::-1].copy()[::-1], np.asfortranarray(x), np.repeat(x, 2, axis=3)[..., ::2]):
        before = hostile.copy()
        found = F.conv_transpose2d(hostile, np.asfortranarray(weight), bias.astype(">f4"), backend=backend)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(hostile, before)


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


# id: (what differs from a call that works, class, words)
BAD = {
    "channels": ({"x": zeros(2, 5, 3, 3)}, ShapeError, r"weight of shape \(4, 3, 2, 2\) expects input to have 4"),
    "groups": ({"groups": 3}, ShapeError, "groups=3, weight of shape .* a multiple of groups"),
    "groups 0": ({"groups": 0}, ValueError, "groups must be a positive int, got 0"),
    "rank": ({"x": zeros(4, 3)}, ShapeError, r"expected 3D .* or 4D .* input to conv_transpose2d, got shape \(4, 3\)"),
    "rank of the weight": ({"weight": zeros(4, 3, 2)}, ShapeError, r"weight must have shape \(C, K/groups, kH, kW\)"),
    "bias": ({"bias": zeros(4)}, ShapeError, r"bias must have shape \(3,\), .* got \(4,\)"),
    "stride 0": ({"stride": 0}, ShapeError, "non-positive stride is not supported"),
    "dilation 0": ({"dilation": 0}, ShapeError, "dilation should be greater than zero"),
    "padding -1": ({"padding": -1}, ShapeError, "negative padding is not supported"),
    "padding 'same'": ({"padding": "same"}, TypeError, "padding of a transposed convolution must be .* got 'same'"),
    "padding 2**62": ({"padding": 2**62}, ValueError, "padding is too large"),
    "padding too large": ({"padding": 3}, ShapeError, r"\(-2 x -2\) is too small"),
    "output padding": (
        {"output_padding": 1},
        ValueError,
        r"output padding must be smaller than either stride or dilation.* output_padding=1 with stride=\(1, 1\)",
    ),
    "output padding -1": ({"output_padding": (-1, 0)}, ValueError, "output padding must be smaller .* not negative"),
    "output padding 0.5": ({"output_padding": 0.5}, TypeError, "output_padding must be an int, got 0.5"),
    "no rows": ({"x": zeros(2, 4, 0, 3)}, ShapeError, "has a zero extent"),
    "mixed dtypes": ({"weight": zeros(4, 3, 2, 2, dtype=np.float64)}, DTypeError, "mixed dtypes"),
    "integers": ({"x": zeros(2, 4, 3, 3, dtype=int)}, DTypeError, "input has dtype int64"),
    "None": ({"x": None}, TypeError, "input must be an array or a Tensor, got NoneType"),
    "memory format": ({"memory_format": "nchw"}, ValueError, "memory_format must be None, 'contiguous' or"),
    "memory": ({"stride": 2**20}, MemoryError, r"\(2, 3, 2097154, 2097154\)"),
    "backend": ({"backend": "tpu"}, BackendUnavailableError, "no backend 'tpu'"),
}


@pytest.mark.parametrize("row", BAD)
def test_bad_input(row):
    changes, error, words = BAD[row]
    arguments = {"x": zeros(2, 4, 3, 3), "weight": zeros(4, 3, 2, 2), "bias": zeros(3)} | changes
    with backends.recording() as launches, pytest.raises(error, match=words):
        F.conv_transpose2d(**arguments)
    assert not launches


LAYERS = {
    "plain": ((6, 4, 3), {}),
    "doubling": ((6, 20, 4, 2, 1), {}),
    "everything": ((6, 4, (3, 2), (2, 3), (1, 0), (1, 2), 2, False, (1, 2)), {}),
}


@pytest.mark.oracle
@pytest.mark.parametrize("row", LAYERS)
def test_the_layer_is_torchs(torch, row, rng):
    arguments, options = LAYERS[row]
    theirs, layer = torch.nn.ConvTranspose2d(*arguments, **options), nn.ConvTranspose2d(*arguments, **options)
    assert list(layer.state_dict()) == list(theirs.state_dict())
    layer.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = rng.standard_normal((2, 6, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(layer(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), atol=1e-5)
    assert repr(layer) == repr(theirs)
    bound = 1 / np.sqrt(np.prod(layer.weight.shape[1:]))
    fresh = nn.ConvTranspose2d(*arguments, **options)
    assert 0.7 * bound < np.abs(fresh.weight.numpy()).max() <= np.float32(bound)


@pytest.mark.oracle
@pytest.mark.parametrize("output_size", [(9, 13), (10, 14), [2, 4, 10, 13]])
def test_an_output_size_that_is_asked_for(torch, output_size, rng):
    layer, theirs = nn.ConvTranspose2d(6, 4, 3, 2, 1), torch.nn.ConvTranspose2d(6, 4, 3, 2, 1)
    layer.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = rng.standard_normal((2, 6, 5, 7)).astype(np.float32)
    expected = theirs(torch.from_numpy(x), output_size=output_size).detach().numpy()
    np.testing.assert_allclose(layer(x, output_size=output_size).numpy(), expected, atol=1e-5)
    assert layer(x).shape == (2, 4, 9, 13)


def test_bad_layers():
    for construct, words in (
        (lambda: nn.ConvTranspose2d(6, 4, 3, output_padding=1), "output padding must be smaller"),
        (lambda: nn.ConvTranspose2d(6, 4, 3, padding_mode="reflect"), "only 'zeros' padding mode"),
        (lambda: nn.ConvTranspose2d(6, 4, 3, groups=4), "groups=4"),
        (lambda: nn.ConvTranspose2d(6, 5, 3, groups=2), "out_channels must be divisible by groups.*=5, groups=2"),
        (lambda: nn.ConvTranspose2d(6, 4, 0), "kernel_size must be 2 positive ints"),
        (
            lambda: nn.ConvTranspose2d(6, 4, 3, 2)(zeros(1, 6, 3, 3), output_size=(9, 7)),
            r"between \(7, 7\) and \(8, 8\)",
        ),
        (lambda: nn.ConvTranspose2d(6, 4, 3)(zeros(1, 6, 3, 3), output_size=(5,)), "must have 2 or 4 sizes"),
    ):
        with pytest.raises(ValueError, match=words):
            construct()
