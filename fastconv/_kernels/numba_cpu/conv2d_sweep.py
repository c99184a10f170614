"""grad_input of pointwise convolutions of few pixels with Numba, driven from here."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastconv._kernels import plan, pool
from fastconv._kernels.contract import Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu import microkernels
from fastconv._kernels.numba_cpu.arguments import fill, grain
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d_arguments import SWEEP
from fastconv._kernels.numba_cpu.microkernels import layout
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel


def _build_sweep_items():
    from fastconv._kernels.numba_cpu import conv2d_sweep_items

    return conv2d_sweep_items.sweep_kernel()


@cache
def _kernel() -> RangeKernel:
    return RangeKernel(_build_sweep_items)


def native_functions(dtype: str) -> list[NativeFunction]:
    """What they run, beside the microkernels."""
    return [_kernel().native]


def _prepare(problem: Problem) -> Kernel | Declined:
    g, size = problem.geometry, np.dtype(problem.dtype).itemsize
    unit = microkernels.unit(size)
    made = plan.sweep_plan(g, problem.formats, unit, pool.default_num_threads())
    if isinstance(made, str):
        return Declined(made)
    # The panel, then sums of a block of rows.
    _, sums_at, scratch_bytes = layout(PANEL.itemsize, made.pixels * made.width * unit.lanes * size)
    template = fill(
        SWEEP,
        **{"pixels": made.pixels, "C": g.C, "K": g.K, "itemsize": size},
        **{"width": made.width * unit.lanes, "rows": made.rows, "block": plan.BLOCK_TERMS, "sums_at": sums_at},
        microkernel=microkernels.sweep(problem.dtype).address,
    )
    operands = ("grad_out", "weight", "grad_input")
    run = _kernel().bound(template, operands, made.items, grain(g.flops // made.items), scratch_bytes)
    return Kernel("gemv", run, workspace_bytes=scratch_bytes)


VARIANTS = {"conv2d_grad_input": (Variant("gemv", _prepare),)}
