"""Normalisation across channels with Numba, driven from here."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastconv._kernels.contract import Kernel, Problem, Variant
from fastconv._kernels.numba_cpu.arguments import fill, grain
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.elementwise_arguments import RESPONSE, RESPONSE_LANES
from fastconv._kernels.numba_cpu.ranges import RangeKernel

# Operation -> the fields of its operands.
_OPERANDS = {
    "local_response_norm_forward": ("x", "settings", "target"),
    "local_response_norm_grad_input": ("grad_out", "x", "settings", "target"),
}


def _build_response(op: str, dtype: str):
    from fastconv._kernels.numba_cpu import local_response_norm_kernels

    return local_response_norm_kernels.KERNELS[op](dtype)


@cache
def _kernel(op: str, dtype: str) -> RangeKernel:
    return RangeKernel(_build_response, op, dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that normalisation across channels of one dtype can run."""
    return [_kernel(op, dtype).native for op in _OPERANDS]


def _prepare(op: str, problem: Problem) -> Kernel:
    g, itemsize = problem.geometry, np.dtype(problem.dtype).itemsize
    images = max(1, RESPONSE_LANES // g.C) if g.pixels == 1 else 1
    values = {"N": g.N, "C": g.C, "pixels": g.pixels, "before": g.before, "behind": g.behind, "images": images}
    items = -(-g.N // images) * -(-g.pixels // RESPONSE_LANES)
    # The sums of a run, and what others see of every channel.
    scratch = (RESPONSE_LANES + g.C * min(g.pixels, RESPONSE_LANES)) * itemsize
    chunk = grain(g.flops // max(1, items))
    run = _kernel(op, problem.dtype).bound(fill(RESPONSE, **values), _OPERANDS[op], items, chunk, scratch)
    return Kernel("direct", run, workspace_bytes=scratch)


def _table(op):
    return (Variant("direct", lambda problem: _prepare(op, problem)),)


VARIANTS = {op: _table(op) for op in _OPERANDS}
