"""Kernels called directly, as ``functional`` calls them, but between fences."""

import itertools
from dataclasses import replace
from functools import cache

from fastconv import _kernels
from fastconv._kernels.contract import (
    ADAM_SETTINGS,
    CROSS_ENTROPY_SETTINGS,
    DROPOUT_SETTINGS,
    HARDTANH_SETTINGS,
    NORM_COEFFICIENTS,
    NORM_SUMS,
    OK,
    OPERATIONS,
    RESPONSE_SETTINGS,
    SGD_SETTINGS,
    Declined,
    Kernel,
    Problem,
    offsets_dtype,
)
from fastconv.bench.cases import AWKWARD_CONVS, AWKWARD_LOCALS, AWKWARD_POOLS, LocalCase
from fastconv.geometry import (
    ChannelsGeometry,
    ClassesGeometry,
    Conv2dGeometry,
    ElementsGeometry,
    LocalConv2dGeometry,
    Pool2dGeometry,
)
from support.cases import DEPTHWISE, FEW_PIXELS, POOLS, WHOLE_LINES, WINOGRAD
from support.data import DTYPES, FORMATS, Fenced, assert_same_bits, integers, named_rng, on_host

CONV_OPERATIONS = tuple(name for name in OPERATIONS if name.startswith("conv2d"))
CONV_CASES = AWKWARD_CONVS + DEPTHWISE + WHOLE_LINES + FEW_PIXELS + WINOGRAD
LOCAL_OPERATIONS = tuple(name for name in OPERATIONS if name.startswith("locally_connected2d"))
# Variants whose transforms round integers, and by how many units of the sum of magnitudes they may be wrong.
ROUNDING = {"winograd4": 64}
POOL_CASES = AWKWARD_POOLS + POOLS
POOL_OPERATIONS = tuple(name for name in OPERATIONS if "_pool2d" in name)
_ACTIVATIONS = ("x", "out", "grad_out", "grad_input", "residual")
_SETTINGS = {
    "sgd_step_": SGD_SETTINGS,
    "adam_step_": ADAM_SETTINGS,
    "dropout": DROPOUT_SETTINGS,
    "hardtanh": HARDTANH_SETTINGS,
    "local_response_norm": RESPONSE_SETTINGS,
    "cross_entropy": CROSS_ENTROPY_SETTINGS,
}
# Operands that are float64 in every problem.
_WIDE = ("mean", "variance", "sums", "settings")


def geometry_of(case):
    """The geometry of a case."""
    if isinstance(case, LocalCase):
        return LocalConv2dGeometry.at(case.x_shape, case.weight_shape, **case.parameters)
    if hasattr(case, "weight_shape"):
        return Conv2dGeometry.of(case.x_shape, case.weight_shape, **case.parameters)
    if hasattr(case, "output_size"):
        return Pool2dGeometry.adaptive(case.x_shape, **case.parameters)
    return Pool2dGeometry.of(case.x_shape, **case.parameters)


