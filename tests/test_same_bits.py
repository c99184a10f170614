"""Both compiled backends walk over one plan: where they add in one order, every bit of their results is the same."""

import importlib
import itertools

import numpy as np
import pytest
from support.cases import WINOGRAD
from support.data import DTYPES, FORMATS, assert_same_bits, named_rng
from support.kernel_calls import CONV_OPERATIONS, activations, geometry_of, operand_shapes, problem_of, run_fenced

from fastconv import _kernels
from fastconv._kernels.contract import RELU, RELU6, Kernel
from fastconv.arrays import CHANNELS_LAST
from fastconv.bench.cases import AWKWARD_CONVS, ConvCase

BACKENDS = ("numba", "cython")
FLOAT32_ALONE = ("winograd2", "winograd4")
# Of a vector: depthwise kernels have columns in the lanes where there are fewer channels.
MOST_LANES = 16
LARGER = (
    ConvCase("several ranges of channels", "bits", (2, 400, 7, 9), (70, 400, 3, 3), padding=1),
    ConvCase("many terms, strided", "bits", (3, 70, 15, 14), (130, 70, 5, 3), stride=2, padding=2),
    ConvCase("segments", "bits", (2, 16, 40, 44), (24, 16, 3, 3), padding=1),
    ConvCase("merged taps", "bits", (2, 3, 50, 61), (40, 3, 7, 7), stride=2, padding=3),
    ConvCase("pointwise", "bits", (3, 90, 13, 12), (70, 90, 1, 1)),
    ConvCase("planes, groups", "bits", (2, 350, 12, 16), (46, 175, 1, 1), groups=2, bias=False),
    ConvCase("few outputs, groups", "bits", (2, 64, 21, 23), (6, 32, 3, 3), padding=1, groups=2),
    ConvCase(
        "few outputs, dilated", "bits", (1, 48, 19, 18), (3, 48, 3, 4), padding=3, dilation=2, padding_mode="reflect"
    ),
    ConvCase("groups of four", "bits", (2, 64, 13, 19), (64, 4, 3, 3), padding=1, groups=16),
    ConvCase("groups of few, strided", "bits", (3, 30, 15, 14), (18, 5, 3, 2), stride=2, padding=2, groups=6),
    ConvCase("groups of few, dilated", "bits", (1, 40, 14, 13), (60, 2, 3, 3), padding=2, dilation=2, groups=20),
    ConvCase(
        "groups of few, circular", "bits", (2, 32, 9, 9), (16, 8, 4, 3), padding=2, groups=4, padding_mode="circular"
    ),
    ConvCase("groups of few, pointwise", "bits", (2, 48, 12, 31), (96, 2, 1, 1), groups=24, bias=False),
    ConvCase("groups of few, segments", "bits", (2, 24, 44, 40), (24, 2, 3, 3), padding=1, groups=12),
    ConvCase("groups of seven inputs, one output", "bits", (1, 28, 8, 7), (4, 7, 2, 2), groups=4),
    # The only ones that short vectors do not decline.
    ConvCase("one output", "bits", (2, 32, 17, 15), (1, 32, 3, 3), padding=1, bias=False),
    ConvCase("one input", "bits", (1, 1, 20, 21), (32, 1, 5, 5), padding=2),
    ConvCase("few inputs, strided", "bits", (2, 3, 30, 27), (64, 3, 7, 7), stride=2, padding=3),
    ConvCase("few inputs, circular", "bits", (1, 2, 15, 16), (32, 2, 5, 5), padding=2, padding_mode="circular"),
    ConvCase("few pixels", "bits", (5, 350, 1, 1), (45, 350, 1, 1)),
    ConvCase("few pixels, whole vectors", "bits", (7, 416, 1, 1), (330, 416, 1, 1), bias=False),
    ConvCase("one pixel, whole vectors", "bits", (1, 96, 1, 1), (170, 96, 1, 1)),
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
    if not all(map(_kernels.load, BACKENDS)):
        pytest.skip("one of the backends is not there")
    level = importlib.import_module("fastconv._kernels.cython_cpu.machine").instruction_set()
    width = importlib.import_module("fastconv._kernels.numba_cpu.settings").VECTOR_BYTES
    if WIDTHS.get(level, 16) != width:
        pytest.skip(f"C uses {level}, Numba vectors of {width} bytes")


@pytest.mark.oracle
@pytest.mark.usefixtures("_same_vectors")
@pytest.mark.parametrize("op", CONV_OPERATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*AWKWARD_CONVS, *LARGER, *WINOGRAD], ids=lambda case: case.name)
def test_numba_and_cython_give_the_same_bits(case, dtype, op):
    rng, geometry = named_rng(case.name, op), geometry_of(case)
    shapes = operand_shapes(geometry)
    inputs = {name: rng.standard_normal(shapes[name]).astype(dtype) for name in ("x", "weight", "bias", "grad_out")}
    present = {"bias"} if case.bias else ()
    for variant, formats in itertools.product(
        shared_variants(op), itertools.product(FORMATS, repeat=len(activations(op)))
    ):
        for activation in (None, RELU, RELU6) if op == "conv2d_forward" else (None,):
            problem = problem_of(op, geometry, dtype, formats, present, variant, activation)
            ours, theirs = (run_fenced(backend, op, problem, inputs) for backend in BACKENDS)
            # Both ask one plan.
            assert (ours is None) == (theirs is None)
            assert variant != "direct" or ours is not None
            for name, found in (ours or {}).items():
                assert np.isfinite(found).all()
                if adds_in_one_order(variant, formats, geometry):
                    assert_same_bits(found, theirs[name], (variant, formats, activation, name))


