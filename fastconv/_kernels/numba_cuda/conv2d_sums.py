"""Forward and grad_input as one tiled product for each phase of the strides, launched with the kernels that fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from fastconv import arrays
from fastconv._kernels.contract import ACTIVATIONS, OK, OUT_OF_MEMORY, Problem
from fastconv._kernels.numba_cuda.conv2d_join import join_kernel
from fastconv._kernels.numba_cuda.conv2d_pack import fold_kernel, pack_kernel
from fastconv._kernels.numba_cuda.conv2d_phases import Phase, forward_phase, transposed_phases
from fastconv._kernels.numba_cuda.conv2d_sum import sum_kernel, tiles_of
from fastconv._kernels.numba_cuda.conv2d_taps import MODES, ZEROS
from fastconv._kernels.numba_cuda.launch import is_aligned, launch, launch_elements, memory, temporary
from fastconv._kernels.numba_cuda.storage import wide
from fastconv._kernels.numba_cuda.tiles import (
    CHANNELS,
    DEPTH,
    ELEMENTS,
    PIXELS,
    RUN_TERMS,
    TINY,
    Tile,
    tile_for,
)
from fastconv.geometry import Conv2dGeometry

# Pixels of one launch.
MOST_PIXELS = 2**31 - 2**16
_QUAD = 4


def is_pointwise(g: Conv2dGeometry) -> bool:
    """Whether every output has one tap, at its own position."""
    return all(axis.kernel == axis.stride == 1 and axis.size == axis.padded for axis in (g.rows, g.cols))


class Sum:
    """Forward, or grad_input as the same sum over the transposed weight.

    ``order`` is that of the terms: ELEMENTS of a tap's channels, TERMS where there are few of them, PIXELS where there
    is one tap. A sum that ``splits`` has its runs computed side by side, and added up in their order: the additions are
    those of one block that takes all runs, so the bits are the same, and may depend on neither the device nor the batch
    that decided. The target has the problem's dtype, or that of the sums where they are ``wide``.
    """

    def __init__(
        self, problem: Problem, geometry: Conv2dGeometry, transposed: bool, order=ELEMENTS, splits=False, is_wide=False
    ):
        self._order, self._splits = order, splits
        g = self._geometry = geometry
        self._dtype, self._wide, self._transposed = problem.dtype, wide(problem.dtype), transposed
        self._into = self._wide if is_wide else self._dtype
        self._bias, self._activation = "bias" in problem.optional, ACTIVATIONS.index(problem.activation)
        self._mode = ZEROS if transposed else MODES[g.padding_mode]
        source_shape, target_shape = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        self._formats = problem.formats
        self._source = arrays.element_strides(source_shape, problem.formats[0])
        self._target = arrays.element_strides(target_shape, problem.formats[1])
        self._C, self._M = (g.K_g, g.C_g) if transposed else (g.C_g, g.K_g)
        self._pitch = -(-self._M // _QUAD) * _QUAD
        self._taps = g.rows.kernel * g.cols.kernel
        self.packed_count = g.groups * self._taps * self._C * self._pitch
        self._phases = tuple(product(*self._axes()))
        keeps = self._into != self._wide and self.most_runs() > 1
        self.kept_count = (self.most_runs() if splits else int(keeps)) * int(np.prod(target_shape))

    def pack(self, weight):
        """The weight as kernels read it: channels of a tile side by side, in whole vectors."""
        packed = temporary(weight, self.packed_count, self._wide)
        inner, outer = self._taps, self._geometry.C_g * self._taps
        c_stride, m_stride = (outer, inner) if self._transposed else (inner, outer)
        sizes = self._geometry.groups, self._taps, self._C, self._M, self._pitch
        strides = self._geometry.K_g * outer, c_stride, m_stride
        launch_elements(pack_kernel(self._dtype), self.packed_count, memory(weight), memory(packed), sizes, strides)
        return packed

    def is_split(self) -> bool:
        """Whether a sum has several runs, and is one of so few that a smaller tile than their channels fill is due."""
        g, groups = self._geometry, self._geometry.groups
        for rows, cols in self._phases:
            tile = tile_for(self._dtype, self._M, g.N * rows.count * cols.count, groups)
            if self._runs(rows, cols) > 1 and tile != tile_for(self._dtype, self._M, MOST_PIXELS, groups):
                return True
        return False

    def most_runs(self) -> int:
        """The runs of the longest sums."""
        return max(self._runs(rows, cols) for rows, cols in self._phases)

    def __call__(self, source, packed, *rest) -> int:
        bias, target = rest if self._bias else (rest[0], rest[0])
        for rows, cols in self._phases:
            for first, images in _parts(self._geometry.N, rows.count * cols.count):
                own = slice(first, first + images)
                try:
                    self._launch(rows, cols, source[own], packed, bias, target[own])
                except MemoryError:
                    return OUT_OF_MEMORY
        return OK

    def _axes(self):
        g = self._geometry
        if self._transposed:
            return transposed_phases(g.rows), transposed_phases(g.cols)
        return (forward_phase(g.rows),), (forward_phase(g.cols),)

    def _runs(self, rows: Phase, cols: Phase) -> int:
        return -(-tiles_of(rows.taps * cols.taps, self._C, self._order) // (RUN_TERMS // DEPTH))

    def _launch(self, rows: Phase, cols: Phase, source, packed, bias, target) -> None:
        groups, pixels = self._geometry.groups, len(source) * rows.count * cols.count
        runs = max(self._runs(rows, cols), 1)
        parts = runs if self._splits else 1
        # One run leaves nothing for another.
        keeps = parts > 1 or (runs > 1 and self._into != self._wide)
        kept = temporary(target, parts * target.size, self._wide) if keeps else target
        tile = tile_for(self._dtype, self._M, pixels, groups * parts)
        kernel = sum_kernel(self._dtype, self._into, tile, *self._accesses(tile, rows, cols, source, target))
        blocks = -(-self._M // tile.rows) * groups * -(-pixels // tile.cols) * parts
        numbers = self._numbers(rows, cols, pixels, parts, target.size)
        operands = tuple(map(memory, (source, packed, bias, kept, target)))
        launch(kernel, blocks, tile.threads, *operands, *numbers)
        if parts > 1:
            along_channels = int(self._target[1] == 1)
            launch_elements(join_kernel(self._dtype), groups * self._M * pixels, *operands, *numbers, along_channels)

    def _numbers(self, rows: Phase, cols: Phase, pixels: int, parts: int, part_size: int):
        """What kernels are told besides their operands."""
        tap_pitch = self._C * self._pitch
        sizes = self._geometry.groups, self._C, self._M, self._pitch, pixels, self._taps * tap_pitch
        sizes += self._bias, self._activation, parts, part_size
        axes = [(axis.advance, axis.start, axis.per_tap, axis.size, self._mode) for axis in (rows, cols)]
        pitches = self._geometry.cols.kernel * tap_pitch, tap_pitch
        taps = [(a.taps, a.tap_first * at, a.tap_step * at) for a, at in zip((rows, cols), pitches, strict=True)]
        places = zip((rows, cols), self._target[2:], strict=True)
        to = [(a.count, a.first * stride, a.step * stride) for a, stride in places]
        return sizes, *axes, *taps, *to, self._source, self._target[:2]

    def _accesses(self, tile: Tile, rows: Phase, cols: Phase, source, target) -> tuple[str, str]:
        """What is read and written by vectors: what is aligned and comes in fours."""
        lasts = [layout == arrays.CHANNELS_LAST for layout in self._formats]
        reads, writes = is_aligned(source) and tile is not TINY, is_aligned(target) and tile is not TINY
        together = rows.step == cols.step == 1 and rows.count * cols.count % _QUAD == 0
        gathers = self._order
        if gathers == PIXELS:
            gathers = PIXELS if reads and writes and together and not any(lasts) else ELEMENTS
        if gathers == ELEMENTS and reads and lasts[0] and self._C % _QUAD == 0:
            gathers = CHANNELS
        if lasts[1]:
            return gathers, CHANNELS if writes and self._M % _QUAD == 0 else ELEMENTS
        return gathers, PIXELS if writes and together and gathers != CHANNELS else ELEMENTS


class Folded:
    """grad_input of a padding that repeats inputs: that of the padded input, folded back."""

    def __init__(self, problem: Problem):
        g = self._geometry = problem.geometry
        rows, cols = (replace(axis, size=axis.padded, low=0, high=0) for axis in (g.rows, g.cols))
        self._padded = replace(g, rows=rows, cols=cols, padding_mode="zeros")
        self._dtype, self._format = problem.dtype, problem.formats[1]
        self._sum = Sum(problem, self._padded, transposed=True, is_wide=True)
        self.pack, self.packed_count = self._sum.pack, self._sum.packed_count
        self.padded_count = int(np.prod(self._padded.x_shape))

    def __call__(self, grad_out, packed, grad_input) -> int:
        try:
            padded = temporary(grad_input, self.padded_count, wide(self._dtype))
        except MemoryError:
            return OUT_OF_MEMORY
        g, shape = self._geometry, self._padded.x_shape
        N, C, H, W = shape
        if self._format == arrays.CHANNELS_LAST:
            padded = padded.reshape(N, H, W, C).transpose(0, 3, 1, 2)
        else:
            padded = padded.reshape(shape)
        self._sum(grad_out, packed, padded)
        axes = [(1, -axis.low, 0, axis.size, MODES[g.padding_mode]) for axis in (g.rows, g.cols)]
        strides = [arrays.element_strides(of, self._format) for of in (shape, g.x_shape)]
        operands = memory(padded), memory(grad_input)
        count = int(np.prod(g.x_shape))
        launch_elements(fold_kernel(self._dtype), count, *operands, (*g.x_shape, H, W), *axes, *strides)
        return OK


def _parts(images: int, pixels: int):
    """(first, count) of images whose pixels are counted in 31 bits."""
    most = max(MOST_PIXELS // pixels, 1)
    return [(first, min(most, images - first)) for first in range(0, images, most)]
