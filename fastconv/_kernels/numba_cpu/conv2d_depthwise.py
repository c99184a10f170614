"""Depthwise convolution with Numba: one input and one output channel per group; driven from here.

Two forms: channels_last arrays are computed with lanes along channels, straight from their memory; all others with
lanes along columns, from a padded copy of some rows that stays in L1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property

import numpy as np

from fastconv._kernels import buffers, plan
from fastconv._kernels.contract import Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu.arguments import fill, plan_values, stride_values
from fastconv._kernels.numba_cpu.depthwise_arguments import (
    JOB_BYTES,
    PIXEL,
    PLANE,
    PLANE_WORK,
    SUMS,
    TILE,
    padded_values,
)
from fastconv._kernels.numba_cpu.depthwise_kernels import WIDTHS, kernel, native_functions, rows, tile
from fastconv._kernels.numba_cpu.microkernels import layout
from fastconv._kernels.numba_cpu.ranges import in_turn
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.plan import depthwise
from fastconv.arrays import CHANNELS_LAST, element_strides

__all__ = ["VARIANTS", "native_functions"]


def _grain(flops: int, items: int) -> int:
    """Items per chunk: at least some microseconds, memory and the handling of small planes counted."""
    return max(1, depthwise.CHUNK_FLOPS * items // max(1, flops))


class _Depthwise:
    """What the kernels of all forms are told. Of grad_weight, grad_out is the target."""

    def __init__(self, problem: Problem, formats: tuple[str, ...], *, transposed: bool):
        self._geometry, self._dtype = g, _ = problem.geometry, problem.dtype
        self._itemsize = np.dtype(problem.dtype).itemsize
        self._taps = g.rows.kernel * g.cols.kernel
        make = plan.grad_input_axis if transposed else plan.forward_axis
        self._plans = tuple(make(axis, g.padding_mode) for axis in (g.rows, g.cols))
        shapes = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        self._strides = [element_strides(*array) for array in zip(shapes, formats, strict=True)]
        self._operands = ("x", "w", *(["bias"] if "bias" in problem.optional else []), "target")
        self._slot_bytes = self._shared_bytes = 0

    def __call__(self, *operands) -> int:
        return self._run(*operands)

    @property
    def scratch_bytes(self) -> int:
        """What one thread needs, and what all share."""
        return self._slot_bytes + self._shared_bytes

    def _values(self) -> dict[str, int]:
        g, size = self._geometry, self._itemsize
        return {
            **stride_values("x", self._strides[0], size),
            **stride_values("target", self._strides[1], size),
            **plan_values("rows", self._plans[0]),
            **plan_values("cols", self._plans[1]),
            **{"N": g.N, "C": g.C, "taps": self._taps, "tap_cols": g.cols.kernel},
        }


class _Pixels(_Depthwise):
    """Channels lie together: lanes are channels."""

    def __init__(self, problem: Problem, *, transposed: bool = False):
        super().__init__(problem, (CHANNELS_LAST, CHANNELS_LAST), transposed=transposed)
        self._transposed = transposed
        self._lanes = VECTOR_BYTES // self._itemsize
        self._vectors = -(-self._geometry.C // self._lanes)

    def _template(self, kind: str, tap_bytes: int, starts, **values: int) -> np.ndarray:
        swept = dataclasses.asdict(depthwise.sweep(self._plans[1], self._geometry.cols.kernel))
        return fill(
            PIXEL,
            tile=tile(self._dtype, kind, VECTOR_BYTES).address,
            **self._values(),
            **{f"sweep_{name}": value for name, value in swept.items()},
            **{"itemsize": self._itemsize, "tap_bytes": tap_bytes, "vectors": self._vectors},
            **dict(zip(("tile_at", "entries_at", "sums_at"), starts, strict=False)),
            **values,
        )


class _PixelSum(_Pixels):
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
        # Source rows that a target row reads and the one before it does not.
        new_rows = 1 if self._transposed else g.rows.stride
        next_rows = new_rows if depthwise.is_far(g, self._itemsize) else 0
        template = self._template("pixel_sum", g.C * self._itemsize, self._starts, next_rows=next_rows)
        chunk = _grain(g.flops, items)
        return kernel("pixel_sum").bound(template, self._operands, items, chunk, self._slot_bytes)


class _PixelGradWeight(_Pixels):
    def __init__(self, problem: Problem):
        super().__init__(problem)
        self._shares = made = depthwise.pixel_shares(self._geometry, self._lanes)
        sums = self._taps * VECTOR_BYTES
        _, *self._starts, self._slot_bytes = layout(SUMS.itemsize, TILE.itemsize, 16 * self._taps, made.group * sums)
        self._shared_bytes = made.chunks * self._vectors * sums

    @cached_property
    def _run(self) -> Callable[..., int]:
        made = self._shares
        template = self._template("grad", VECTOR_BYTES, self._starts, **dataclasses.asdict(made))
        reduced = self._taps * made.chunks * self._lanes * self._vectors
        steps = [
            (kernel("pixel_grad", self._dtype), made.chunks * made.shares, 1),
            (kernel("pixel_reduce", self._dtype), self._vectors, _grain(reduced, self._vectors)),
        ]
        operands = ("target", "x", "grad_weight")
        return in_turn(steps, template, operands, self._slot_bytes, self._shared_bytes)


class _Planes(_Depthwise):
    """Lanes are columns of padded buffers."""

    def __init__(self, problem: Problem, formats: tuple[str, str], *, transposed: bool = False):
        super().__init__(problem, formats, transposed=transposed)
        g = self._geometry
        self._padded = depthwise.padded(g.rows, g.cols, g.padding_mode, transposed, self._itemsize)
        self._columns = int(self._padded.cols.counts[0])
        row, height = self._columns * self._itemsize, self._padded.height
        self._buffer_bytes = height * self._padded.pitch * self._itemsize + VECTOR_BYTES
        self._vector = next((width for width in WIDTHS if width >= row), VECTOR_BYTES)
        self._result_pitch = -(-row // self._vector) * self._vector

    def _layout(self, results: int, sums: int) -> tuple[list[int], int]:
        """Where the parts of a slot's memory begin after the first one, and how large it is."""
        padded = self._padded
        jobs = padded.rows.phases * padded.cols.phases * JOB_BYTES
        sizes = (PLANE_WORK.itemsize, TILE.itemsize, jobs, 16 * self._taps, self._buffer_bytes, results, sums)
        _, *starts, size = layout(*sizes)
        return starts, size

    def _template(self, kind: str, starts: list[int], **values: int) -> np.ndarray:
        padded = self._padded
        parts = ("tile_at", "jobs_at", "entries_at", "buffer_at", "results_at", "sums_at")
        return fill(
            PLANE,
            tile=tile(self._dtype, kind, self._vector).address,
            move=rows(self._dtype).address,
            **self._values(),
            **padded_values(padded),
            **{
                "vector": self._vector,
                "result_pitch": self._result_pitch,
                "result_size": padded.block * self._result_pitch,
            },
            buffer_bytes=self._buffer_bytes,
            **dict(zip(parts, starts, strict=True)),
            **values,
        )


