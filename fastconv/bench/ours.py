"""This package's backends as contestants, called as users call them: with plain arrays, or (:kept) a layer's weight;
networks as they are, or (:fused) folded for inference; at a precision other than the default, (:strict) or (:fast)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays, backends, nn
from fastconv._kernels.contract import OPERATIONS, OUT_OF_MEMORY, Declined, Problem, offsets_dtype
from fastconv.bench import blas, ours_networks, ours_passes, rotation
from fastconv.bench.cases import ConvCase
from fastconv.bench.contestant import Contestant, Prepared, is_inference, is_layer, offered
from fastconv.bench.records import OURS
from fastconv.bench.workloads import ACTIVATIONS, LAYOUTS, Workload
from fastconv.dtypes import FLOAT_TYPES
from fastconv.geometry import Conv2dGeometry
from fastconv.precision import FAST, HIGH, LEVELS, STRICT, get_precision, use_precision

KEPT, FUSED = "kept", "fused"


_CONVOLUTIONS = ("conv2d_forward", "conv2d_grad_input", "conv2d_grad_weight")
# How many times the bound of a direct sum the algorithms of a precision may be wrong by.
_COARSENESS = {STRICT: 1.0, HIGH: 1.0, FAST: 4.0}


def contestants(backend: str, variant: str | None, precision: str = HIGH) -> tuple[Contestant, ...]:
    """The contestants of a usable backend; ``variant`` forces one algorithm."""
    name, suffix = f"{OURS}{backend}", suffix_of(precision)
    at = partial(_at, precision)
    plain = partial(at, partial(_prepare, backend, variant))
    kept = partial(at, partial(_prepare_kept, backend, variant))
    fused = partial(at, partial(_prepare_fused, backend))
    if backends.device(backend) != arrays.HOST:
        plain, kept, fused = (partial(rotation.on_gpu, prepare) for prepare in (plain, kept, fused))
    return (
        Contestant(f"{name}{suffix}", plain, _environment, is_peer=False),
        Contestant(f"{name}:{KEPT}{suffix}", kept, _environment, is_peer=False, takes_part=is_layer),
        Contestant(f"{name}:{FUSED}{suffix}", fused, _environment, is_peer=False, takes_part=is_inference),
    )


def suffix_of(precision: str) -> str:
    """How the names of contestants end at a precision."""
    return "" if precision == HIGH else f":{precision}"


def algorithms(backend: str, jobs: Sequence[tuple], precision: str) -> tuple[Contestant, ...]:
    """A contestant for each algorithm of a backend that takes a convolution of the jobs, in the order of its tables.

    A job is (direction, layout, dtype). None is less exact than ``precision`` allows.
    """
    found = dict.fromkeys(variant.name for op in _CONVOLUTIONS for variant in _kernel_set(backend).module.VARIANTS[op])
    return tuple(
        replace(
            contestants(backend, name)[0],
            name=f"{OURS}{backend}:{name}",
            takes_part=partial(_takes, backend, name, jobs, precision),
        )
        for name in found
    )


def _takes(backend, variant, jobs, precision, case):
    """Whether an algorithm computes a case in one of the jobs."""
    g = Conv2dGeometry.of(case.x_shape, case.weight_shape, **case.parameters)
    prepare, optional = _kernel_set(backend).module.prepare, frozenset({"bias"} if case.bias else ())
    for direction, layout, dtype in jobs:
        if direction not in case.directions:
            continue
        op = f"conv2d_{direction}"
        present = optional & frozenset(OPERATIONS[op].optional)
        found = prepare(op, Problem(g, dtype, (LAYOUTS[layout],) * 2, present, variant))
        if not isinstance(found, Declined) and LEVELS.index(found.precision) <= LEVELS.index(precision):
            return True
    return False


def variants(backend: str) -> set[str]:
    """The names of all algorithms of a backend."""
    return {variant.name for table in _kernel_set(backend).module.VARIANTS.values() for variant in table}


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    before = fc.get_num_threads()
    fc.set_num_threads(threads)
    try:
        with blas.threads(threads):
            yield
    finally:
        fc.set_num_threads(before)


def _at(precision, prepare, workload):
    """What is prepared, and asks for a precision whenever it computes."""
    if precision == HIGH:
        return prepare(workload)
    with use_precision(precision):
        found = prepare(workload)
    if isinstance(found, Declined):
        return found
    functions = {name: partial(_within, precision, getattr(found, name)) for name in ("call", "result", "variant")}
    return replace(found, **functions, coarseness=max(found.coarseness, _COARSENESS[precision]))


def _within(precision, function, *arguments):
    with use_precision(precision):
        return function(*arguments)


def _prepare(backend, variant, workload):
    return offered(_KERNELS if variant else _PUBLIC | _GRADIENTS, workload, backend, variant)


def _prepare_kept(backend, variant, workload):
    """Forward alone: training changes the weights at every step, and packing belongs to it."""
    if variant is None and workload.op in _KEPT:
        weight = nn.Parameter(workload.inputs["weight"], requires_grad=False)
        return _KEPT[workload.op](replace(workload, inputs={**workload.inputs, "weight": weight}), backend, variant)
    if workload.op != "conv2d_forward":
        return Declined("weights are kept in forward alone, and with a forced variant in conv2d_forward alone")
    kernel = _kernel(workload, backend, variant)
    if isinstance(kernel, Declined):
        return kernel
    if kernel.pack is None:
        return Declined(f"variant {kernel.variant} packs no weights")
    inputs = dict(workload.inputs)
    inputs["weight"] = kernel.pack(inputs["weight"])

    def call():
        out = _empty(workload)
        if kernel(*_operands(workload, inputs), out) == OUT_OF_MEMORY:
            raise MemoryError(f"no memory for {kernel.workspace_bytes:,} bytes of workspace")
        return out

    return _prepared(kernel, call)


def _prepared(kernel, call):
    """A call of one kernel, and how exact that is."""
    coarseness, grows = _COARSENESS[kernel.precision], kernel.precision != STRICT
    return Prepared(call, variant=lambda: kernel.variant, coarseness=coarseness, grows=grows)


def _prepare_fused(backend, workload):
    """Inference alone: what was folded cannot be trained."""
    return offered({"network_forward": ours_networks.fused}, workload, backend, None)


def _public(function, workload, backend, _variant):
    """A call of the public function, and the variant that it ran."""
    call = partial(function, backend=backend)

    return Prepared(call, variant=partial(ours_networks.variants, call))


def _conv2d(workload, backend, variant):
    inputs, parameters = workload.inputs, workload.case.parameters
    function = partial(F.conv2d, inputs["x"], inputs["weight"], inputs.get("bias"), **parameters)
    return _public(function, workload, backend, variant)


def _locally_connected2d(workload, backend, variant):
    inputs, parameters = workload.inputs, workload.case.parameters
    function = partial(F.locally_connected2d, inputs["x"], inputs["weight"], inputs.get("bias"), **parameters)
    return _public(function, workload, backend, variant)


def _pooling(function, workload, backend, variant):
    return _public(partial(function, workload.inputs["x"], **workload.case.parameters), workload, backend, variant)


def _chain(workload, backend, variant):
    inputs = workload.inputs
    layers = [
        (inputs[f"weight{i}"], inputs.get(f"bias{i}"), layer.parameters) for i, layer in enumerate(workload.case.layers)
    ]

    def function(backend):
        x = inputs["x"]
        for weight, bias, parameters in layers:
            x = F.conv2d(x, weight, bias, **parameters, backend=backend)
        return x

    return _public(function, workload, backend, variant)


def _direct(workload, backend, variant):
    """The kernel of an operation with a fresh output, as the layers call it."""
    kernel = _kernel(workload, backend, variant)
    if isinstance(kernel, Declined):
        return kernel
    run, operands = _kernel_set(backend).run, _operands(workload)
    task = backends.Task(_op(workload), _problem(workload, variant))

    def call():
        out = _empty(workload)
        run(task, *operands, out)
        return out

    return _prepared(kernel, call)


def _max_pool2d_grad_input(workload, backend, variant):
    g, run = workload.geometry, _kernel_set(backend).run
    layout = LAYOUTS[workload.layout]
    near = _first(workload)
    out = arrays.empty(g.out_shape, FLOAT_TYPES[workload.dtype].storage, layout, near=near)
    offsets = arrays.empty(g.out_shape, np.dtype(offsets_dtype(g)), layout, near=near)
    forward = Problem(g, workload.dtype, (layout, layout), frozenset({"offsets"}))
    run(backends.Task("max_pool2d_forward", forward), workload.inputs["x"], out, offsets)
    return _pool_gradient(workload, backend, variant, offsets)


def _avg_pool2d(workload, backend, variant):
    """Forward or the gradient, with one algorithm."""
    return _pool_gradient(workload, backend, variant, *_counts(workload))


def _counts(workload):
    storage = FLOAT_TYPES[workload.dtype].storage
    axes = (workload.geometry.rows, workload.geometry.cols)
    counts = ([axis.count(output, include_pad=True) for output in range(axis.out)] for axis in axes)
    device = arrays.device_of(_first(workload))
    return [arrays.moved(np.array(axis, storage), device) for axis in counts]


def _pool_gradient(workload, backend, variant, *others):
    """The kernel of what is read and others, which are there already."""
    task, run = backends.Task(_op(workload), _problem(workload, variant)), _kernel_set(backend).run
    kernel, first = _kernel(workload, backend, variant), _first(workload)
    if isinstance(kernel, Declined):
        return kernel

    def call():
        found = _empty(workload)
        run(task, first, *others, found)
        return found

    return _prepared(kernel, call)


def _linear(workload, backend, variant):
    return _public(partial(F.linear, *workload.inputs.values()), workload, backend, variant)


def _linear_direct(workload, backend, variant):
    """The kernel of the pointwise convolution that the layer is, with a fresh output."""
    prepared = _direct(_as_convolution(workload), backend, variant)
    if isinstance(prepared, Declined):
        return prepared
    shape = workload.exact.shape
    # Pixels of one image, or filters of one tap, as they lie in memory.
    return replace(prepared, result=lambda found: found.transpose(0, 2, 3, 1).reshape(shape))


def _as_convolution(workload: Workload) -> Workload:
    """Rows as the pixels of an image whose channels lie together, the weight as filters of one tap."""
    layer: Any = workload.case
    (N, C), (K, _) = layer.x_shape, layer.weight_shape
    case = ConvCase(layer.name, layer.suite, (1, C, N, 1), (K, C, 1, 1), bias=layer.bias)
    geometry = Conv2dGeometry.of(case.x_shape, case.weight_shape)
    inputs = {
        name: array.T[None, ..., None] if name in ACTIVATIONS else array[..., None, None] if array.ndim == 2 else array
        for name, array in workload.inputs.items()
    }
    exact = (
        workload.exact[..., None, None] if workload.direction == "grad_weight" else workload.exact.T[None, ..., None]
    )
    return replace(workload, case=case, geometry=geometry, inputs=inputs, exact=exact, layout="channels_last")


def _op(workload):
    """The operation of the contract, which knows windows of every kind."""
    return workload.op.removeprefix("adaptive_")


def _problem(workload, variant):
    optional = frozenset(OPERATIONS[_op(workload)].optional) & frozenset(workload.inputs)
    formats, precision = (LAYOUTS[workload.layout],) * 2, get_precision()
    return Problem(workload.geometry, workload.dtype, formats, optional, variant, precision=precision)


def _kernel_set(backend):
    return backends.select(backend, backends.device(backend))


def _first(workload):
    """The first of its arrays: results lie where it does."""
    return next(iter(workload.inputs.values()))


def _kernel(workload, backend, variant):
    return _kernel_set(backend).module.prepare(_op(workload), _problem(workload, variant))


def _operands(workload, inputs=None):
    inputs = workload.inputs if inputs is None else inputs
    return [inputs[name] for name in OPERATIONS[_op(workload)].inputs if name in inputs]


def _empty(workload: Workload):
    storage = FLOAT_TYPES[workload.dtype].storage
    layout = LAYOUTS[workload.layout] if workload.gives_activations else arrays.CONTIGUOUS
    return arrays.empty(workload.exact.shape, storage, layout, near=_first(workload))


_PUBLIC = {
    "conv2d_forward": _conv2d,
    "max_pool2d_forward": partial(_pooling, F.max_pool2d),
    "avg_pool2d_forward": partial(_pooling, F.avg_pool2d),
    "adaptive_max_pool2d_forward": partial(_pooling, F.adaptive_max_pool2d),
    "adaptive_avg_pool2d_forward": partial(_pooling, F.adaptive_avg_pool2d),
    "chain_forward": _chain,
    "linear_forward": _linear,
    "locally_connected2d_forward": _locally_connected2d,
    "network_step": ours_networks.step,
    "network_forward": ours_networks.forward,
    "batch_norm_forward": ours_passes.batch_norm_forward,
    "batch_norm_grad_input": ours_passes.batch_norm_grad_input,
    "relu_forward": ours_passes.relu_forward,
    "relu_grad_input": ours_passes.relu_grad_input,
    "add_relu_forward": ours_passes.add_relu_forward,
    "sgd_step": ours_passes.sgd_step,
    "adam_step": ours_passes.adam_step,
}
_GRADIENTS = {
    "conv2d_grad_input": _direct,
    "conv2d_grad_weight": _direct,
    "max_pool2d_grad_input": _max_pool2d_grad_input,
    "avg_pool2d_grad_input": _avg_pool2d,
    "adaptive_max_pool2d_grad_input": _max_pool2d_grad_input,
    "adaptive_avg_pool2d_grad_input": _avg_pool2d,
    "linear_grad_input": _linear_direct,
    "linear_grad_weight": _linear_direct,
    "locally_connected2d_grad_input": _direct,
    "locally_connected2d_grad_weight": _direct,
}
_KEPT = {"conv2d_forward": _conv2d, "linear_forward": _linear}
# What can be forced to one algorithm.
_KERNELS = _GRADIENTS | {
    "conv2d_forward": _direct,
    "max_pool2d_forward": _direct,
    "avg_pool2d_forward": _avg_pool2d,
    "adaptive_max_pool2d_forward": _direct,
    "adaptive_avg_pool2d_forward": _avg_pool2d,
    "linear_forward": _linear_direct,
    "locally_connected2d_forward": _direct,
}
