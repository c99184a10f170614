"""The fully connected layer on every backend: exact values, rows that do not know of one another, hostile arrays."""

import itertools

import numpy as np
import pytest
from support.backends import COMPILED, compiled_backends, every_backend
from support.data import DTYPES, assert_same_bits, integers

import fastconv as fc
import fastconv.functional as F
from fastconv import backends, nn
from fastconv.errors import BackendUnavailableError, ShapeError

# Rows, inputs, outputs: one of each, tails of vectors, more rows than a tile has, several ranges of inputs.
SHAPES = [
    *((1, 1, 1), (2, 3, 1), (1, 7, 5), (3, 16, 16), (5, 17, 33), (4, 400, 120), (12, 84, 10), (13, 84, 10)),
    *((1, 700, 45), (6, 1001, 21), (11, 320, 64), (40, 120, 84), (128, 50, 37), (300, 70, 19), (64, 2048, 10)),
]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def operands(rng, shape, dtype):
    """x, weight, bias, grad_out of small integers."""
    B, C, K = shape
    return [integers(rng, extents, dtype) for extents in ((B, C), (K, C), (K,), (B, K))]


def passes(x, weight, bias, grad_out, backend):
    """out, grad_input, grad_weight, grad_bias."""
    leaves = [fc.tensor(array, requires_grad=True) for array in (x, weight, bias)]
    out = F.linear(*leaves, backend=backend)
    out.backward(grad_out)
    return [out.numpy(), *(leaf.grad.numpy() for leaf in leaves)]


def expected(x, weight, bias, grad_out):
    """The same in integers."""
    dtype = x.dtype
    x, weight, bias, grad_out = (array.astype(np.int64) for array in (x, weight, bias, grad_out))
    found = (x @ weight.T + bias, grad_out @ weight, grad_out.T @ x, grad_out.sum(axis=0))
    return [array.astype(dtype) for array in found]


@every_backend
@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_integers_are_exact(backend, dtype, shape, rng):
    values = operands(rng, shape, dtype)
    for found, exact in zip(passes(*values, backend), expected(*values), strict=True):
        assert_same_bits(found, exact)
    assert_same_bits(F.linear(*values[:2], backend=backend), F.linear(*values[:2], backend="reference"))


@every_backend
def test_any_number_of_leading_axes(backend, rng):
    weight, bias = integers(rng, (5, 4)), integers(rng, 5)
    for shape in ((4,), (1, 4), (3, 4), (2, 3, 4), (2, 1, 3, 4), (0, 4), (2, 0, 4)):
        x, grad_out = integers(rng, shape), integers(rng, (*shape[:-1], 5))
        out, grad_input, grad_weight, grad_bias = passes(x, weight, bias, grad_out, backend)
        rows = x.reshape(-1, 4), weight, bias, grad_out.reshape(-1, 5)
        flat = expected(*rows)
        assert_same_bits(out, flat[0].reshape(*shape[:-1], 5))
        assert_same_bits(grad_input, flat[1].reshape(shape))
        assert_same_bits(grad_weight, flat[2])
        assert_same_bits(grad_bias, flat[3])


@compiled_backends
@every_dtype
@pytest.mark.parametrize("features", [(9, 7), (100, 40), (160, 16), (321, 33), (700, 5), (1000, 64)], ids=str)
def test_a_row_does_not_depend_on_the_others(backend, dtype, features, rng):
    C, K = features
    x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((70, C), (K, C), (K,)))
    whole = F.linear(x, weight, bias, backend=backend)
    for B in (1, 2, 5, 12, 13, 17, 64):
        for first in (0, 3):
            assert_same_bits(F.linear(x[first : first + B], weight, bias, backend=backend), whole[first : first + B])
    layer = nn.Linear(C, K, dtype=dtype)
    with fc.no_grad(), fc.use_backend(backend):
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
        for B in (1, 1, 70, 70, 70, 12):  # packed and kept, or not
            assert_same_bits(layer(x[:B]).numpy(), whole[:B])


@compiled_backends
@pytest.mark.usefixtures("_restore_settings")
@pytest.mark.parametrize("shape", [(1, 1300, 70), (7, 900, 300), (33, 500, 200), (130, 260, 140)], ids=str)
def test_the_number_of_threads_changes_no_bit(backend, shape, rng):
    B, C, K = shape
    values = [rng.standard_normal(extents).astype("f4") for extents in ((B, C), (K, C), (K,), (B, K))]
    found = []
    for threads in (1, 2, 3, 7):
        fc.set_num_threads(threads)
        found.append(passes(*values, backend))
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert_same_bits(ours, theirs)