class _PlaneSum(_Planes):
    def __init__(self, problem: Problem, *, transposed: bool):
        super().__init__(problem, problem.formats, transposed=transposed)
        padded, columns, size = self._padded, self._columns, self._itemsize
        self._run_marks = padded.cols.marks[self._plans[1].runs[:, 0]]
        # A vector may reach beyond its row, but not beyond the next one.
        phases = padded.rows.phases * padded.cols.phases
        self._direct = phases == 1 and self._strides[1][3] == 1 and 2 * columns * size >= self._vector
        results = 0 if self._direct else padded.block * self._result_pitch * padded.cols.phases
        self._starts, self._slot_bytes = self._layout(results, 0)

    @cached_property
    def _run(self) -> Callable[..., int]:
        g, padded = self._geometry, self._padded
        marks = (padded.rows.marks, self._run_marks)
        template = self._template(
            *("plane_sum", self._starts),
            **{"tap_bytes": self._itemsize, "direct": self._direct},
            **{name: array.ctypes.data for name, array in zip(("row_marks", "run_marks"), marks, strict=True)},
            highest_mark=max(int(array.max()) for array in marks),
        )
        items = g.N * g.C * padded.blocks
        chunk = _grain(g.flops, items)
        run = kernel("plane_sum", self._dtype)
        return run.bound(template, self._operands, items, chunk, self._slot_bytes)


