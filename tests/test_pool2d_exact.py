"""Pooling: the reference's bits from every backend, variant, dtype, direction and memory format."""

import itertools

import numpy as np
import pytest
from support.backends import compiled_backends, every_backend
from support.cases import POOL_LINES
from support.data import DTYPES, FORMATS, Aligned, Fenced, assert_same_bits, in_format, integers
from support.kernel_calls import (
    POOL_CASES,
    POOL_OPERATIONS,
    assert_exact,
    geometry_of,
    integer_inputs,
    problem_of,
    run_fenced,
)
from support.streaming import everything_streamed

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays
from fastconv._kernels import load
from fastconv._kernels.contract import Declined, offsets_dtype
from fastconv.bench.cases import AWKWARD_POOLS, AdaptiveMaxPoolCase, PoolCase
from fastconv.geometry import Pool2dGeometry

every_case = pytest.mark.parametrize("case", AWKWARD_POOLS, ids=lambda case: case.name)


@pytest.fixture
def _everything_streamed():
    with everything_streamed():
        yield


SPECIAL = np.array([np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0])


@compiled_backends
@pytest.mark.parametrize("op", POOL_OPERATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", POOL_CASES, ids=lambda case: case.name)
def test_kernels_give_the_bits_of_the_reference(backend, op, dtype, case):
    assert_exact(backend, op, case, dtype)


@compiled_backends
@pytest.mark.parametrize("op", POOL_OPERATIONS)
@pytest.mark.usefixtures("_everything_streamed")
@pytest.mark.parametrize("case", POOL_LINES, ids=lambda case: case.name)
def test_lines_that_go_past_the_caches_are_exact(backend, op, case):
    assert_exact(backend, op, case, "float32", Aligned)
    assert_exact(backend, op, case, "float64", Aligned)
    assert_exact(backend, op, case, "float32", Fenced)


@compiled_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("most", [1, 3, len(SPECIAL)])
def test_every_variant_chooses_among_special_values(backend, dtype, most, rng):
    """Of windows of NaN or of minus infinity alone, or mixed with others, with and without offsets."""
    for case in POOL_CASES[::3]:
        geometry = geometry_of(case)
        x = rng.choice(SPECIAL[:most] if most < len(SPECIAL) else SPECIAL, case.x_shape).astype(dtype)
        x[rng.random(x.shape) < 0.5] = -np.inf
        for wanted, present in itertools.product(FORMATS, ((), ("offsets",))):
            expected = problem_of("max_pool2d_forward", geometry, dtype, (wanted,) * 2, present)
            expected = run_fenced("reference", "max_pool2d_forward", expected, {"x": x})
            for variant in load(backend).VARIANTS["max_pool2d_forward"]:
                problem = problem_of("max_pool2d_forward", geometry, dtype, (wanted,) * 2, present, variant.name)
                found = run_fenced(backend, "max_pool2d_forward", problem, {"x": x})
                for name, array in (found or {}).items():
                    assert_same_bits(array, expected[name], (case.name, wanted, present, variant.name, name))


@compiled_backends
@pytest.mark.parametrize("op", ["max_pool2d_grad_input", "avg_pool2d_forward", "avg_pool2d_grad_input"])
@pytest.mark.parametrize(("shape", "window"), [((3, 35, 60, 61), (3, 2, 1)), ((2, 9, 3000, 5), (3, 1, 1))])
def test_results_do_not_depend_on_the_number_of_threads(backend, op, shape, window, rng):
    case = PoolCase("large", "here", shape, *window)
    geometry, inputs = geometry_of(case), dict(integer_inputs(case, "float32"))
    inputs |= {name: rng.standard_normal(inputs[name].shape, np.float32) for name in ("x", "grad_out")}
    kept = fc.get_num_threads()
    try:
        for wanted in FORMATS:
            problem, found = problem_of(op, geometry, "float32", (wanted,) * 2), []
            for threads in (1, 2, 3):
                fc.set_num_threads(threads)
                found.append(run_fenced(backend, op, problem, inputs))
            for other, (name, array) in itertools.product(found[1:], found[0].items()):
                assert_same_bits(other[name], array)
    finally:
        fc.set_num_threads(kept)


@pytest.mark.parametrize("op", POOL_OPERATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_numba_and_cython_give_the_same_bits(op, dtype, rng):
    if not all(map(load, ("numba", "cython"))):
        pytest.skip("one of the backends is not there")
    for case in POOL_CASES:
        geometry, inputs = geometry_of(case), dict(integer_inputs(case, dtype))
        inputs |= {name: rng.standard_normal(inputs[name].shape).astype(dtype) for name in ("x", "grad_out")}
        inputs |= {name: rng.integers(1, 9, inputs[name].shape).astype(dtype) for name in ("row_counts", "col_counts")}
        for wanted, variant in itertools.product(FORMATS, (None, *(v.name for v in load("cython").VARIANTS[op]))):
            problem = problem_of(op, geometry, dtype, (wanted,) * 2, ("offsets",), variant)
            ours, theirs = (run_fenced(backend, op, problem, inputs) for backend in ("numba", "cython"))
            assert (ours is None) == (theirs is None)
            for name, array in (ours or {}).items():
                assert_same_bits(array, theirs[name], (case.name, wanted, variant, name))


@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
def test_averages_of_many_are_accurate(backend, wanted, rng):
    x = rng.random((1, 3, 301, 407), np.float32) + np.float32(0.5)
    exact = x.mean(axis=(2, 3), dtype=np.float64)
    found = F.adaptive_avg_pool2d(in_format(x, wanted), 1, backend=backend)[:, :, 0, 0]
    assert (np.abs(found - exact) / exact).max() < 8 * 2.0**-24


@every_backend
@every_case
def test_the_public_function_gives_the_bits_of_the_reference(backend, case, rng):
    x = integers(rng, case.x_shape, "float64")
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.1] = -np.inf
    grad = integers(rng, geometry_of(case).out_shape, "float64")
    expected = passes(x, grad, case, "reference")
    for wanted in FORMATS:
        given = in_format(x, wanted)
        found = passes(given, grad, case, backend)
        for array, other in zip(found, expected, strict=True):
            assert_same_bits(array, other)
        for array in found[::2]:
            # A plane of one pixel is in both formats, and counts as contiguous.
            assert arrays.memory_format(array) == arrays.memory_format(in_format(array, arrays.memory_format(given)))


def passes(x, grad, case, backend):
    """out, indices and grad_input."""
    leaf = fc.tensor(x, requires_grad=True)
    out, indices = F.max_pool2d(leaf, **case.parameters, return_indices=True, backend=backend)
    out.backward(grad)
    assert not indices.requires_grad
    assert indices.dtype == np.int64
    assert_same_bits(F.max_pool2d(x, **case.parameters, backend=backend), out.numpy())
    return out.numpy(), indices.numpy(), leaf.grad.numpy()


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(2, 3), (17, 16)])
def test_offsets_that_lead_outside_lead_nowhere(backend, dtype, kernel, rng):
    case = PoolCase("trusted", "here", (2, 3, 35, 33), kernel, stride=9, padding=1)
    geometry = geometry_of(case)
    offsets = rng.integers(0, np.iinfo(offsets_dtype(geometry)).max + 1, geometry.out_shape)
    inputs = {"grad_out": integers(rng, geometry.out_shape, dtype), "offsets": offsets}
    # One tap that exists lies in the padding of the first window.
    inputs["offsets"][:, :, 0, 0] = 0
    expected = scattered(geometry, inputs["grad_out"], offsets)
    for wanted in FORMATS:
        problem = problem_of("max_pool2d_grad_input", geometry, dtype, (wanted, wanted))
        found = run_fenced(backend, "max_pool2d_grad_input", problem, inputs)["grad_input"]
        assert_same_bits(found, expected)