def operand_shapes(geometry):
    """Name -> shape of every operand of every operation on this geometry."""
    shapes = {"x": geometry.x_shape, "grad_input": geometry.x_shape}
    shapes |= dict.fromkeys(("out", "grad_out", "offsets"), geometry.out_shape)
    if isinstance(geometry, Pool2dGeometry):
        shapes |= {"row_counts": (geometry.rows.out,), "col_counts": (geometry.cols.out,)}
    if isinstance(geometry, Conv2dGeometry):
        shapes |= dict.fromkeys(("weight", "grad_weight"), geometry.weight_shape)
        bias_shape = getattr(geometry, "bias_shape", (geometry.K,))
        shapes |= dict.fromkeys(("bias", "grad_bias"), bias_shape)
    if isinstance(geometry, ChannelsGeometry):
        shapes |= {"residual": geometry.x_shape, "coefficients": (len(NORM_COEFFICIENTS), geometry.C)}
        shapes |= {"sums": (len(NORM_SUMS), geometry.C)} | dict.fromkeys(("mean", "variance"), (geometry.C,))
    if isinstance(geometry, ClassesGeometry):
        shapes |= dict.fromkeys(("target", "losses", "grad_losses"), (geometry.N, geometry.pixels))
        shapes |= {"class_weight": (geometry.C,)}
    if isinstance(geometry, ElementsGeometry):
        kept = ("parameter", "grad", "momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
        shapes |= dict.fromkeys(("residual", "addend", "total", *kept), geometry.shape)
    return shapes


def operand_shape(op, geometry, name):
    """The shape of one operand; settings are as long as the operation's list of them."""
    if name == "settings":
        return (len(_SETTINGS[next(prefix for prefix in _SETTINGS if op.startswith(prefix))]),)
    return operand_shapes(geometry)[name]


def operand_dtype(problem, name):
    """The dtype of one operand."""
    if name == "offsets":
        return offsets_dtype(problem.geometry)
    if name == "target":
        return "int64"
    return "float64" if name in _WIDE else problem.dtype


def problem_of(op, geometry, dtype, formats, present=(), variant=None, activation=None):
    """The Problem of a call; ``present`` names the optional operands that are there."""
    optional = frozenset(present) & frozenset(OPERATIONS[op].optional)
    return Problem(geometry, dtype, tuple(formats), optional, variant, activation)


def activations(op):
    """The operands of an operation that have a memory format, in order."""
    operation = OPERATIONS[op]
    return [name for name in (*operation.inputs, *operation.outputs) if name in _ACTIVATIONS]


def run_fenced(backend, op, problem, inputs, fence=Fenced):
    """Name -> output of one kernel call, or None where the kernel declines; inputs are read-only, all is fenced.

    A kernel that takes the weight packed and unpacked is called both ways and must give the same bits.
    """
    kernel = _kernels.load(backend).prepare(op, problem)
    if isinstance(kernel, Declined):
        return None
    assert isinstance(kernel, Kernel)
    outputs = _run_fenced(kernel, op, problem, inputs, fence)
    if kernel.run_unpacked is not None:
        as_it_is = replace(kernel, run=kernel.run_unpacked, pack=None)
        for name, found in _run_fenced(as_it_is, op, problem, inputs, fence).items():
            assert_same_bits(found, outputs[name], (backend, op, problem, name, "unpacked"))
    return outputs


def _run_fenced(kernel, op, problem, inputs, fence):
    operation = OPERATIONS[op]
    absent = set(operation.optional) - problem.optional
    present = [name for name in activations(op) if name not in absent]
    formats = dict(zip(present, problem.formats, strict=True))
    formats["offsets"] = formats.get("out", formats.get("grad_out"))
    fenced = {}
    for name in (*operation.inputs, *operation.outputs):
        if name in absent:
            continue
        shape, dtype = operand_shape(op, problem.geometry, name), operand_dtype(problem, name)
        values = inputs[name] if name in operation.inputs else None
        fenced[name] = fence(shape, dtype, formats.get(name, FORMATS[0]), values)
        if op.endswith("_") and name in operation.outputs:
            fenced[name].write(inputs[name])
    operands = {name: item.array for name, item in fenced.items()}
    if kernel.pack is not None:
        operands["weight"] = kernel.pack(operands["weight"])
    assert kernel(*operands.values()) == OK
    for name, item in fenced.items():
        item.check_unchanged((op, name)) if name in operation.inputs else item.check((op, name))
    return {name: on_host(fenced[name].array) for name in operation.outputs if name in fenced}


def integer_inputs(case, dtype):
    """Small integers for every operand that is an input of some operation."""
    geometry, rng = geometry_of(case), named_rng(case.suite, case.name)
    shapes = operand_shapes(geometry)
    names = [name for name in ("x", "weight", "bias", "grad_out") if name in shapes]
    inputs = {name: integers(rng, shapes[name], dtype) for name in names}
    if isinstance(geometry, Pool2dGeometry):
        # Powers of two: quotients are exact, and so are their sums in any order.
        inputs |= {name: 2.0 ** rng.integers(0, 3, shapes[name]).astype(dtype) for name in ("row_counts", "col_counts")}
        present = {"offsets"}
        problem = problem_of("max_pool2d_forward", geometry, dtype, FORMATS[:1] * 2, present)
        inputs["offsets"] = run_fenced("reference", "max_pool2d_forward", problem, inputs)["offsets"]
    return inputs


@cache
def reference_outputs(case, dtype, op, activation=None):
    """(inputs, outputs) of the reference on integer data."""
    inputs, geometry = integer_inputs(case, dtype), geometry_of(case)
    formats = FORMATS[:1] * len(activations(op))
    problem = problem_of(op, geometry, dtype, formats, _present(case), activation=activation)
    return inputs, run_fenced("reference", op, problem, inputs)


def assert_exact(backend, op, case, dtype, fence=Fenced, activation=None):
    """Every variant that takes the case, in every combination of memory formats, gives the reference's bits.

    What rounds integers is rounded to them again.
    """
    inputs, expected = reference_outputs(case, dtype, op, activation)
    geometry = geometry_of(case)
    for formats in itertools.product(FORMATS, repeat=len(activations(op))):
        ran = 0
        for variant in (None, *(variant.name for variant in _kernels.load(backend).VARIANTS[op])):
            problem = problem_of(op, geometry, dtype, formats, _present(case), variant, activation)
            outputs = run_fenced(backend, op, problem, inputs, fence)
            if outputs is None:
                continue
            ran += 1
            if variant in ROUNDING:
                outputs = {name: on_host(found).round() + 0.0 for name, found in outputs.items()}
            for name, found in outputs.items():
                assert_same_bits(found, expected[name], (backend, op, case.name, dtype, formats, variant, name))
        # The public functions ask for mixed formats in gradients of convolutions only.
        may_decline = len(set(formats)) > 1 and (op.endswith("forward") or op in POOL_OPERATIONS)
        assert ran or may_decline, (backend, op, case.name, dtype, formats)


def check_all(backend, fence=Fenced, names=None, dtypes=DTYPES):
    """Every exact check of all cases, or of the named ones; returns how many there were."""
    count = 0
    kinds = ((CONV_OPERATIONS, CONV_CASES), (POOL_OPERATIONS, POOL_CASES), (LOCAL_OPERATIONS, AWKWARD_LOCALS))
    for operations, cases in kinds:
        chosen = [case for case in cases if names is None or case.name in names]
        for op, case, dtype in itertools.product(operations, chosen, dtypes):
            assert_exact(backend, op, case, dtype, fence)
            count += 1
    return count


def _present(case):
    return {"bias", "offsets"} if getattr(case, "bias", True) else {"offsets"}
