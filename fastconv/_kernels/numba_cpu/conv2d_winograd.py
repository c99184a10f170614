"""Winograd's minimal filtering with Numba, driven from here: forward and grad_input of 3 x 3 layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import buffers, plan, pool
from fastconv._kernels.contract import Declined, Kernel, Problem, Transformed, Variant
from fastconv._kernels.numba_cpu import microkernels
from fastconv._kernels.numba_cpu.arguments import ENDINGS, fill, grain, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d_arguments import (
    BLOCK_BYTES,
    WINOGRAD,
    WINOGRAD_CHANNELS,
    WINOGRAD_TABLE_BYTES,
    WINOGRAD_WEIGHT,
    WINOGRAD_WORK_BYTES,
)
from fastconv._kernels.numba_cpu.microkernels import layout, panel_values
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES

# Variants and the targets of a tile, in rows as in columns.
SIZES = {"winograd4": 4, "winograd2": 2}
_TAPS = 9
_TAKEN_BYTES = WINOGRAD_CHANNELS * _TAPS * VECTOR_BYTES
# What is transformed, and the arguments of the function that does it.
_KINDS = {"source": 5, "target": 8, "weight": 7, "gradient": 5, "taps": 9}


def _build_winograd():
    from fastconv._kernels.numba_cpu import conv2d_winograd_items

    return conv2d_winograd_items.winograd_kernel()


def _build_winograd_weight():
    from fastconv._kernels.numba_cpu import conv2d_winograd_weight

    return conv2d_winograd_weight.winograd_weight_kernel()


def _build_winograd_tile(dtype: str, kind: str, size: int):
    from fastconv._kernels.numba_cpu import winograd_tiles

    return winograd_tiles.MODULES[kind](dtype, size)


@cache
def _kernel(build: Callable) -> RangeKernel:
    return RangeKernel(build)


@cache
def tile(dtype: str, kind: str, size: int) -> NativeFunction:
    """What transforms tiles of so many targets in a row to points, or back."""
    return NativeFunction(_build_winograd_tile, (dtype, kind, size), _KINDS[kind])


def native_functions(dtype: str) -> list[NativeFunction]:
    """What minimal filtering runs, beside the microkernels."""
    if np.dtype(dtype).itemsize != plan.WINOGRAD_ITEMSIZE:
        return []
    tiles = [tile(dtype, kind, size) for kind in _KINDS for size in SIZES.values()]
    return [_kernel(_build_winograd).native, _kernel(_build_winograd_weight).native, *tiles]


class _Winograd:
    """Forward and grad_input: tiles of targets as sums of products of what is transformed."""

    def __init__(self, problem: Problem, made: plan.WinogradPlan, transposed: bool):
        self._problem, self._plan, self._transposed = problem, made, transposed
        self._itemsize = size = np.dtype(problem.dtype).itemsize
        groups = problem.geometry.groups
        self._weight_items = groups * -(-made.K * size // VECTOR_BYTES)
        self._transformed_bytes = groups * len(made.k_blocks) * made.points * made.weight_step * size
        sizes = (WINOGRAD_WORK_BYTES + PANEL.itemsize, _TAPS * 16 * (made.C // made.part), BLOCK_BYTES)
        sizes += (2 * WINOGRAD_TABLE_BYTES, VECTOR_BYTES, BLOCK_BYTES, made.C * size, BLOCK_BYTES)
        sizes += (made.points * made.source_step * size, made.points * made.sums_step * size)
        sizes += (made.strip * size, made.shared * size, _TAKEN_BYTES)
        _, *self._starts, self.scratch_bytes = layout(*sizes)

    def __call__(self, source, weight: Transformed, *rest) -> int:
        return self._run(source, weight, weight.weight, *rest)

    def run_unpacked(self, source, weight: np.ndarray, *rest) -> int:
        """The same with a weight that is transformed on the way."""
        return self._run_on_the_way(source, weight, *rest)

    def transform(self, weight: np.ndarray) -> Transformed:
        """The weight as the kernel multiplies it."""
        points = buffers.aligned_bytes(self._transformed_bytes)
        self._fill_points(weight, points)
        return Transformed.of(points, weight)

    @cached_property
    def _run(self) -> Callable[..., int]:
        return self._bound("source", "transformed", "weight")

    @cached_property
    def _run_on_the_way(self) -> Callable[..., int]:
        return self._bound("source", "weight")

    def _bound(self, *operands: str) -> Callable[..., int]:
        bias, items = ["bias"] if "bias" in self._problem.optional else [], self._plan.items
        chunk = grain(self._problem.geometry.flops // items)
        run = _kernel(_build_winograd)
        return run.bound(self._template(), (*operands, *bias, "target"), items, chunk, self.scratch_bytes)

    @cached_property
    def _fill_points(self) -> Callable[..., int]:
        made, items = self._plan, self._weight_items
        template = fill(
            WINOGRAD_WEIGHT,
            **self._weight_values(),
            points=made.points,
        )
        chunk, run = grain(64 * self._transformed_bytes // items), _kernel(_build_winograd_weight)
        return run.bound(template, ("weight", "transformed"), items, chunk, _TAKEN_BYTES)

    def _weight_values(self) -> dict[str, int]:
        g, made, size = self._problem.geometry, self._plan, self._itemsize
        outer, inner = g.C_g * _TAPS * size, _TAPS * size
        c_stride, k_stride = (outer, inner) if self._transposed else (inner, outer)
        return {
            "transform_weight": tile(self._problem.dtype, "weight", made.size).address,
            "transpose": microkernels.transpose(self._problem.dtype).address,
            **{"C": made.C, "K": made.K, "itemsize": size, "weight_step": made.weight_step * size},
            **{"k_blocks": made.k_blocks.ctypes.data, "k_block_count": len(made.k_blocks)},
            **{"group_stride": g.K_g * outer, "c_stride": c_stride, "k_stride": k_stride, "flipped": self._transposed},
        }

    def _template(self) -> np.ndarray:
        g, made, dtype, size = self._problem.geometry, self._plan, self._problem.dtype, self._itemsize
        source, target = (g.out_shape, g.x_shape) if self._transposed else (g.x_shape, g.out_shape)
        parts = ("entries_at", "bias_at", "tables_at", "doubt_at", "sums_at", "zeros_at", "waste_at")
        parts += ("sources_at", "products_at", "strip_at", "shared_at", "taken_at")
        return fill(
            WINOGRAD,
            **panel_values(dtype, made.k_blocks),
            **stride_values("source", made.source_strides, size),
            **stride_values("target", made.target_strides, size),
            **{f"transform_{kind}": tile(dtype, kind, made.size).address for kind in ("source", "target")},
            **self._weight_values(),
            **{"N": g.N, "source_rows": source[2], "source_cols": source[3]},
            activation=ENDINGS[self._problem.activation],
            **{"target_rows": target[2], "target_cols": target[3]},
            **dict(zip(("pad_rows", "pad_cols", "tile_rows", "tile_cols"), (*made.pads, *made.tiles), strict=True)),
            **{name: getattr(made, name) for name in ("size", "tile_blocks", "k_group", "part")},
            **{name: getattr(made, name) * size for name in ("source_pitch", "source_step", "sums_step", "part_step")},
            **dict(zip(parts, self._starts, strict=True)),
        )


def _prepare(name: str, problem: Problem, transposed: bool) -> Kernel | Declined:
    unit, threads = microkernels.unit(np.dtype(problem.dtype).itemsize), pool.default_num_threads()
    asked = None if problem.variant else problem.precision
    made = plan.winograd_plan(problem.geometry, transposed, problem.formats, SIZES[name], unit, threads, asked)
    if isinstance(made, str):
        return Declined(made, meant=plan.is_winograd_kernel(problem.geometry))
    run = _Winograd(problem, made, transposed)
    unpacked, choice = run.run_unpacked if made.on_the_way else None, (f"{name} is chosen: {made.why}",)
    kernel = Kernel(name, run, run.transform, run.scratch_bytes, precision=made.precision, choice=choice)
    return replace(kernel, run_unpacked=unpacked, packing=plan.transformation(made, __name__, transposed))


def _variants(transposed: bool) -> tuple[Variant, ...]:
    return tuple(Variant(name, lambda problem, name=name: _prepare(name, problem, transposed)) for name in SIZES)


VARIANTS = {"conv2d_forward": _variants(transposed=False), "conv2d_grad_input": _variants(transposed=True)}