@compiled_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output_size", [(3, 2), (6, 6), (2, 20)])
def test_offsets_that_lead_outside_windows_that_are_unlike_lead_nowhere(backend, dtype, output_size, rng):
    case = AdaptiveMaxPoolCase("trusted", "here", (2, 9, 13, 17), output_size)
    geometry, op = geometry_of(case), "max_pool2d_grad_input"
    inputs = {"grad_out": integers(rng, geometry.out_shape, dtype)}
    inputs["offsets"] = rng.integers(0, geometry.taps + 3, geometry.out_shape)
    expected = run_fenced("reference", op, problem_of(op, geometry, dtype, FORMATS[:1] * 2), inputs)["grad_input"]
    for wanted, variant in itertools.product(FORMATS, load(backend).VARIANTS[op]):
        problem = problem_of(op, geometry, dtype, (wanted, wanted), variant=variant.name)
        found = run_fenced(backend, op, problem, inputs)
        for array in (found or {}).values():
            assert_same_bits(array, expected, (wanted, variant.name))


@compiled_backends
@pytest.mark.parametrize("op", ["max_pool2d_grad_input", "avg_pool2d_grad_input"])
def test_few_windows_give_their_gradients_one_after_the_other(backend, op):
    problem = problem_of(op, Pool2dGeometry.adaptive((1, 4, 29, 28), 3), "float32", FORMATS[:1] * 2)
    assert load(backend).prepare(op, problem).variant == "windows"
    # One after the other, shares of so many windows above one element would round too often.
    problem = problem_of(op, Pool2dGeometry.of((1, 1, 300, 300), 99, 3), "float32", FORMATS[:1] * 2, variant="windows")
    assert isinstance(load(backend).prepare(op, problem), Declined) == op.startswith("avg")


def scattered(geometry, grad_out, offsets):
    """grad_input by definition, window by window."""
    rows, cols = geometry.rows, geometry.cols
    total = np.zeros(geometry.x_shape, grad_out.dtype)
    for n, c, oh, ow in np.ndindex(*geometry.out_shape):
        kh, kw = divmod(int(offsets[n, c, oh, ow]), cols.kernel)
        ih = oh * rows.stride - rows.low + kh * rows.dilation
        iw = ow * cols.stride - cols.low + kw * cols.dilation
        if kh < rows.kernel and 0 <= ih < rows.size and 0 <= iw < cols.size:
            total[n, c, ih, iw] += grad_out[n, c, oh, ow]
    return total