class _PlaneGradWeight(_Planes):
    def __init__(self, problem: Problem):
        super().__init__(problem, problem.formats[::-1])
        padded, size = self._padded, self._itemsize
        self._shares = made = depthwise.plane_shares(self._geometry, padded.blocks)
        whole, rest = divmod(self._columns * size, self._vector)
        half = WIDTHS[0] if 0 < rest <= WIDTHS[0] < self._vector else 0
        self._half_tile = tile(self._dtype, "grad", half) if half else None
        self._whole = whole if half or not rest else whole + 1
        self._direct = self._strides[1][3] == 1 and rest in (0, half)
        sums = made.group * self._taps * self._vector
        self._starts, self._slot_bytes = self._layout(padded.block * self._result_pitch, sums)
        self._shared_bytes = made.chunks * self._geometry.C * self._taps * size

    @cached_property
    def _run(self) -> Callable[..., int]:
        g, made = self._geometry, self._shares
        values = {"half_tile": self._half_tile.address if self._half_tile else 0, "whole_vectors": self._whole}
        values |= {"tap_bytes": self._vector, "direct": self._direct, **dataclasses.asdict(made)}
        template = self._template("grad", self._starts, **values)
        items = made.chunks * made.shares
        steps = [
            (kernel("plane_grad", self._dtype), items, _grain(g.flops, items)),
            (kernel("plane_reduce", self._dtype), g.C, _grain(g.C * self._taps * made.chunks, g.C)),
        ]
        return in_turn(steps, template, ("target", "x", "grad_weight"), self._slot_bytes, self._shared_bytes)


def _declined(problem: Problem) -> Declined | None:
    reason = depthwise.decline_reason(problem.geometry, problem.activation)
    return Declined(reason) if reason else None


def _along_channels(problem: Problem) -> bool:
    return depthwise.along_channels(problem.geometry, problem.formats, VECTOR_BYTES // np.dtype(problem.dtype).itemsize)


def _prepare_sum(problem: Problem, *, transposed: bool) -> Kernel | Declined:
    if refusal := _declined(problem):
        return refusal
    if not _along_channels(problem):
        planes = _PlaneSum(problem, transposed=transposed)
        return Kernel("depthwise", planes, workspace_bytes=planes.scratch_bytes)
    pixels = _PixelSum(problem, transposed=transposed)
    return Kernel("depthwise", pixels, pixels.pack, pixels.scratch_bytes)


def _prepare_grad_weight(problem: Problem) -> Kernel | Declined:
    if refusal := _declined(problem):
        return refusal
    run = _PixelGradWeight(problem) if _along_channels(problem) else _PlaneGradWeight(problem)
    return Kernel("depthwise", run, workspace_bytes=run.scratch_bytes)


VARIANTS = {
    "conv2d_forward": (Variant("depthwise", lambda problem: _prepare_sum(problem, transposed=False)),),
    "conv2d_grad_input": (Variant("depthwise", lambda problem: _prepare_sum(problem, transposed=True)),),
    "conv2d_grad_weight": (Variant("depthwise", _prepare_grad_weight),),
}
