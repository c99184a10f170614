"""Convolution on small integers: the reference's bits from every backend, variant, dtype, direction and format."""

import numpy as np
import pytest
from support.backends import compiled_backends, every_backend
from support.data import DTYPES, FORMATS, assert_same_bits, in_format, integers
from support.kernel_calls import CONV_OPERATIONS, assert_exact, geometry_of
from support.process import run_python

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays
from fastconv._kernels.contract import RELU, RELU6
from fastconv.bench.cases import AWKWARD_CONVS, ConvCase

every_case = pytest.mark.parametrize("case", AWKWARD_CONVS, ids=lambda case: case.name)
LEVELS = {"0": "plain", "2": "x86-64-v2", "3": "x86-64-v3 (AVX2, FMA)", "4": "x86-64-v4 (AVX-512)"}
MANY_TAILS = (
    *("distinct primes, strided and padded", "channels above 64", "width seventeen", "depthwise with multiplier"),
    *("first layer", "pointwise", "kernel is input", "pool, windows without input", "pool, overlapping"),
    *("wide row", "pool, wide row", "few outputs", "planes and a tail", "ranges of channels"),
)
# Compiling takes longer than checking: one process shows also that Numba's own threads do where the pool is missing.
OWN_PROCESS = {"numba": ("--dtype", "float32", "--without", "fastconv._kernels.pool._native", *MANY_TAILS)}


@compiled_backends
@pytest.mark.parametrize("op", CONV_OPERATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@every_case
def test_kernels_give_the_bits_of_the_reference(backend, op, dtype, case):
    assert_exact(backend, op, case, dtype)


@compiled_backends
@pytest.mark.parametrize("op", CONV_OPERATIONS[:2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_that_are_asked_for_beforehand_give_the_bits_of_the_reference(backend, op, dtype):
    case = ConvCase("weights of a megabyte", "here", (1, 200, 5, 4), (150, 200, 3, 3), padding=1)
    assert_exact(backend, op, case, dtype)


@every_backend
@every_case
@pytest.mark.parametrize(("activation", "dtype"), [(RELU, "float32"), (RELU6, "float32"), (RELU6, "float64")])
def test_an_activation_is_applied_before_the_result_is_stored(backend, case, activation, dtype):
    assert_exact(backend, "conv2d_forward", case, dtype, activation=activation)


@every_backend
@every_case
def test_the_public_function_gives_the_bits_of_the_reference(backend, case, rng):
    shapes = [case.x_shape, case.weight_shape, *([case.weight_shape[:1]] if case.bias else [])]
    values = [integers(rng, shape) for shape in shapes]
    grad = integers(rng, geometry_of(case).out_shape)
    expected = passes(values, grad, case, "reference")
    for wanted in FORMATS:
        found = passes([in_format(values[0], wanted), *values[1:]], grad, case, backend)
        for array, other in zip(found, expected, strict=True):
            assert_same_bits(array, other)
        for array in found[:2]:
            assert arrays.memory_format(array) in (wanted, arrays.memory_format(in_format(array, wanted)))


def passes(values, grad, case, backend):
    """out, grad_input, grad_weight and, where there is a bias, grad_bias."""
    leaves = [fc.tensor(array, requires_grad=True) for array in values]
    out = F.conv2d(*leaves, **case.parameters, backend=backend)
    out.backward(grad)
    assert_same_bits(F.conv2d(*values, **case.parameters, backend=backend), out.numpy())
    return [out.numpy(), *(leaf.grad.numpy() for leaf in leaves)]


@pytest.mark.parametrize("level", LEVELS)
def test_every_instruction_set_is_exact(level):
    pytest.importorskip("fastconv._kernels.cython_cpu.machine")
    from fastconv._kernels.cython_cpu import machine

    levels = list(LEVELS.values())
    expected = min(LEVELS[level], machine.instruction_set(), key=levels.index)
    printed = run_python("-m", "support.exact_check", "cython", FASTCONV_ISA=level)
    assert f"instruction set: {expected}" in printed


@compiled_backends
def test_nothing_is_read_or_written_beyond_the_ends_of_the_arrays(backend):
    pytest.importorskip("ctypes").CDLL(None).mprotect
    printed = run_python("-m", "support.exact_check", backend, "--paged", *OWN_PROCESS.get(backend, ()))
    assert "checks: " in printed
    assert "checks: 0" not in printed


@compiled_backends
@pytest.mark.usefixtures("_restore_settings")
def test_many_threads_on_small_work_are_exact(backend):
    fc.set_num_threads(7)
    for case in AWKWARD_CONVS[::5]:
        for op in CONV_OPERATIONS:
            assert_exact(backend, op, case, "float32")


@every_backend
def test_partial_sums_up_to_two_to_the_eighteen_are_exact(backend, rng):
    x = rng.integers(0, 2, (1, 128, 6, 6)).astype(np.float32) * 15
    weight = rng.integers(0, 2, (20, 128, 3, 3)).astype(np.float32) * 15
    assert_same_bits(
        F.conv2d(x, weight, padding=1, backend=backend), F.conv2d(x, weight, padding=1, backend="reference")
    )
