"""Both compiled backends walk over one plan: where they add in one order, every bit of their results is the same."""

import importlib
import itertools

import numpy as np
import pytest
from support.data import DTYPES, FORMATS, assert_same_bits, named_rng
from support.kernel_calls import CONV_OPERATIONS, activations, geometry_of, operand_shapes, problem_of, run_fenced

from fastconv import _kernels
from fastconv.arrays import CHANNELS_LAST
from fastconv.bench.cases import AWKWARD_CONVS, ConvCase

LARGER = (
    ConvCase("several ranges of channels", "bits", (2, 400, 7, 9), (70, 400, 3, 3), padding=1),
    ConvCase("many terms, strided", "bits", (3, 70, 15, 14), (130, 70, 5, 3), stride=2, padding=2),
    ConvCase("segments", "bits", (2, 16, 40, 44), (24, 16, 3, 3), padding=1),
    ConvCase("merged taps", "bits", (2, 3, 50, 61), (40, 3, 7, 7), stride=2, padding=3),
    ConvCase("pointwise", "bits", (3, 90, 13, 12), (70, 90, 1, 1)),
)

# A vector has at most 16 lanes, and with fewer channels lanes are columns.
DEPTHWISE = (
    ConvCase("depthwise", "bits", (2, 35, 9, 21), (35, 1, 3, 3), padding=1, groups=35),
    ConvCase("depthwise, strided", "bits", (2, 48, 15, 14), (48, 1, 3, 3), stride=2, padding=1, groups=48),
    ConvCase("depthwise, several blocks of sums", "bits", (3, 16, 61, 60), (16, 1, 3, 3), padding=1, groups=16),
    ConvCase("depthwise, five by five", "bits", (1, 20, 12, 17), (20, 1, 5, 5), padding=2, groups=20),
    ConvCase("depthwise, far padding", "bits", (1, 17, 6, 7), (17, 1, 3, 3), padding=5, groups=17),
)

# Bytes of a vector by the instruction set that the C kernels use; 16 for all others.
WIDTHS = {"x86-64-v4 (AVX-512)": 64, "x86-64-v3 (AVX2, FMA)": 32}


@pytest.fixture(scope="module")
def _same_vectors():
    """The order of additions depends on how many lanes a vector has."""
    if not all(map(_kernels.load, ("numba", "cython"))):
        pytest.skip("one of the backends is not there")
    level = importlib.import_module("fastconv._kernels.cython_cpu.machine").instruction_set()
    width = importlib.import_module("fastconv._kernels.numba_cpu.settings").VECTOR_BYTES
    if WIDTHS.get(level, 16) != width:
        pytest.skip(f"C uses {level}, Numba vectors of {width} bytes")


@pytest.mark.oracle
@pytest.mark.usefixtures("_same_vectors")
@pytest.mark.parametrize("op", CONV_OPERATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*AWKWARD_CONVS, *LARGER], ids=lambda case: case.name)
def test_numba_and_cython_give_the_same_bits(case, dtype, op):
    geometry, inputs = drawn(case, dtype, op)
    for formats in itertools.product(FORMATS, repeat=len(activations(op))):
        assert_one_result(op, problem_of(op, geometry, dtype, formats, {"bias"}, "direct"), inputs)


@pytest.mark.oracle
@pytest.mark.usefixtures("_same_vectors")
@pytest.mark.parametrize("op", CONV_OPERATIONS[:3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", DEPTHWISE, ids=lambda case: case.name)
def test_depthwise_kernels_of_channels_last_do_so_too(case, dtype, op):
    """Not those of planes: Numba's add column by column of a window, those in C row by row."""
    geometry, inputs = drawn(case, dtype, op)
    formats = [CHANNELS_LAST] * len(activations(op))
    assert_one_result(op, problem_of(op, geometry, dtype, formats, {"bias"}, "depthwise"), inputs)


def drawn(case, dtype, op):
    """The geometry of a case, and random operands."""
    rng, geometry = named_rng(case.name, op), geometry_of(case)
    shapes = operand_shapes(geometry)
    names = ("x", "weight", "bias", "grad_out")
    return geometry, {name: rng.standard_normal(shapes[name]).astype(dtype) for name in names}


def assert_one_result(op, problem, inputs):
    ours, theirs = (run_fenced(backend, op, problem, inputs) for backend in ("numba", "cython"))
    for name, found in ours.items():
        assert np.isfinite(found).all()
        assert_same_bits(found, theirs[name], (problem.formats, name))
