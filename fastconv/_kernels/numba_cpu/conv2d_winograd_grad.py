"""grad_weight of 3 x 3 layers by Winograd's minimal filtering with Numba, driven from here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import OK, Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu import conv2d_grads, microkernels
from fastconv._kernels.numba_cpu.arguments import fill, grain, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d_arguments import (
    WINOGRAD_GRAD,
    WINOGRAD_GRAD_WORK_BYTES,
    WINOGRAD_STORED_CHANNELS,
    WINOGRAD_TABLE_BYTES,
)
from fastconv._kernels.numba_cpu.conv2d_winograd import SIZES, tile
from fastconv._kernels.numba_cpu.microkernels import layout, panel_values
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel, in_turn
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES

_TAPS = 9


def _build_winograd_grad():
    from fastconv._kernels.numba_cpu import conv2d_winograd_grad_items

    return conv2d_winograd_grad_items.winograd_grad_kernel()


def _build_winograd_reduce():
    from fastconv._kernels.numba_cpu import conv2d_winograd_grad_items

    return conv2d_winograd_grad_items.winograd_reduce_kernel()


@cache
def _kernel(build: Callable) -> RangeKernel:
    return RangeKernel(build)


def native_functions(dtype: str) -> list[NativeFunction]:
    """What grad_weight runs, beside the microkernels and the transforms."""
    if np.dtype(dtype).itemsize != plan.WINOGRAD_ITEMSIZE:
        return []
    return [_kernel(build).native for build in (_build_winograd_grad, _build_winograd_reduce)]


class _WinogradGrad:
    """Items are parts of grad_weight or of its sum, so that no thread adds to another one's sums."""

    def __init__(self, problem: Problem, made: plan.WinogradGradPlan):
        self._problem, self._plan = problem, made
        self._itemsize = size = np.dtype(problem.dtype).itemsize
        work = WINOGRAD_GRAD_WORK_BYTES + PANEL.itemsize
        taps, zeros = WINOGRAD_STORED_CHANNELS * _TAPS * VECTOR_BYTES, (made.x_pitch + made.grad_pitch) * size
        points = (made.points * step * size for step in (made.x_step, made.grad_step))
        own, shared = (made.sums, 0) if made.segments == 1 else (0, made.segments * made.parts * made.sums)
        sizes = (work, 2 * WINOGRAD_TABLE_BYTES, taps, zeros, *points, made.strip * size, own * size)
        _, *self._starts, self._scratch_bytes = layout(*sizes)
        self._shared_bytes = shared * size

    def __call__(self, grad_out, x, grad_weight) -> int:
        doubt = np.zeros(1, np.int64)
        status = self._run(grad_out, x, grad_weight, doubt)
        if status == OK and doubt[0]:
            return conv2d_grads.prepare_direct(self._problem).run(grad_out, x, grad_weight)
        return status

    @property
    def scratch_bytes(self) -> int:
        """What one thread needs, and what all share."""
        return self._scratch_bytes + self._shared_bytes

    @cached_property
    def _run(self) -> Callable[..., int]:
        made = self._plan
        items = made.segments * made.parts
        steps = [(_kernel(_build_winograd_grad), items, grain(self._problem.geometry.flops // items))]
        if made.segments > 1:
            pieces = made.parts * -(-made.c_block // WINOGRAD_STORED_CHANNELS)
            reduced = grain(8 * items * made.sums // pieces)
            steps.append((_kernel(_build_winograd_reduce), pieces, reduced))
        operands = ("grad_out", "x", "grad_weight", "doubt")
        return in_turn(steps, self._template(), operands, self._scratch_bytes, self._shared_bytes)

    def _template(self) -> np.ndarray:
        g, made, dtype, size = self._problem.geometry, self._plan, self._problem.dtype, self._itemsize
        counts = ("size", "tile_blocks", "segments", "parts", "k_group", "c_blocks")
        lengths = ("x_pitch", "x_step", "grad_pitch", "grad_step", "sums_step")
        places = ("tables_at", "taps_at", "zeros_at", "x_points_at", "grad_points_at", "strip_at", "sums_at")
        return fill(
            WINOGRAD_GRAD,
            **panel_values(dtype, made.k_blocks),
            **stride_values("grad_out", made.grad_out_strides, size),
            **stride_values("x", made.x_strides, size),
            transform_x=tile(dtype, "source", made.size).address,
            transform_grad_out=tile(dtype, "gradient", made.size).address,
            make_taps=tile(dtype, "taps", made.size).address,
            transpose=microkernels.transpose(dtype).address,
            **{"k_blocks": made.k_blocks.ctypes.data, "k_block_count": len(made.k_blocks)},
            **{"N": g.N, "C": g.C_g, "K": g.K_g, "itemsize": size, "sums_bytes": made.sums * size},
            **{"x_rows": g.rows.size, "x_cols": g.cols.size, "out_rows": g.rows.out, "out_cols": g.cols.out},
            **dict(zip(("pad_rows", "pad_cols", "tile_rows", "tile_cols"), (*made.pads, *made.tiles), strict=True)),
            **{name: getattr(made, name) for name in counts},
            **{name: getattr(made, name) * size for name in lengths},
            **dict(zip(places, self._starts, strict=True)),
        )


def _prepare(name: str, problem: Problem) -> Kernel | Declined:
    unit = microkernels.unit(np.dtype(problem.dtype).itemsize)
    asked = None if problem.variant else problem.precision
    made = plan.winograd_grad_plan(problem.geometry, problem.formats, SIZES[name], unit, asked)
    if isinstance(made, str):
        return Declined(made, meant=plan.is_winograd_kernel(problem.geometry))
    run = _WinogradGrad(problem, made)
    choice = (f"{name} is chosen: {made.why}",)
    return Kernel(name, run, workspace_bytes=run.scratch_bytes, precision=made.precision, choice=choice)


VARIANTS = {
    "conv2d_grad_weight": tuple(Variant(name, lambda problem, name=name: _prepare(name, problem)) for name in SIZES)
}
