"""Batch normalisation with Numba, driven from here: plan -> arguments -> range kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import RELU, Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu.arguments import fill, grain
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.elementwise_arguments import ELEMENTS, NORM, NORM_CHANNELS, NORM_LANES
from fastconv._kernels.numba_cpu.ranges import RangeKernel, in_turn

# Operation -> name of its kernels, and the fields of its operands in calling order; of a writer one is optional.
_SUMS = {
    "batch_norm_statistics": ("moments", ("x", "sums", "other_sums")),
    "batch_norm_grad_sums": ("sums", ("grad_out", "x", "coefficients", "sums")),
}
_WRITERS = {
    "batch_norm_forward": ("forward", ("x", "coefficients", "residual", "target"), "residual"),
    "batch_norm_grad_input": ("grad", ("grad_out", "x", "coefficients", "target"), "x"),
}


def _build_sums(name: str, dtype: str):
    from fastconv._kernels.numba_cpu import batch_norm_sums

    return batch_norm_sums.KERNELS[name](dtype)


def _build_writer(name: str, dtype: str):
    from fastconv._kernels.numba_cpu import batch_norm_kernels

    return batch_norm_kernels.KERNELS[name](dtype)


@cache
def _kernel(build: Callable, name: str, dtype: str) -> RangeKernel:
    return RangeKernel(build, name, dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that batch normalisation of one dtype can run."""
    sums = [f"{name}_{part}" for name, _ in _SUMS.values() for part in ("planes", "rows", "merge")]
    writers = [f"{name}_{part}" for name, *_ in _WRITERS.values() for part in ("planes", "rows")]
    found = [_kernel(_build_sums, name, dtype) for name in sums]
    return [kernel.native for kernel in (*found, *(_kernel(_build_writer, name, dtype) for name in writers))]


def _prepare_sums(op: str, problem: Problem) -> Kernel | Declined:
    if len(set(problem.formats)) > 1:
        return Declined("all arrays must have one memory format")
    (name, operands), g, itemsize = _SUMS[op], problem.geometry, np.dtype(problem.dtype).itemsize
    made = plan.norm_plan(g, problem.formats[0], itemsize)
    template = _template(problem, made.sum_items, made.sum_rows)

    def kernel(part):
        return _kernel(_build_sums, f"{name}_{part}", problem.dtype)

    if made.planar:
        steps, scratch, shared = [(kernel("planes"), g.C, grain(16 * g.count))], (4 * NORM_LANES + 1) * 8, 0
    else:
        blocks = -(-g.C // NORM_CHANNELS)
        steps = [
            (kernel("rows"), made.sum_items, grain(16 * made.sum_rows * g.C)),
            (kernel("merge"), blocks, grain(16 * NORM_CHANNELS * made.sum_items)),
        ]
        scratch, shared = 3 * g.C * itemsize, 2 * made.sum_items * g.C * 8
    run = in_turn(steps, template, operands, scratch, shared)
    return Kernel("direct", run, workspace_bytes=scratch + shared)


def _prepare_writer(op: str, problem: Problem) -> Kernel | Declined:
    if len(set(problem.formats)) > 1:
        return Declined("all arrays must have one memory format")
    (name, operands, optional), g = _WRITERS[op], problem.geometry
    itemsize = np.dtype(problem.dtype).itemsize
    made = plan.norm_plan(g, problem.formats[0], itemsize)
    template = _template(problem, made.pass_items, made.pass_rows)
    template["streams"] = made.streams
    given = tuple(operand for operand in operands if operand != optional or problem.optional)
    kernel = _kernel(_build_writer, f"{name}_{'planes' if made.planar else 'rows'}", problem.dtype)
    chunk = grain(16 * (g.pixels if made.planar else made.pass_rows * g.C))
    scratch = ELEMENTS * itemsize if made.streams else 0
    return Kernel("direct", kernel.bound(template, given, made.pass_items, chunk, scratch))


def _template(problem: Problem, items: int, item_rows: int) -> np.ndarray:
    g, relu = problem.geometry, problem.activation == RELU
    return fill(NORM, N=g.N, C=g.C, pixels=g.pixels, items=items, item_rows=item_rows, relu=relu)


def _table(prepare, op):
    return (Variant("direct", lambda problem: prepare(op, problem)),)


VARIANTS = {
    **{op: _table(_prepare_sums, op) for op in _SUMS},
    **{op: _table(_prepare_writer, op) for op in _WRITERS},
}