def adds_in_one_order(variant, formats, geometry):
    """Where lanes are columns, Numba adds the windows of one channel column by column, C row by row."""
    return variant != "depthwise" or (set(formats) == {CHANNELS_LAST} and geometry.C >= MOST_LANES)


@pytest.mark.oracle
@pytest.mark.usefixtures("_same_vectors")
@pytest.mark.parametrize("op", CONV_OPERATIONS[:3])
def test_every_shared_variant_takes_some_case(op):
    geometries = [geometry_of(case) for case in (*AWKWARD_CONVS, *LARGER)]
    for variant, dtype in itertools.product(shared_variants(op), DTYPES):
        if variant in FLOAT32_ALONE and dtype != "float32":
            continue
        problems = (
            problem_of(op, geometry, dtype, (wanted, wanted), variant=variant)
            for geometry, wanted in itertools.product(geometries, FORMATS)
        )
        assert any(isinstance(_kernels.load(BACKENDS[0]).prepare(op, problem), Kernel) for problem in problems), variant


@pytest.mark.oracle
@pytest.mark.usefixtures("_same_vectors")
@pytest.mark.parametrize("variant", FLOAT32_ALONE)
@pytest.mark.parametrize("op", CONV_OPERATIONS[:3])
def test_tiles_with_what_is_not_finite_are_summed_in_one_order(op, variant):
    case, rng = LARGER[0], named_rng(variant, op)
    geometry = geometry_of(case)
    inputs = {name: rng.standard_normal(shape).astype("float32") for name, shape in operand_shapes(geometry).items()}
    for name, value in (("x", np.inf), ("grad_out", np.nan), ("weight", -np.inf)):
        inputs[name][1, 3, 2, 1] = value
    problem = problem_of(op, geometry, "float32", (CHANNELS_LAST,) * 2, {"bias"}, variant)
    (ours,), (theirs,) = (run_fenced(backend, op, problem, inputs).values() for backend in BACKENDS)
    assert not np.isfinite(ours).all()
    np.testing.assert_array_equal(ours, theirs)


def shared_variants(op):
    """The names of the variants that both backends have."""
    ours, theirs = ([variant.name for variant in _kernels.load(backend).VARIANTS[op]] for backend in BACKENDS)
    return [name for name in ours if name in theirs]
