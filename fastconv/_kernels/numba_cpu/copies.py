"""Rows that become parts of longer rows, copied by all threads; driven from here."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import Kernel, Problem, Variant
from fastconv._kernels.numba_cpu.arguments import fill
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.elementwise_arguments import PART
from fastconv._kernels.numba_cpu.ranges import RangeKernel


def _build_parts():
    from fastconv._kernels.numba_cpu import elementwise_kernels

    return elementwise_kernels.part_kernel()


@cache
def _kernel() -> RangeKernel:
    return RangeKernel(_build_parts)


def native_functions(dtype: str) -> list[NativeFunction]:
    """What copies can run: one function for every dtype."""
    return [_kernel().native]


def _prepare(problem: Problem) -> Kernel:
    g, itemsize = problem.geometry, np.dtype(problem.dtype).itemsize
    made = plan.part_plan(g, itemsize)
    values = {"all_rows": g.rows, "rows": made.rows, "blocks": made.blocks, "block": made.block}
    values |= {"width": g.width * itemsize, "pitch": g.pitch * itemsize, "offset": g.offset * itemsize}
    run = _kernel().bound(fill(PART, **values), ("source", "target"), made.items, plan.PART_CHUNK)
    return Kernel("rows", run)


VARIANTS = {"copy_part": (Variant("rows", _prepare),)}