@compiled_backends
@every_dtype
@pytest.mark.parametrize("B", [1, 6, 50])
def test_errors_stay_small(backend, dtype, B, rng):
    C, K = 4608, 48
    unit = np.finfo(dtype).eps / 2
    for draw in (rng.standard_normal, rng.random):
        values = [draw(shape).astype(dtype) for shape in ((B, C), (K, C), (K,), (B, K))]
        x, weight, bias, grad_out = (array.astype(np.longdouble) for array in values)
        exact = (x @ weight.T + bias, grad_out @ weight, grad_out.T @ x)
        scale = (np.abs(x) @ np.abs(weight.T) + np.abs(bias), np.abs(grad_out) @ np.abs(weight))
        scale += (np.abs(grad_out.T) @ np.abs(x),)
        for found, right, size in zip(passes(*values, backend), exact, scale, strict=False):
            assert (np.abs(found - right) <= 16 * unit * size).all()


def views(rng, shape, dtype):
    """Arrays of one shape that no kernel can read as they are, or that are unusual otherwise."""
    rows, features = shape
    plain = integers(rng, shape, dtype)
    padded = integers(rng, (rows + 3, 2 * features + 1), dtype)
    unaligned = np.zeros(plain.nbytes + 1, np.uint8)[1:].view(dtype).reshape(shape)
    unaligned[...] = plain
    read_only = plain.copy()
    read_only.flags.writeable = False
    yield from (plain, plain[::-1], plain[:, ::-1], np.asfortranarray(plain), plain.T.copy().T, unaligned, read_only)
    yield from (padded[3:, 1::2], np.broadcast_to(plain[:1], shape), plain.astype(f">f{plain.itemsize}"))
    yield integers(rng, (rows, 2, features), dtype)[:, 1]


@every_backend
@every_dtype
def test_hostile_arrays(backend, dtype, rng):
    shapes = (5, 23), (18, 23), (5, 18)
    bias = integers(rng, 36, dtype)[::-2]
    for x, weight, grad_out in itertools.zip_longest(*(list(views(rng, shape, dtype)) for shape in shapes)):
        before = [array.copy() for array in (x, weight, grad_out)]
        native = [array.astype(dtype) for array in (x, weight)]
        for found, exact in zip(
            passes(x, weight, bias, grad_out.astype(dtype, order="K", copy=False), backend),
            expected(*native, bias, grad_out),
            strict=True,
        ):
            assert_same_bits(found, exact)
        for array, copy in zip((x, weight, grad_out), before, strict=True):
            np.testing.assert_array_equal(array, copy)


@compiled_backends
def test_inf_and_nan_stay_in_their_rows_and_outputs(backend, rng):
    x, weight = integers(rng, (4, 37)), integers(rng, (19, 37))
    exact = F.linear(x, weight, backend="reference")
    x[1, 36], weight[18, 36] = np.inf, np.nan
    found = F.linear(x, weight, backend=backend)
    assert np.isnan(found[:, 18]).all()
    assert not np.isfinite(found[1]).any()
    found, exact = (np.delete(array[:, :18], 1, axis=0) for array in (found, exact))
    assert_same_bits(found, exact)


@compiled_backends
@pytest.mark.parametrize(("rows", "variant"), [(40, "direct"), (3, "gemv")])
def test_weights_that_stay_are_packed_and_kept(backend, rng, rows, variant):
    layer, store = nn.Linear(64, 48), backends.packed_weights
    x = integers(rng, (rows, 64))
    store.clear()

    def seen():
        with backends.recording() as records:
            out = layer(x)
        assert_same_bits(out.numpy(), F.linear(x, layer.weight.numpy(), layer.bias.numpy()))
        return [(record.variant, record.weight) for record in records]

    with fc.use_backend(backend), fc.no_grad():
        assert [seen() for _ in range(3)] == [[(variant, weight)] for weight in ("unpacked", "packed", "kept")]
        layer.weight[0, 0] = 5
        assert [seen() for _ in range(2)] == [[(variant, weight)] for weight in ("unpacked", "packed")]
    store.clear()


@compiled_backends
def test_a_part_of_a_parameter_is_not_taken_for_another(backend, rng):
    weight, x = nn.Parameter(integers(rng, (40, 30))), integers(rng, (20, 30))
    with fc.use_backend(backend), fc.no_grad():
        for _ in range(4):
            for part in (weight[:20], weight[20:], weight[::2], weight[1::2]):
                assert_same_bits(F.linear(x, part).numpy(), F.linear(x, part.numpy(), backend="reference"))


def test_the_backend_is_an_argument():
    x, weight = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with pytest.raises(BackendUnavailableError):
        F.linear(x, weight, backend="abacus")
    for name in ("reference", *COMPILED):
        if fc.available_backends()[name]:
            assert {step.backend for step in fc.explain(F.linear, x, weight, backend=name).steps} == {name}


def test_features_may_not_be_empty():
    for shapes in (((2, 0), (4, 0)), ((2, 3), (0, 3))):
        with pytest.raises(ShapeError, match="has a zero extent"):
            F.linear(*(np.ones(shape, np.float32) for shape in shapes))
