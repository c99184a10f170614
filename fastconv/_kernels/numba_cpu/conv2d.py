"""Forward and grad_input with Numba, driven from here: plan -> arguments -> range kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import buffers, plan, pool
from fastconv._kernels.contract import Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu import microkernels
from fastconv._kernels.numba_cpu.arguments import ENDINGS, fill, grain, plan_values, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d_arguments import BLOCK_BYTES, ORDERS_BYTES, PACK, PACKED_ROWS, SUM, WORK_BYTES
from fastconv._kernels.numba_cpu.microkernels import layout, panel_values
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel


def _build_sum():
    from fastconv._kernels.numba_cpu import conv2d_sum

    return conv2d_sum.sum_kernel()


def _build_pack():
    from fastconv._kernels.numba_cpu import conv2d_pack

    return conv2d_pack.pack_kernel()


@cache
def _sum_kernel() -> RangeKernel:
    return RangeKernel(_build_sum)


@cache
def _pack_kernel() -> RangeKernel:
    return RangeKernel(_build_pack)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that forward and grad_input of one dtype can run."""
    return [_sum_kernel().native, _pack_kernel().native, *microkernels.native_functions(dtype)]


class _Sum:
    """Forward, or grad_input as the same sum over the transposed plan and weight."""

    def __init__(self, problem: Problem, transposed: bool, dots: bool, joined: int, rows: bool):
        self._geometry, self._dtype = problem.geometry, problem.dtype
        self._transposed, self._dots, self._rows = transposed, dots, rows
        self._has_bias, self._activation = "bias" in problem.optional, ENDINGS[problem.activation]
        self._itemsize = np.dtype(problem.dtype).itemsize
        unit = microkernels.unit(self._itemsize)
        threads = pool.default_num_threads()
        if rows:
            self.plan = made = plan.row_plan(problem.geometry, problem.formats, unit, threads)
        else:
            self.plan = made = plan.sum_plan(problem.geometry, transposed, problem.formats, unit, threads, dots, joined)
        self.takes_unpacked = made.in_place or made.packed_weight > 0
        width = made.K if dots else -(-made.K // unit.lanes) * unit.lanes
        self.packed_bytes = made.groups * width * self._taps * made.C * self._itemsize
        # Before the parts that the plan knows of: what the slot works with, the block's bias, orders of lanes.
        sizes = (WORK_BYTES + PANEL.itemsize, 16 * made.entries, BLOCK_BYTES, ORDERS_BYTES)
        elements = (made.sums, made.packed_source, made.packed_target, made.packed_weight)
        parts = (*sizes, *(self._itemsize * count for count in elements), 8 * PACKED_ROWS)
        _, *self._starts, self.scratch_bytes = layout(*parts)
        self._unpacked_runs: dict[int, Callable[..., int]] = {}
        # Kernels know it by its address.
        self._packing = self._pack_template()

    def __call__(self, *operands) -> int:
        return self._run(*operands)

    def run_unpacked(self, source, weight, *rest) -> int:
        """The same with the weight as it is: items read it in place or pack it, unless packing it once is less work."""
        threads = pool.get_num_threads()
        if self.plan.repacks and threads == 1:
            return self._run(source, self.pack(weight), *rest)
        return self._run_unpacked(threads)(source, weight, *rest)

    def pack(self, weight: np.ndarray) -> np.ndarray:
        """The weight as the kernel reads it: whole vectors, with zeros where output channels do not fill them."""
        packed = buffers.aligned_bytes(self.packed_bytes)
        self._fill_packed(weight, packed)
        return packed

    @cached_property
    def _run(self) -> Callable[..., int]:
        return self._bound(self._template(), 1, self._starts[-2])

    def _run_unpacked(self, threads: int) -> Callable[..., int]:
        """For so many threads: each should get a number of items at once."""
        run = self._unpacked_runs.get(threads)
        if run is None:
            # Items that read rows of weights ask for those of the next one.
            holds = self.plan.holds or self._rows
            together = plan.held_items(self.plan.items, threads) if holds else 1
            template = self._template(packing=self._packing.ctypes.data)
            run = self._unpacked_runs[threads] = self._bound(template, together, self.scratch_bytes)
        return run

    def _bound(self, template: np.ndarray, together: int, scratch_bytes: int) -> Callable[..., int]:
        operands = ("source", "packed", *(["bias"] if self._has_bias else []), "target")
        items = self.plan.items
        chunk = max(grain(self._geometry.flops // items), together)
        return _sum_kernel().bound(template, operands, items, chunk, scratch_bytes)

    @cached_property
    def _fill_packed(self) -> Callable[..., int]:
        made = self.plan
        items = made.groups * len(made.k_blocks) * -(-made.C // made.c_range)
        # Moving an element takes as long as so many operations.
        chunk = grain(32 * self.packed_bytes // self._itemsize // items)
        return _pack_kernel().bound(self._packing, ("weight", "packed"), items, chunk, 8 * PACKED_ROWS)

    @property
    def _taps(self) -> int:
        return self._geometry.rows.kernel * self._geometry.cols.kernel

    def _pack_template(self) -> np.ndarray:
        g, made, size = self._geometry, self.plan, self._itemsize
        outer, inner = g.C_g * self._taps * size, self._taps * size
        c_stride, k_stride = (outer, inner) if self._transposed else (inner, outer)
        return fill(
            PACK,
            **{"groups": made.groups, "joined": made.joined, "C": made.C, "K": made.K, "taps": self._taps},
            **{"k_blocks": made.k_blocks.ctypes.data, "k_block_count": len(made.k_blocks), "c_range": made.c_range},
            **{"group_stride": g.K_g * outer, "c_stride": c_stride, "k_stride": k_stride},
            **{"flipped": self._transposed, "dots": self._dots, "itemsize": size},
            transpose=microkernels.transpose(self._dtype).address,
        )

    def _template(self, **more: int) -> np.ndarray:
        g, made, size = self._geometry, self.plan, self._itemsize
        parts = ("entries_at", "bias_at", "orders_at", "sums_at", "packed_source_at", "packed_target_at")
        parts += ("packed_weight_at", "packed_rows_at")
        return fill(
            SUM,
            **stride_values("source", made.source_strides, size),
            **stride_values("target", made.target_strides, size),
            **plan_values("rows", made.rows),
            **plan_values("cols", made.cols),
            **{"row_blocks": made.row_blocks.ctypes.data, "row_block_count": len(made.row_blocks)},
            row_step=made.row_step,
            **{"k_blocks": made.k_blocks.ctypes.data, "k_block_count": len(made.k_blocks), "k_group": made.k_group},
            **panel_values(self._dtype, made.k_blocks, self._tiles()),
            transpose=microkernels.transpose(self._dtype).address,
            transpose_streaming=microkernels.transpose_streaming(self._dtype).address if made.streams else 0,
            streams=made.streams,
            **{"N": g.N, "groups": made.groups, "C": made.C, "K": made.K, "taps": self._taps, "itemsize": size},
            **{"joined": made.joined, "source_channels": made.source_channels},
            # Of planes, the only ones that need them.
            **{"source_cols": made.source_strides[2], "target_cols": made.target_strides[2], "images": made.images},
            **{"tap_cols": g.cols.kernel, "c_range": made.c_range, "holds": made.holds},
            **{"in_place": made.in_place, "far_weights": made.far_weights},
            **{"block_terms": plan.BLOCK_TERMS, "range_terms": plan.RANGE_TERMS},
            **{"packs_source": made.packed_source > 0, "packs_target": made.packed_target > 0},
            **{"pixel_step": made.pixel_step * size, "flipped": self._transposed},
            **{"dots": self._dots, "rows_in_place": self._rows, "activation": self._activation},
            **dict(zip(parts, self._starts, strict=True)),
            **more,
        )

    def _tiles(self) -> Callable[[str, int], NativeFunction]:
        if self._rows:
            return microkernels.rows
        if self._dots:
            return microkernels.dots
        return microkernels.groups if self.plan.joined > 1 else microkernels.panel


def _prepare_rows(problem: Problem) -> Kernel | Declined:
    reason = plan.rows_reason(problem.geometry, problem.formats)
    if reason:
        return Declined(reason)
    run = _Sum(problem, transposed=False, dots=False, joined=1, rows=True)
    # A weight that stays is used often enough to be packed.
    kept = prepare_direct(problem, transposed=False)
    scratch_bytes = max(run.scratch_bytes, kept.workspace_bytes)
    return replace(kept, variant="gemv", workspace_bytes=scratch_bytes, run_unpacked=run.run_unpacked)


def _prepare_dots(problem: Problem, transposed: bool) -> Kernel | Declined:
    reason = plan.dots_reason(problem.geometry, transposed, _unit(problem))
    return Declined(reason) if reason else _prepare("few_outputs", problem, transposed, dots=True)


def _prepare_groups(problem: Problem, transposed: bool) -> Kernel | Declined:
    g, unit = problem.geometry, _unit(problem)
    reason = plan.groups_reason(g, g.K if transposed else g.C, unit)
    return Declined(reason) if reason else _prepare("grouped", problem, transposed, joined=plan.joined_groups(g, unit))


def _unit(problem: Problem) -> plan.VectorUnit:
    return microkernels.unit(np.dtype(problem.dtype).itemsize)


def _prepare(name: str, problem: Problem, transposed: bool, dots: bool = False, joined: int = 1) -> Kernel:
    run = _Sum(problem, transposed, dots, joined, rows=False)
    unpacked = run.run_unpacked if run.takes_unpacked else None
    shape = problem.geometry.weight_shape
    packing = plan.packing(run.plan, __name__, problem.dtype, shape, transposed=transposed, dots=dots)
    return Kernel(name, run, run.pack, run.scratch_bytes, run_unpacked=unpacked, packing=packing)


def prepare_direct(problem: Problem, transposed: bool) -> Kernel:
    """Forward or grad_input for any problem: what special kernels hand on."""
    return _prepare("direct", problem, transposed)


def _variants(transposed: bool) -> tuple[Variant, ...]:
    return (
        Variant("few_outputs", lambda problem: _prepare_dots(problem, transposed)),
        Variant("grouped", lambda problem: _prepare_groups(problem, transposed)),
        Variant("direct", lambda problem: prepare_direct(problem, transposed)),
    )


*_SPECIAL, _DIRECT = _variants(transposed=False)
VARIANTS = {
    # It gives the bits of the one that follows: only so may it depend on the number of pixels which of them runs.
    "conv2d_forward": (*_SPECIAL, Variant("gemv", _prepare_rows), _DIRECT),
    "conv2d_grad_input": _variants(transposed=True),
}
