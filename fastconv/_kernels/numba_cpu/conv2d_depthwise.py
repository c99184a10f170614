"""Depthwise convolution with Numba: one input and one output channel per group; driven from here.

Two forms: channels_last arrays are computed with lanes along channels, straight from their memory; all others with lanes
along columns, from a padded copy of some rows that stays in L1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu.arguments import fill, plan_values, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.depthwise_arguments import PIXEL, SUMS, TILE
from fastconv._kernels.numba_cpu.microkernels import layout
from fastconv._kernels.numba_cpu.ranges import RangeKernel, in_turn
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.plan import depthwise
from fastconv.arrays import CHANNELS_LAST, element_strides

_TILE_ARGUMENTS = 5


def _build_tile(dtype: str, kind: str, width: int):
    from fastconv._kernels.numba_cpu import depthwise_tile

    return depthwise_tile.tile_module(dtype, kind, width)


def _build_pixel_sum():
    from fastconv._kernels.numba_cpu import conv2d_depthwise_pixels

    return conv2d_depthwise_pixels.pixel_sum_kernel()


def _build_pixel_grad(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_depthwise_pixels

    return conv2d_depthwise_pixels.pixel_grad_kernel(dtype)


def _build_pixel_reduce(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_depthwise_pixels

    return conv2d_depthwise_pixels.pixel_reduce_kernel(dtype)


@cache
def tile(dtype: str, kind: str, width: int) -> NativeFunction:
    """The tiles of vectors of so many bytes."""
    return NativeFunction(_build_tile, (dtype, kind, width), _TILE_ARGUMENTS)


@cache
def _kernel(build: Callable, *dtype: str) -> RangeKernel:
    return RangeKernel(build, *dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that depthwise convolutions of one dtype can run."""
    tiles = [tile(dtype, kind, VECTOR_BYTES) for kind in ("pixel_sum", "grad")]
    kernels = (_kernel(build, dtype).native for build in (_build_pixel_grad, _build_pixel_reduce))
    return [*tiles, _kernel(_build_pixel_sum).native, *kernels]


