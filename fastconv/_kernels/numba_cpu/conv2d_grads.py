"""grad_weight and grad_bias with Numba, driven from here: plan -> arguments -> range kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu import microkernels
from fastconv._kernels.numba_cpu.arguments import fill, grain, plan_values, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d_arguments import (
    BIAS_CHANNELS,
    BIAS_SUMS,
    GRAD_BIAS,
    GRAD_WEIGHT,
    GRAD_WEIGHT_WORK_BYTES,
    ORDERS_BYTES,
)
from fastconv._kernels.numba_cpu.microkernels import layout, panel_values
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel, in_turn
from fastconv.arrays import CONTIGUOUS


def _build_grad_weight(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_grad_weight

    return conv2d_grad_weight.grad_weight_kernel(dtype)


def _build_interleave():
    from fastconv._kernels.numba_cpu import conv2d_grad_weight_parts

    return conv2d_grad_weight_parts.interleave_kernel()


def _build_reduce(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_grad_weight_parts

    return conv2d_grad_weight_parts.reduce_kernel(dtype)


def _build_grad_bias(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_grad_bias

    return conv2d_grad_bias.grad_bias_kernel(dtype)


@cache
def _kernel(build: Callable, *dtype: str) -> RangeKernel:
    return RangeKernel(build, *dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that grad_weight and grad_bias of one dtype can run, beside the microkernels."""
    builds = (_build_grad_weight, _build_reduce, _build_grad_bias)
    return [_kernel(_build_interleave).native, *(_kernel(build, dtype).native for build in builds)]


class _GradWeight:
    """Items are parts of grad_weight or of its sum, so that no thread adds to another one's sums."""

    def __init__(self, problem: Problem, joined: int):
        self._geometry, self._dtype = problem.geometry, problem.dtype
        self._itemsize = np.dtype(problem.dtype).itemsize
        unit = microkernels.unit(self._itemsize)
        self._plan = made = plan.grad_weight_plan(problem.geometry, problem.formats, unit, joined)
        # Before the parts that the plan knows of: what the slot works with, orders of lanes.
        sizes = (GRAD_WEIGHT_WORK_BYTES + PANEL.itemsize, 16 * made.entries, ORDERS_BYTES)
        elements = (made.sums, made.sums, made.packed)
        _, *self._starts, self._scratch_bytes = layout(*sizes, *(self._itemsize * count for count in elements))
        partials = made.segments * made.parts * made.sums if made.segments > 1 else 0
        shared = (self._itemsize * count for count in (partials, made.interleaved))
        _, self._interleaved_at, self._shared_bytes = layout(*shared)

    def __call__(self, *operands) -> int:
        return self._run(*operands)

    @property
    def scratch_bytes(self) -> int:
        """What one thread needs, and what all share."""
        return self._scratch_bytes + self._shared_bytes

    @cached_property
    def _run(self) -> Callable[..., int]:
        g, made, dtype = self._geometry, self._plan, self._dtype
        items = made.segments * made.parts
        steps = [(_kernel(_build_grad_weight, dtype), items, grain(g.flops // items))]
        if made.interleaved:
            interleave = _kernel(_build_interleave)
            steps.insert(0, (interleave, g.N * g.rows.size, grain(4 * g.cols.size * g.C)))
        if made.segments > 1:
            steps.append((_kernel(_build_reduce, dtype), made.parts, grain(8 * made.segments * made.sums)))
        operands = ("x", "grad_out") if made.exchanged else ("grad_out", "x")
        return in_turn(steps, self._template(), (*operands, "grad_weight"), self._scratch_bytes, self._shared_bytes)

    def _template(self) -> np.ndarray:
        g, made, size = self._geometry, self._plan, self._itemsize
        counts = ("k_group", "c_block", "tap_block", "parts", "images", "row_block", "col_block")
        counts = (
            *counts,
            "pieces",
            "span",
            "segments",
            "exchanged",
            "in_place",
            "streams",
            "C",
            "K",
            "groups",
            "joined",
            "x_channels",
        )
        parts = ("entries_at", "orders_at", "sums_at", "total_at", "packed_at")
        kind = microkernels.group_weights if made.joined > 1 else microkernels.panel
        taps = {"rows": made.rows, "cols": made.cols}
        return fill(
            GRAD_WEIGHT,
            **panel_values(self._dtype, made.k_blocks, kind),
            transpose=microkernels.transpose(self._dtype).address,
            **stride_values("grad_out", made.grad_out_strides, size),
            **stride_values("x", made.x_strides, size),
            **(plan_values("merged", made.merged) if made.merged else {}),
            **{f"{axis}_first": tap_plan.first.ctypes.data for axis, tap_plan in taps.items()},
            **{f"{axis}_segments": tap_plan.segments.ctypes.data for axis, tap_plan in taps.items()},
            **{"k_blocks": made.k_blocks.ctypes.data, "k_block_count": len(made.k_blocks)},
            **{name: getattr(made, name) for name in counts},
            **{"N": g.N, "tap_rows": g.rows.kernel, "tap_cols": g.cols.kernel, "itemsize": size},
            **{"out_rows": made.out_shape[2], "out_cols": made.out_shape[3]},
            **{"row_step": g.rows.stride, "col_step": g.cols.stride, "x_rows": g.rows.size, "x_cols": g.cols.size},
            **{"sums_bytes": made.sums * size, "packed_bytes": made.packed * size},
            **{"merges": made.merged is not None, "interleaves": made.interleaved > 0},
            interleaved_at=self._interleaved_at,
            **dict(zip(parts, self._starts, strict=True)),
        )


def _prepare_groups(problem: Problem) -> Kernel | Declined:
    g, unit = problem.geometry, microkernels.unit(np.dtype(problem.dtype).itemsize)
    reason = plan.groups_reason(g, g.C, unit)
    return Declined(reason) if reason else _prepare_grad_weight("grouped", problem, plan.joined_groups(g, unit))


def _prepare_grad_weight(name: str, problem: Problem, joined: int = 1) -> Kernel:
    run = _GradWeight(problem, joined)
    return Kernel(name, run, workspace_bytes=run.scratch_bytes)


def prepare_direct(problem: Problem) -> Kernel:
    """grad_weight for any problem: what special kernels hand on."""
    return _prepare_grad_weight("direct", problem)


def _prepare_grad_bias(problem: Problem) -> Kernel:
    g = problem.geometry
    template = fill(
        GRAD_BIAS,
        **{"N": g.N, "K": g.K, "pixels": g.rows.out * g.cols.out, "planar": problem.formats[0] == CONTIGUOUS},
    )
    items, chunk = -(-g.K // BIAS_CHANNELS), grain(g.N * g.rows.out * g.cols.out * BIAS_CHANNELS)
    scratch = 8 * (BIAS_CHANNELS + BIAS_SUMS)
    operands = ("grad_out", "grad_bias")
    return Kernel("direct", _kernel(_build_grad_bias, problem.dtype).bound(template, operands, items, chunk, scratch))


VARIANTS = {
    "conv2d_grad_weight": (
        Variant("grouped", _prepare_groups),
        Variant("direct", prepare_direct),
    ),
    "conv2d_grad_bias": (Variant("direct", _prepare_grad_bias),),
}
