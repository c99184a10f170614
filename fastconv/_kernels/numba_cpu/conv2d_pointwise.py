"""Pointwise convolution of planes with Numba, driven from here: forward and grad_input."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import Declined, Kernel, Problem, Variant, planned
from fastconv._kernels.numba_cpu import microkernels
from fastconv._kernels.numba_cpu.arguments import ENDINGS, fill, grain
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d_arguments import BLOCK_BYTES, POINTWISE, POINTWISE_WORK_BYTES
from fastconv._kernels.numba_cpu.microkernels import layout, panel_values
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel
from fastconv._kernels.numba_cpu.settings import COLUMNS


def _build_pointwise():
    from fastconv._kernels.numba_cpu import conv2d_planes

    return conv2d_planes.pointwise_kernel()


@cache
def _kernel() -> RangeKernel:
    return RangeKernel(_build_pointwise)


def native_functions(dtype: str) -> list[NativeFunction]:
    """What pointwise convolutions run, beside the microkernels."""
    return [_kernel().native]


class _Pointwise:
    """Items are blocks of pixels; the weight is read as it is."""

    def __init__(self, problem: Problem, made: plan.PointwisePlan, transposed: bool):
        self._problem, self._plan, self._transposed = problem, made, transposed
        # Before sums and copies of pixels that fill no whole vectors: what the slot works with.
        sizes = (POINTWISE_WORK_BYTES + PANEL.itemsize, max(COLUMNS) * BLOCK_BYTES, made.C * BLOCK_BYTES)
        _, self._sums_at, self._copies_at, self.scratch_bytes = layout(*sizes)

    def __call__(self, *operands) -> int:
        return self._run(*operands)

    @cached_property
    def _run(self) -> Callable[..., int]:
        g, made = self._problem.geometry, self._plan
        operands = ("source", "weight", *(["bias"] if "bias" in self._problem.optional else []), "target")
        items = g.N * g.groups * len(made.blocks) * made.k_groups
        return _kernel().bound(self._template(), operands, items, grain(g.flops // items), self.scratch_bytes)

    def _template(self) -> np.ndarray:
        g, made, size = self._problem.geometry, self._plan, np.dtype(self._problem.dtype).itemsize
        c_stride, k_stride = (g.C_g * size, size) if self._transposed else (size, g.C_g * size)
        return fill(
            POINTWISE,
            **panel_values(self._problem.dtype, made.blocks),
            **{"groups": g.groups, "C": made.C, "K": made.K, "pixels": made.pixels, "itemsize": size},
            **{"blocks": made.blocks.ctypes.data, "block_count": len(made.blocks)},
            **{"k_groups": made.k_groups, "c_range": made.c_range},
            **{"activation": ENDINGS[self._problem.activation]},
            **{"c_stride": c_stride, "k_stride": k_stride, "group_stride": g.K_g * g.C_g * size},
            **{"sums_at": self._sums_at, "copies_at": self._copies_at},
        )


def _prepare(problem: Problem, *, transposed: bool) -> Kernel | Declined:
    unit = microkernels.unit(np.dtype(problem.dtype).itemsize)
    made = plan.pointwise_plan(problem.geometry, transposed, problem.formats, unit)
    return planned("planes", made, lambda: _Pointwise(problem, made, transposed))


VARIANTS = {
    "conv2d_forward": (Variant("planes", lambda problem: _prepare(problem, transposed=False)),),
    "conv2d_grad_input": (Variant("planes", lambda problem: _prepare(problem, transposed=True)),),
}
