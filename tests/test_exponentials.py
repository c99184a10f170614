"""The exponentials and logarithms of the kernels: every value of interest, to the last places, and in vectors."""

import platform
import shutil

import numpy as np
import pytest
from support.backends import compiled_backends
from support.data import DTYPES, FORMATS
from support.disassembly import compiled_functions, innermost_loops, listed_functions
from support.kernel_calls import problem_of, run_fenced

from fastconv._kernels import load
from fastconv.geometry import ClassesGeometry

REGISTERS = {4: "%zmm", 3: "%ymm"}
# Multiply-adds that one exponential takes at the least.
TERMS = {"float32": 7, "float64": 12}
x86_alone = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")


def exponentials(backend, values, pixels):
    """By the gradient of logarithms: that of the first class alone is 1, so all others get -exp."""
    geometry = ClassesGeometry(1, 1 + len(values) // pixels, pixels)
    out = np.concatenate([np.zeros(pixels, values.dtype), values]).reshape(geometry.x_shape)
    grad = np.zeros_like(out)
    grad[0, 0] = 1
    problem = problem_of("log_softmax_grad_input", geometry, values.dtype.name, FORMATS[:1] * 3)
    found = run_fenced(backend, "log_softmax_grad_input", problem, {"grad_out": grad, "out": out})["grad_input"]
    return -found[0, 1:].reshape(-1)


def places(found, exact):
    """The distance in units of the last place of a number of that size."""
    return np.abs(found - exact) / np.spacing(exact.astype(found.dtype)).astype(exact.dtype)


@compiled_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pixels", [1, 7, 150])
def test_exponentials_are_right_to_the_last_places(rng, backend, dtype, pixels):
    lowest = -104.5 if dtype == "float32" else -747
    values = np.concatenate([-(rng.uniform(0, 1, 70_000) ** 8) * -lowest, np.linspace(lowest, 0, 70_000)]).astype(dtype)
    values = values[: len(values) // pixels * pixels]
    exact = np.exp(values.astype(np.longdouble))
    found = exponentials(backend, values, pixels)
    normal = exact >= np.finfo(dtype).tiny
    assert places(found[normal], exact[normal]).max() < 1.2
    # The last place is as large for all that are smaller; they are rounded once more.
    assert (~normal).any()
    assert places(found[~normal], exact[~normal]).max() < 1.7


@compiled_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pixels", [1, 40])
def test_exponentials_of_special_values(backend, dtype, pixels):
    info = np.finfo(dtype)
    special = [(-np.inf, 0), (np.nan, np.nan), (-np.nan, np.nan), (0.0, 1), (-0.0, 1), (info.min, 0)]
    special += [(-info.tiny, 1), (-info.smallest_subnormal, 1), (-1e4, 0), (1.0, np.exp(dtype_of(dtype)(1)))]
    values, expected = (np.repeat(np.array(column, dtype), 2 * pixels) for column in zip(*special, strict=True))
    np.testing.assert_allclose(exponentials(backend, values, pixels), expected, rtol=2 * info.eps)


def dtype_of(name):
    return np.dtype(name).type


@compiled_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 1), (3, 2), (4, 63), (2, 129), (3, 5000), (2, 40, 3), (2, 3, 200)])
@pytest.mark.parametrize("scale", [1e-3, 1, 60, 1e4])
def test_logarithms_of_probabilities_are_those_of_long_doubles(rng, backend, dtype, shape, scale):
    geometry = ClassesGeometry.of(shape, 1)
    x = (scale * rng.standard_normal(geometry.x_shape)).astype(dtype)
    wide = x.astype(np.longdouble)
    wide -= wide.max(axis=1, keepdims=True)
    exact = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    problem = problem_of("log_softmax_forward", geometry, dtype, FORMATS[:1] * 2)
    found = run_fenced(backend, "log_softmax_forward", problem, {"x": x})["out"]
    # Half a place each for the distance from the largest value, for the logarithm and for their sum: all have one sign.
    # Exponentials are wrong by one place.
    np.testing.assert_allclose(found, exact, rtol=2 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).eps)


@compiled_backends
@pytest.mark.parametrize("shape", [(1, 2), (3, 300), (1, 30, 70)])
def test_exponentials_that_are_small_beside_one_count(backend, shape):
    geometry = ClassesGeometry.of(shape, 1)
    x = np.full(geometry.x_shape, -17, np.float32)
    x[:, 1] = 0
    problem = problem_of("log_softmax_forward", geometry, "float32", FORMATS[:1] * 2)
    found = run_fenced(backend, "log_softmax_forward", problem, {"x": x})["out"]
    np.testing.assert_allclose(found[:, 1], -np.log1p((geometry.C - 1) * np.exp(-17.0)), rtol=1e-5)


