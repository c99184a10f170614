"""Both compiled backends walk over one plan: they add in one order, so that every bit of their results is the same."""

import importlib
import itertools

import numpy as np
import pytest
from support.data import DTYPES, FORMATS, assert_same_bits, named_rng
from support.kernel_calls import CONV_OPERATIONS, activations, geometry_of, operand_shapes, problem_of, run_fenced

from fastconv import _kernels
from fastconv.bench.cases import AWKWARD_CONVS, ConvCase

LARGER = (
    ConvCase("several ranges of channels", "bits", (2, 400, 7, 9), (70, 400, 3, 3), padding=1),
    ConvCase("many terms, strided", "bits", (3, 70, 15, 14), (130, 70, 5, 3), stride=2, padding=2),
    ConvCase("segments", "bits", (2, 16, 40, 44), (24, 16, 3, 3), padding=1),
    ConvCase("merged taps", "bits", (2, 3, 50, 61), (40, 3, 7, 7), stride=2, padding=3),
    ConvCase("pointwise", "bits", (3, 90, 13, 12), (70, 90, 1, 1)),
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
    rng, geometry = named_rng(case.name, op), geometry_of(case)
    shapes = operand_shapes(geometry)
    inputs = {name: rng.standard_normal(shapes[name]).astype(dtype) for name in ("x", "weight", "bias", "grad_out")}
    for formats in itertools.product(FORMATS, repeat=len(activations(op))):
        problem = problem_of(op, geometry, dtype, formats, {"bias"}, "direct")
        ours, theirs = (run_fenced(backend, op, problem, inputs) for backend in ("numba", "cython"))
        for name, found in ours.items():
            assert np.isfinite(found).all()
            assert_same_bits(found, theirs[name], (formats, name))
