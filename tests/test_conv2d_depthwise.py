"""Depthwise convolution, by every variant that takes it: tails, borders, special values, errors, repetition."""

from dataclasses import replace

import numpy as np
import pytest
from support.backends import compiled_backends
from support.cases import DEPTHWISE
from support.data import DTYPES, FORMATS, assert_same_bits, in_format, integers
from support.kernel_calls import CONV_OPERATIONS, activations, assert_exact, geometry_of, problem_of, run_fenced

import fastconv as fc
from fastconv import _kernels
from fastconv._kernels.contract import Declined
from fastconv.bench.cases import ConvCase
from fastconv.dtypes import FLOAT_TYPES

WEIGHTED = CONV_OPERATIONS[:3]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_operation = pytest.mark.parametrize("op", WEIGHTED)


every_case = pytest.mark.parametrize("case", DEPTHWISE, ids=lambda case: case.name)


@compiled_backends
@every_operation
@every_dtype
@every_case
def test_every_variant_gives_the_bits_of_the_reference(backend, op, dtype, case):
    assert_exact(backend, op, case, dtype)


@compiled_backends
def test_a_variant_of_its_own_takes_depthwise_and_nothing_else(backend):
    two_channels = ConvCase("two channels", "here", (1, 4, 5, 6), (4, 2, 3, 3), groups=2)
    multiplier = ConvCase("multiplier", "here", (1, 4, 5, 6), (8, 1, 3, 3), groups=4)
    for op in WEIGHTED:
        for case in DEPTHWISE:
            assert prepared(backend, op, case, "float32", FORMATS[0], None).variant == "depthwise"
        for case in (two_channels, multiplier):
            assert isinstance(prepared(backend, op, case, "float32", FORMATS[0], "depthwise"), Declined)
            assert prepared(backend, op, case, "float32", FORMATS[0], None).variant != "depthwise"


def prepared(backend, op, case, dtype, wanted, variant):
    problem = problem_of(op, geometry_of(case), dtype, [wanted] * len(activations(op)), variant=variant)
    return _kernels.load(backend).prepare(op, problem)


def by_every_variant(backend, op, case, inputs, wanted):
    """Variant name -> outputs, of the variants that take the case."""
    found = {}
    for variant in _kernels.load(backend).VARIANTS[op]:
        dtype = inputs["weight"].dtype.name
        problem = problem_of(op, geometry_of(case), dtype, [wanted] * len(activations(op)), variant=variant.name)
        outputs = run_fenced(backend, op, problem, inputs)
        if outputs is not None:
            found[variant.name] = outputs
    assert found
    return found


def operands(case, draw, dtype):
    geometry = geometry_of(case)
    shapes = {"x": geometry.x_shape, "weight": geometry.weight_shape, "grad_out": geometry.out_shape}
    return {name: draw(shape).astype(dtype) for name, shape in shapes.items()}


SPECIAL = [
    case for case in DEPTHWISE if case.name.startswith(("whole", "narrow", "planes of", "stride two", "reflect"))
]


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@compiled_backends
@every_operation
@every_dtype
@pytest.mark.parametrize("case", SPECIAL, ids=lambda case: case.name)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_special_values_go_where_their_windows_are_and_nowhere_else(backend, op, dtype, case, value, rng):
    case = replace(case, bias=False)
    for name in ("x", "weight", "grad_out"):
        inputs = operands(case, lambda shape: integers(rng, shape, largest=9), dtype)
        inputs[name][tuple(rng.integers(0, inputs[name].shape))] = value
        (expected,) = by_every_variant("reference", op, case, inputs, FORMATS[0]).values()
        for wanted in FORMATS:
            for variant, outputs in by_every_variant(backend, op, case, inputs, wanted).items():
                for output, found in outputs.items():
                    np.testing.assert_array_equal(found, expected[output], err_msg=f"{variant} {wanted} {name}")


@compiled_backends
@every_dtype
@pytest.mark.parametrize(
    "case", [c for c in DEPTHWISE if c.name in ("blocks of rows", "stride two, odd", "far padding")]
)
def test_errors_are_within_the_promise(backend, dtype, case, rng):
    case = replace(case.with_batch(4), bias=False)
    inputs = operands(case, rng.standard_normal, dtype)
    unit = FLOAT_TYPES[dtype].unit_roundoff
    for op, bound in zip(WEIGHTED, (16, 16, 32), strict=True):
        wide = {name: array.astype(np.float64) for name, array in inputs.items()}
        (exact,) = by_every_variant("reference", op, case, wide, FORMATS[0]).values()
        sizes = {name: np.abs(array) for name, array in wide.items()}
        (scale,) = by_every_variant("reference", op, case, sizes, FORMATS[0]).values()
        for wanted in FORMATS:
            for variant, outputs in by_every_variant(backend, op, case, inputs, wanted).items():
                for output, found in outputs.items():
                    error = np.abs(found.astype(np.longdouble) - exact[output])
                    assert (error <= bound * unit * scale[output]).all(), (variant, wanted, output)


@compiled_backends
@every_operation
@every_dtype
@pytest.mark.usefixtures("_restore_settings")
def test_threads_runs_and_batches_do_not_change_a_bit(backend, op, dtype, rng):
    for case in DEPTHWISE[::4]:
        case = replace(case.with_batch(5), bias=False)
        single = case.with_batch(1)
        inputs = operands(case, rng.standard_normal, dtype)
        image = {name: array if name == "weight" else array[3:4] for name, array in inputs.items()}
        for wanted in FORMATS:
            results = []
            for threads in (1, 2, 3):
                fc.set_num_threads(threads)
                results.append(by_every_variant(backend, op, case, inputs, wanted))
            alone = by_every_variant(backend, op, single, image, wanted)
            for variant, outputs in results[0].items():
                for output, found in outputs.items():
                    for other in results[1:]:
                        assert_same_bits(other[variant][output], found)
                    if op != "conv2d_grad_weight":
                        assert_same_bits(alone[variant][output][0], found[3])


@every_dtype
def test_the_public_function_keeps_formats(dtype, rng):
    x, weight = rng.standard_normal((2, 24, 9, 10)).astype(dtype), rng.standard_normal((24, 1, 3, 3)).astype(dtype)
    results = [fc.functional.conv2d(in_format(x, wanted), weight, padding=1, groups=24) for wanted in FORMATS]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-5)
