"""Convolution without shared weights: exact on integers, equal to ordinary convolution where all places share them."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import USABLE, compiled_backends, every_backend
from support.data import DTYPES, FORMATS, Aligned, Fenced, assert_same_bits, in_format, integers
from support.kernel_calls import LOCAL_OPERATIONS, assert_exact, geometry_of
from support.streaming import everything_streamed

import fastconv as fc
import fastconv.functional as F
import fastconv.nn as nn
from fastconv import arrays
from fastconv._kernels.contract import RELU
from fastconv.bench.cases import AWKWARD_LOCALS, LocalCase
from fastconv.errors import DTypeError, ShapeError

every_case = pytest.mark.parametrize("case", AWKWARD_LOCALS, ids=lambda case: case.name)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_format = pytest.mark.parametrize("wanted", FORMATS)
UNIT = 2.0**-24
# Forward over up to 4,608 terms, gradients over output channels and images.
LONG = (
    LocalCase("many terms", "here", (2, 512, 4, 4), (5, 512, 3, 3), padding=1),
    LocalCase("few terms", "here", (3, 2, 9, 9), (33, 2, 3, 3)),
    LocalCase("many images", "here", (70, 3, 6, 6), (17, 3, 5, 5), padding=2),
)


def shapes_of(case):
    """Of x, weight, bias and the gradient of the result."""
    g = geometry_of(case)
    return g.x_shape, g.weight_shape, g.bias_shape, g.out_shape


def operands(case, rng, dtype="float32"):
    return [integers(rng, shape, dtype) for shape in shapes_of(case)]


def passes(case, values, grad, backend, activation=None):
    """out, grad_input, grad_weight, grad_bias."""
    leaves = [fc.tensor(array, requires_grad=True) for array in values]
    out = F.locally_connected2d(*leaves, **case.parameters, activation=activation, backend=backend)
    out.backward(grad)
    return [out.numpy(), *(leaf.grad.numpy() for leaf in leaves)]


@compiled_backends
@pytest.mark.parametrize("op", LOCAL_OPERATIONS)
@every_dtype
@every_case
def test_kernels_give_the_bits_of_the_reference(backend, op, dtype, case):
    assert_exact(backend, op, case, dtype)


@compiled_backends
@every_case
def test_a_rectifier_is_applied_before_the_result_is_stored(backend, case):
    assert_exact(backend, LOCAL_OPERATIONS[0], case, "float32", activation=RELU)


@compiled_backends
@every_case
def test_gradients_that_go_past_the_caches_are_exact(backend, case):
    with everything_streamed():
        for fence in (Aligned, Fenced):
            assert_exact(backend, "locally_connected2d_grad_weight", case, "float32", fence)


@every_backend
@every_case
@every_format
def test_the_public_function_gives_the_bits_of_the_reference(backend, case, wanted, rng):
    *values, grad = operands(case, rng)
    expected = passes(case, values, grad, "reference", "relu")
    given = [in_format(values[0], wanted), *values[1:]]
    for found, exact in zip(passes(case, given, in_format(grad, wanted), backend, "relu"), expected, strict=True):
        assert_same_bits(found, exact)


@every_backend
@every_case
def test_every_place_is_a_convolution_of_its_own(backend, case, rng):
    x, weight, bias, _ = operands(case, rng)
    out = F.locally_connected2d(x, weight, bias, **case.parameters, backend=backend)
    for oh, ow in np.ndindex(*weight.shape[:2]):
        whole = F.conv2d(x, weight[oh, ow], bias[oh, ow], **case.parameters, backend="reference")
        assert_same_bits(out[:, :, oh, ow], whole[:, :, oh, ow])


@every_backend
@every_case
def test_shared_weights_give_an_ordinary_convolution(backend, case, rng):
    x, _, _, grad = operands(case, rng)
    filters, bias = integers(rng, case.weight_shape), integers(rng, case.weight_shape[:1])
    places = geometry_of(case).out_shape[2:]
    local = [x, *(np.broadcast_to(array, (*places, *array.shape)) for array in (filters, bias))]
    shared = [fc.tensor(array, requires_grad=True) for array in (x, filters, bias)]
    out = F.conv2d(*shared, **case.parameters, backend="reference")
    out.backward(grad)
    found, *grads = passes(case, local, grad, backend)
    assert_same_bits(found, out.numpy())
    assert_same_bits(grads[0], shared[0].grad.numpy())
    for of_places, of_all in zip(grads[1:], shared[1:], strict=True):
        assert_same_bits(of_places.sum(axis=(0, 1)), of_all.grad.numpy())


@pytest.mark.oracle
@given(st.data(), st.sampled_from(USABLE), st.sampled_from(DTYPES), st.sampled_from(FORMATS), st.integers(0, 2**32 - 1))
def test_against_torch(torch, data, backend, dtype, wanted, seed):
    rng = np.random.default_rng(seed)
    groups, small = data.draw(st.integers(1, 3)), st.integers(1, 3)
    kernel, stride, dilation = (tuple(data.draw(small) for _ in range(2)) for _ in range(3))
    padding, N = tuple(data.draw(st.integers(0, 3)) for _ in range(2)), data.draw(st.integers(0, 4))
    size = tuple(d * (k - 1) + 1 + data.draw(st.integers(0, 5)) for k, d in zip(kernel, dilation, strict=True))
    C, K = groups * data.draw(small), groups * data.draw(st.integers(1, 7))
    case = LocalCase("drawn", "here", (N, C, *size), (K, C // groups, *kernel), stride, padding, dilation, groups)
    *values, grad = (in_format(rng.standard_normal(shape).astype(dtype), wanted) for shape in shapes_of(case))
    g = geometry_of(case)
    x, weight, bias = (torch.from_numpy(array.astype(np.float64)).requires_grad_() for array in values)
    columns = (
        torch.nn.functional.unfold(x, kernel, dilation, padding, stride)
        if N
        else x.new_zeros((0, g.C * math.prod(kernel), math.prod(g.out_shape[2:])))
    )
    terms = columns.reshape(N, groups, g.terms, *g.out_shape[2:])
    filters = weight.reshape(*g.out_shape[2:], groups, K // groups, g.terms)
    out = torch.einsum("ngthw,hwgkt->ngkhw", terms, filters).reshape(g.out_shape) + bias.permute(2, 0, 1)
    out.backward(torch.from_numpy(grad.astype(np.float64)))
    exact = [
        out.detach(),
        *(leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in (x, weight, bias)),
    ]
    tolerance = {"float32": 1e-5, "float64": 1e-13}[dtype]
    for found, expected in zip(passes(case, values, grad, backend), exact, strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected.numpy(), rtol=tolerance, atol=20 * tolerance)


def dot(a, b):
    return int(np.vdot(a.astype(np.int64), b.astype(np.int64)))


@every_backend
@every_case
def test_gradients_are_adjoint(backend, case, rng):
    x, weight, bias, grad = operands(case, rng)
    _, *grads = passes(case, (x, weight, bias), grad, backend)
    without_bias = F.locally_connected2d(x, weight, **case.parameters, backend=backend)
    assert dot(without_bias, grad) == dot(x, grads[0]) == dot(weight, grads[1])
    assert dot(bias, grads[2]) == dot(np.broadcast_to(bias.transpose(2, 0, 1), grad.shape), grad)


@every_backend
@every_dtype
@every_case
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_special_values_go_where_their_windows_are_and_nowhere_else(backend, dtype, case, value, rng):
    values = [integers(rng, shape, dtype, 9) for shape in shapes_of(case)]
    for place in (0, 1, 3):  # in x, in the weight, in the gradient
        special = [array.copy() for array in values]
        special[place][tuple(rng.integers(0, special[place].shape))] = value
        *given, grad = special
        expected = passes(case, given, grad, "reference")
        for found, exact in zip(passes(case, given, grad, backend), expected, strict=True):
            np.testing.assert_array_equal(found, exact)


@every_backend
@every_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_special_over_zero_padding_does_nothing(backend, dtype, value):
    x, weight = np.ones((1, 1, 2, 2), dtype), np.ones((2, 2, 1, 1, 3, 3), dtype)
    weight[0, 0, 0, 0, 0], weight[1, 1, 0, 0, 2] = value, value
    grad = np.ones((1, 1, 2, 2), dtype)
    case = LocalCase("padded", "here", x.shape, (1, 1, 3, 3), padding=1)
    out, grad_input, _, _ = passes(case, (x, weight, np.zeros((2, 2, 1), dtype)), grad, backend)
    assert (out == 4).all()
    assert (grad_input == 4).all()
    _, _, grad_weight, _ = passes(case, (x, np.ones_like(weight), np.zeros((2, 2, 1), dtype)), grad * value, backend)
    assert (grad_weight[0, 0, 0, 0, 0] == 0).all()
    assert not np.isfinite(grad_weight[0, 0, 0, 0, 1:, 1:]).any()


@compiled_backends
@pytest.mark.usefixtures("_restore_settings")
@every_dtype
@pytest.mark.parametrize("case", [*AWKWARD_LOCALS[::4], *LONG], ids=lambda case: case.name)
def test_any_number_of_threads_gives_the_same_bits(backend, dtype, case, rng):
    *values, grad = (rng.standard_normal(shape).astype(dtype) for shape in shapes_of(case))
    results = []
    for threads in (1, 2, 5):
        fc.set_num_threads(threads)
        results.append(passes(case, values, grad, backend))
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            assert_same_bits(found, expected)


@compiled_backends
@every_dtype
@pytest.mark.parametrize("case", [*AWKWARD_LOCALS[::3], *LONG], ids=lambda case: case.name)
def test_a_result_does_not_depend_on_the_batch(backend, dtype, case, rng):
    x, weight, bias, _ = (rng.standard_normal(shape).astype(dtype) for shape in shapes_of(case))
    several = np.concatenate([x] * 3)[: max(7, len(x))]
    together = F.locally_connected2d(several, weight, bias, **case.parameters, backend=backend)
    for n, image in enumerate(several):
        assert_same_bits(F.locally_connected2d(image, weight, bias, **case.parameters, backend=backend), together[n])


@compiled_backends
@pytest.mark.parametrize("case", LONG, ids=lambda case: case.name)
@pytest.mark.parametrize("sign", [False, True])
def test_errors_are_bounded(backend, case, sign, rng):
    *values, grad = (rng.standard_normal(shape).astype(np.float32) for shape in shapes_of(case))
    if sign:
        values, grad = [np.abs(array) for array in values], np.abs(grad)
    wide = [array.astype(np.float64) for array in (*values, grad)]
    exact, scale = (passes(case, given[:3], given[3], "reference") for given in (wide, list(map(np.abs, wide))))
    for found, expected, sums, units in zip(
        passes(case, values, grad, backend), exact, scale, (16, 16, 32, 32), strict=True
    ):
        assert (np.abs(found - expected) <= units * UNIT * sums).all()


@every_backend
@every_dtype
@every_format
def test_empty_batches_and_single_images(backend, dtype, wanted, rng):
    case = LocalCase("small", "here", (2, 3, 5, 4), (6, 3, 3, 2), stride=(1, 2), padding=1)
    *values, grad = operands(case, rng, dtype)
    none = [in_format(values[0][:0], wanted), *values[1:]]
    out, *grads = passes(case, none, grad[:0], backend)
    assert out.shape == (0, *grad.shape[1:])
    assert [found.shape for found in grads] == [array.shape for array in none]
    assert not any(found.any() for found in grads)
    both = passes(case, values, np.stack([grad[0], 0 * grad[0]]), backend)
    one = passes(case, [values[0][0], *values[1:]], grad[0], backend)
    assert_same_bits(one[0], both[0][0])
    assert_same_bits(one[1], both[1][0])
    assert_same_bits(one[2], both[2])


@every_backend
@every_format
@pytest.mark.parametrize("out_format", [None, *FORMATS])
def test_memory_formats(backend, wanted, out_format, rng):
    x, weight, bias, _ = operands(LocalCase("small", "here", (2, 3, 5, 4), (6, 3, 3, 2)), rng)
    out = F.locally_connected2d(in_format(x, wanted), weight, bias, memory_format=out_format, backend=backend)
    assert arrays.memory_format(out) == (out_format or wanted)


ZEROS = (np.zeros((1, 4, 8, 9)), np.zeros((6, 7, 6, 4, 3, 3)), np.zeros((6, 7, 6)))
REFUSED = {
    "weight of an ordinary convolution": (
        {"weight": np.zeros((6, 4, 3, 3))},
        ShapeError,
        r"\(OH, OW, K, C/groups, kH, kW",
    ),
    "places": (
        {"weight": np.zeros((7, 6, 6, 4, 3, 3))},
        ShapeError,
        r"7 by 6 places, but .* \(8 x 9\) has floor\(\(8 - 3\) / 1\) \+ 1 = 6 by floor\(\(9 - 3\) / 1\) \+ 1 = 7",
    ),
    "stride": ({"stride": 2}, ShapeError, r"floor\(\(8 - 3\) / 2\) \+ 1 = 3 by floor\(\(9 - 3\) / 2\) \+ 1 = 4"),
    "channels": ({"weight": np.zeros((6, 7, 6, 3, 3, 3))}, ShapeError, "to have 3 channels, but got 4"),
    "groups": ({"groups": 3}, ValueError, "in_channels=4 and groups=3"),
    "bias": ({"bias": np.zeros(6)}, ShapeError, r"bias must have shape \(6, 7, 6\), one value per place"),
    "bias in the order of channels": ({"bias": np.zeros((6, 6, 7))}, ShapeError, r"bias must have shape \(6, 7, 6\)"),
    "rank": ({"x": np.zeros((8, 9))}, ShapeError, r"input to locally_connected2d, got shape \(8, 9\)"),
    "no channel": ({"x": np.zeros((1, 0, 8, 9))}, ShapeError, "zero extent|to have 4 channels"),
    "kernel above input": ({"x": np.zeros((1, 4, 2, 9))}, ShapeError, "kernel size can't be greater"),
    "stride 0": ({"stride": 0}, ShapeError, "non-positive stride"),
    "padding": ({"padding": -1}, ShapeError, "negative padding"),
    "same with a stride": ({"padding": "same", "stride": 2}, ValueError, "same"),
    "dtypes": ({"x": np.zeros((1, 4, 8, 9), np.float32)}, DTypeError, "mixed dtypes"),
    "integers": ({"x": np.zeros((1, 4, 8, 9), int)}, DTypeError, "int64"),
    "a list": ({"weight": None}, TypeError, "weight"),
    "activation": ({"activation": "relu6"}, ValueError, "activation must be None or 'relu'"),
    "memory format": ({"memory_format": "NHWC"}, ValueError, "memory_format must be"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused(name):
    changes, error, words = REFUSED[name]
    arguments = dict(zip(("x", "weight", "bias"), ZEROS, strict=True)) | changes
    with pytest.raises(error, match=words):
        F.locally_connected2d(**arguments)


CONSTRUCTION = {
    "no input size": ({}, TypeError, "input_size"),
    "size 0": ({"input_size": 0}, ValueError, r"input_size must be 2 positive ints, got 0"),
    "three sizes": ({"input_size": (3, 4, 5)}, ValueError, "input_size must be an int or 2 ints"),
    "kernel above input": ({"input_size": 2}, ShapeError, "kernel size can't be greater"),
    "groups": ({"input_size": 8, "groups": 3}, ValueError, "in_channels=4 and groups=3"),
    "weight beyond the memory": (
        {"input_size": 2**20},
        MemoryError,
        r"an array of shape \(1048574, 1048574, 6, 4, 3, 3\)",
    ),
    "dtype": ({"input_size": 8, "dtype": np.float16}, DTypeError, "float16"),
}


@pytest.mark.parametrize("name", CONSTRUCTION)
def test_bad_layers_are_refused(name):
    arguments, error, words = CONSTRUCTION[name]
    with pytest.raises(error, match=words):
        nn.LocallyConnected2d(4, 6, 3, **arguments)


def test_a_layer_says_for_which_inputs_it_was_made():
    layer = nn.LocallyConnected2d(1, 2, 3, 2, input_size=(7, 9))
    words = (
        r"made for input_size=\(7, 9\), with filters for \(3, 4\) places; got shape \(1, 1, 8, 9\): an input of \(8 x"
    )
    with pytest.raises(ShapeError, match=words):
        layer(np.zeros((1, 1, 8, 9), np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_layer_begins_as_a_convolution_does(dtype):
    layer = nn.LocallyConnected2d(6, 4, (3, 2), padding=1, groups=2, input_size=8, dtype=dtype)
    bound = 1 / math.sqrt(3 * 3 * 2)
    state = {name: values.numpy() for name, values in layer.state_dict().items()}
    assert {name: values.shape for name, values in state.items()} == {
        "weight": (8, 9, 4, 3, 3, 2),
        "bias": (8, 9, 4),
    }
    for values in state.values():
        assert values.dtype == dtype
        assert (np.abs(values) <= bound).all()
        assert np.abs(values).max() > 0.9 * bound
    assert nn.LocallyConnected2d(6, 4, 3, bias=False, input_size=8).bias is None


@every_backend
def test_a_layer_loads_fuses_and_is_explained(backend, rng):
    layer = nn.LocallyConnected2d(2, 20, 3, padding="same", input_size=(6, 5))
    copy = nn.LocallyConnected2d(2, 20, 3, padding="same", input_size=(6, 5))
    copy.load_state_dict(layer.state_dict())
    model, x = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(600, 3)), rng.standard_normal((2, 2, 6, 5))
    x = x.astype(np.float32)
    with fc.use_backend(backend):
        assert_same_bits(copy(x).numpy(), layer(x).numpy())
        fused = fc.fuse(model)
        expected = model(x).numpy()
        for _ in range(5):
            np.testing.assert_allclose(fused(x).numpy(), expected, rtol=1e-4, atol=1e-6)
        explained = fc.explain(fused, (2, 2, 6, 5))
    assert explained.steps[0].op == "locally_connected2d_forward"
    assert explained.steps[0].fused == ("bias", "relu")
    assert "recorded kernel calls are repeated" in explained.passes


def test_a_summary_compares_connectivity_without_the_memory_for_it(capsys):
    guide = Path(__file__).parents[1] / "docs" / "local-connectivity.md"
    names = {"__name__": "guide"}
    exec(re.search(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)[1], names)
    assert "16,000,000,000" in capsys.readouterr().out
    with nn.init.skipped():
        found = fc.summary(names["Hidden"](), (1, 200, 200))
    weights = {layer.name: layer.parameters for layer in found.layers}
    assert weights == {"full": 16_000_000_000, "local": 40_000_000, "shared": 1_000}
    assert [math.prod(layer.volume) for layer in found.layers] == [400_000] * 3
    assert [layer.multiply_adds for layer in found.layers] == [16_000_000_000, 40_000_000, 40_000_000]