def _grain(flops: int, items: int) -> int:
    """Items per chunk: at least some microseconds, memory and the handling of small planes counted."""
    return max(1, depthwise.CHUNK_FLOPS * items // max(1, flops))


class _Pixels:
    """Channels lie together: lanes are channels."""

    def __init__(self, problem: Problem, *, transposed: bool = False):
        self._geometry, self._dtype = g, _ = problem.geometry, problem.dtype
        self._itemsize = np.dtype(problem.dtype).itemsize
        make = plan.grad_input_axis if transposed else plan.forward_axis
        self._plans = tuple(make(axis, g.padding_mode) for axis in (g.rows, g.cols))
        self._shapes = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        self._lanes = VECTOR_BYTES // self._itemsize
        self._taps = g.rows.kernel * g.cols.kernel
        self._vectors = -(-g.C // self._lanes)

    def _template(self, kind: str, tap_bytes: int, starts, **values: int) -> np.ndarray:
        g, size, (x_shape, target_shape) = self._geometry, self._itemsize, self._shapes
        swept = dataclasses.asdict(depthwise.sweep(self._plans[1], g.cols.kernel))
        return fill(
            PIXEL,
            tile=tile(self._dtype, kind, VECTOR_BYTES).address,
            **stride_values("x", element_strides(x_shape, CHANNELS_LAST), size),
            **stride_values("target", element_strides(target_shape, CHANNELS_LAST), size),
            **plan_values("rows", self._plans[0]),
            **plan_values("cols", self._plans[1]),
            **{f"sweep_{name}": value for name, value in swept.items()},
            **{"N": g.N, "C": g.C, "taps": self._taps, "tap_cols": g.cols.kernel, "itemsize": size},
            **{"tap_bytes": tap_bytes, "vectors": self._vectors},
            **dict(zip(("tile_at", "entries_at", "sums_at"), starts, strict=False)),
            **values,
        )


class _PixelSum(_Pixels):
    def __init__(self, problem: Problem, *, transposed: bool):
        super().__init__(problem, transposed=transposed)
        self._transposed = transposed
        self._operands = ("x", "w", *(["bias"] if "bias" in problem.optional else []), "target")
        _, *self._starts, self.scratch_bytes = layout(SUMS.itemsize, TILE.itemsize, 16 * self._taps)

    def __call__(self, *operands) -> int:
        return self._run(*operands)

    def pack(self, weight: np.ndarray) -> np.ndarray:
        """Channels beside each other: [tap][C]."""
        return np.ascontiguousarray(weight.reshape(self._geometry.C, self._taps).T)

    @cached_property
    def _run(self) -> Callable[..., int]:
        g = self._geometry
        items = g.N * self._shapes[1][2]
        # Source rows that a target row reads and the one before it does not.
        new_rows = 1 if self._transposed else g.rows.stride
        next_rows = new_rows if depthwise.is_far(g, self._itemsize) else 0
        template = self._template("pixel_sum", g.C * self._itemsize, self._starts, next_rows=next_rows)
        chunk = _grain(g.flops, items)
        return _kernel(_build_pixel_sum).bound(template, self._operands, items, chunk, self.scratch_bytes)


class _PixelGradWeight(_Pixels):
    def __init__(self, problem: Problem):
        super().__init__(problem)
        self._shares = made = depthwise.pixel_shares(self._geometry, self._lanes)
        sums = self._taps * VECTOR_BYTES
        _, *self._starts, self._slot_bytes = layout(SUMS.itemsize, TILE.itemsize, 16 * self._taps, made.group * sums)
        self._shared_bytes = made.chunks * self._vectors * sums

    def __call__(self, *operands) -> int:
        return self._run(*operands)

    @property
    def scratch_bytes(self) -> int:
        """What one thread needs, and what all share."""
        return self._slot_bytes + self._shared_bytes

    @cached_property
    def _run(self) -> Callable[..., int]:
        made = self._shares
        template = self._template("grad", VECTOR_BYTES, self._starts, **dataclasses.asdict(made))
        reduced = self._taps * made.chunks * self._lanes * self._vectors
        steps = [
            (_kernel(_build_pixel_grad, self._dtype), made.chunks * made.shares, 1),
            (_kernel(_build_pixel_reduce, self._dtype), self._vectors, _grain(reduced, self._vectors)),
        ]
        operands = ("target", "x", "grad_weight")
        return in_turn(steps, template, operands, self._slot_bytes, self._shared_bytes)


def _declined(problem: Problem) -> Declined | None:
    reason = depthwise.decline_reason(problem.geometry, problem.activation)
    if reason is None and not _along_channels(problem):
        reason = "channels do not lie together"
    return Declined(reason) if reason else None


def _along_channels(problem: Problem) -> bool:
    return depthwise.along_channels(
        problem.geometry, problem.formats, VECTOR_BYTES // np.dtype(problem.dtype).itemsize
    )


def _prepare_sum(problem: Problem, *, transposed: bool) -> Kernel | Declined:
    if refusal := _declined(problem):
        return refusal
    run = _PixelSum(problem, transposed=transposed)
    return Kernel("depthwise", run, run.pack, run.scratch_bytes)


def _prepare_grad_weight(problem: Problem) -> Kernel | Declined:
    if refusal := _declined(problem):
        return refusal
    run = _PixelGradWeight(problem)
    return Kernel("depthwise", run, workspace_bytes=run.scratch_bytes)


VARIANTS = {
    "conv2d_forward": (Variant("depthwise", lambda problem: _prepare_sum(problem, transposed=False)),),
    "conv2d_grad_input": (Variant("depthwise", lambda problem: _prepare_sum(problem, transposed=True)),),
    "conv2d_grad_weight": (Variant("depthwise", _prepare_grad_weight),),
}