@compiled_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tail", [(), (70,)])
def test_rows_without_a_finite_probability_are_nan(backend, dtype, tail):
    rows = [[-np.inf] * 3, [np.nan] * 3, [0, np.nan, 1], [0, np.inf, 1], [-np.inf, 0, np.nan]]
    x = np.array(rows, dtype).reshape(5, 3, *(1 for _ in tail)) * np.ones(tail, dtype)
    geometry = ClassesGeometry.of(x.shape, 1)
    problem = problem_of("log_softmax_forward", geometry, dtype, FORMATS[:1] * 2)
    assert np.isnan(
        run_fenced(backend, "log_softmax_forward", problem, {"x": x.reshape(geometry.x_shape)})["out"]
    ).all()


@compiled_backends
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("shape", [(3, 4), (3, 100), (2, 3, 90)])
def test_what_is_not_finite_in_a_sample_that_does_not_count_gives_no_gradient(rng, backend, shape, smoothing):
    geometry = ClassesGeometry.of(shape, 1)
    target = rng.integers(0, geometry.C, (geometry.N, geometry.pixels))
    target[0] = -1
    out = rng.standard_normal(geometry.x_shape).astype(np.float32)
    out[0] = np.nan
    inputs = {"grad_losses": np.ones(target.shape, np.float32), "out": out, "target": target}
    inputs |= {"class_weight": np.ones(geometry.C, np.float32), "settings": np.array([smoothing])}
    problem = problem_of("cross_entropy_grad_input", geometry, "float32", FORMATS[:1] * 2)
    found = run_fenced(backend, "cross_entropy_grad_input", problem, inputs)["grad_input"]
    assert (found[0] == 0).all()
    assert (found[1:] != 0).all()


@compiled_backends
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 80)])
def test_a_sample_that_is_certain_of_its_target_has_no_gradient(backend, shape):
    geometry = ClassesGeometry.of(shape, 1)
    out = np.full(geometry.x_shape, -np.inf, np.float32)
    out[:, 1] = 0
    inputs = {"grad_losses": np.full((geometry.N, geometry.pixels), 0.3, np.float32), "out": out}
    inputs |= {"target": np.ones((geometry.N, geometry.pixels), np.int64), "settings": np.zeros(1)}
    inputs |= {"class_weight": np.full(geometry.C, 0.7, np.float32)}
    problem = problem_of("cross_entropy_grad_input", geometry, "float32", FORMATS[:1] * 2)
    assert not run_fenced(backend, "cross_entropy_grad_input", problem, inputs)["grad_input"].any()


def has_vectors(functions, register, dtype):
    """Whether a loop has all multiply-adds of an exponential on such registers."""
    loops = [loop for lines in functions for loop in innermost_loops(lines)]
    return any(sum(line.multiplies(register) for line in loop) >= TERMS[dtype] for loop in loops)


@x86_alone
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["log_softmax_forward", "log_softmax_grad_input", "cross_entropy_grad_input"])
def test_numba_makes_vectors_of_exponentials(dtype, op):
    pytest.importorskip("numba")
    from fastconv._kernels.numba_cpu import softmax
    from fastconv._kernels.numba_cpu.settings import HAS_FMA, VECTOR_BYTES

    if not HAS_FMA or VECTOR_BYTES < 32:
        pytest.skip("this machine has no multiply-add of vectors of 32 bytes")
    functions = compiled_functions(softmax._kernel(op, dtype).native.assembly()).values()
    # LLVM may prefer the shorter vectors.
    assert any(has_vectors(functions, register, dtype) for register in REGISTERS.values())


@x86_alone
@pytest.mark.oracle
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", REGISTERS)
@pytest.mark.parametrize("name", ["log_probabilities", "log_softmax_grad", "cross_entropy_grad"])
def test_c_makes_vectors_of_exponentials(dtype, level, name):
    backend = load("cython")
    if backend is None:
        pytest.skip("the extensions are not built")
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed")
    functions = listed_functions(backend.softmax.__file__)
    if not functions:
        pytest.skip("the extension has no symbols")
    assert has_vectors([functions[f"{name}_{dtype}_{level}"]], REGISTERS[level], dtype)
