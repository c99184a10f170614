"""Depthwise convolution with Numba: one input and one output channel per group; driven from here.

Two forms: channels_last arrays are computed with lanes along channels, straight from their memory; all others with
lanes along columns, from a padded copy of some rows that stays in L1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np

from fastconv._kernels import buffers
from fastconv._kernels.contract import Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu.depthwise_arguments import SUMS, TILE
from fastconv._kernels.numba_cpu.depthwise_forms import Pixels, Planes, grain
from fastconv._kernels.numba_cpu.depthwise_grads import PixelGradWeight, PlaneGradWeight, StripGradWeight
from fastconv._kernels.numba_cpu.depthwise_kernels import kernel, native_functions, pairs, tile
from fastconv._kernels.numba_cpu.microkernels import layout
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.plan import depthwise

__all__ = ["VARIANTS", "native_functions"]


class _PixelSum(Pixels):
    def __init__(self, problem: Problem, *, transposed: bool):
        super().__init__(problem, transposed=transposed)
        # Where pixels stand in for padding, one of them meets more outputs than a window has taps.
        entries = math.prod(int(np.diff(axis.first).max()) for axis in self._plans)
        _, *self._starts, self._slot_bytes = layout(SUMS.itemsize, TILE.itemsize, 16 * entries)

    def pack(self, weight: np.ndarray) -> np.ndarray:
        """Channels beside each other: [tap][C]."""
        C, taps = self._geometry.C, self._taps
        packed = buffers.aligned_bytes(weight.nbytes).view(weight.dtype).reshape(taps, C)
        packed[...] = weight.reshape(C, taps).T
        return packed

    @cached_property
    def _run(self) -> Callable[..., int]:
        g = self._geometry
        items = g.N * (g.rows.size if self._transposed else g.rows.out)
        template = self._template("pixel_sum", g.C * self._itemsize, self._starts)
        chunk = grain(g.flops, items)
        return kernel("pixel_sum").bound(template, self._operands, items, chunk, self._slot_bytes)


class _PlaneSum(Planes):
    def __init__(self, problem: Problem, *, transposed: bool):
        super().__init__(problem, problem.formats, transposed=transposed)
        padded, columns, size = self._padded, self._columns, self._itemsize
        self._run_marks = padded.cols.marks[self._plans[1].runs[:, 0]]
        # A vector may reach beyond its row, but not beyond the next one.
        phases = padded.rows.phases * padded.cols.phases
        fits = self._strides[1][3] == 1 and 2 * columns * size >= self._vector
        self._paired = fits and padded.is_paired
        self._direct = fits and (phases == 1 or self._paired)
        results = 0 if self._direct else padded.block * self._result_pitch * padded.cols.phases
        self._starts, self._slot_bytes = self._layout(results, 0)

    @cached_property
    def _run(self) -> Callable[..., int]:
        g, padded = self._geometry, self._padded
        marks = (padded.rows.marks, self._run_marks)
        # The phases that have one tap.
        row, col = (int(axis.first[1] != 1) for axis in (padded.rows, padded.cols))
        template = self._template(
            pairs(self._dtype, self._vector) if self._paired else tile(self._dtype, "plane_sum", self._vector),
            self._starts,
            **{"tap_bytes": self._itemsize, "direct": self._direct, "paired": self._paired, "pair_form": 2 * row + col},
            **{name: array.ctypes.data for name, array in zip(("row_marks", "run_marks"), marks, strict=True)},
            highest_mark=max(int(array.max()) for array in marks),
        )
        items = g.N * g.C * padded.blocks
        chunk = grain(g.flops, items)
        run = kernel("plane_sum", self._dtype)
        return run.bound(template, self._operands, items, chunk, self._slot_bytes)


def _declined(problem: Problem) -> Declined | None:
    reason = depthwise.decline_reason(problem.geometry)
    return Declined(reason) if reason else None


def _lanes(problem: Problem) -> int:
    return VECTOR_BYTES // np.dtype(problem.dtype).itemsize


def _prepare_sum(problem: Problem, *, transposed: bool) -> Kernel | Declined:
    if refusal := _declined(problem):
        return refusal
    if not depthwise.along_channels(problem.geometry, problem.formats, _lanes(problem)):
        planes = _PlaneSum(problem, transposed=transposed)
        return Kernel("depthwise", planes, workspace_bytes=planes.scratch_bytes)
    pixels = _PixelSum(problem, transposed=transposed)
    return Kernel("depthwise", pixels, pixels.pack, pixels.scratch_bytes)


def _grad_form(problem: Problem) -> type[PixelGradWeight | PlaneGradWeight]:
    if depthwise.along_channels(problem.geometry, problem.formats, _lanes(problem)):
        return PixelGradWeight
    if depthwise.by_strips(problem.geometry, problem.formats, _lanes(problem)):
        return StripGradWeight
    return PlaneGradWeight


def _prepare_grad_weight(problem: Problem) -> Kernel | Declined:
    if refusal := _declined(problem):
        return refusal
    run = _grad_form(problem)(problem)
    return Kernel("depthwise", run, workspace_bytes=run.scratch_bytes)


VARIANTS = {
    "conv2d_forward": (Variant("depthwise", lambda problem: _prepare_sum(problem, transposed=False)),),
    "conv2d_grad_input": (Variant("depthwise", lambda problem: _prepare_sum(problem, transposed=True)),),
    "conv2d_grad_weight": (Variant("depthwise", _prepare_grad_weight),),
}
