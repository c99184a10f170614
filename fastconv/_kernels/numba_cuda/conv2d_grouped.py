"""Convolutions of groups of few channels: what is launched in each direction."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastconv import arrays
from fastconv._kernels.contract import OK, OUT_OF_MEMORY, Declined, Kernel, Problem
from fastconv._kernels.numba_cuda.conv2d_grouped_kernels import (
    OWN_PIXELS,
    READS,
    THREADS,
    WIDTHS,
    grouped_kernel,
    grouped_pack_kernel,
)
from fastconv._kernels.numba_cuda.conv2d_grouped_weights import SHAPES, grouped_weight_kernel, weight_threads
from fastconv._kernels.numba_cuda.conv2d_phases import Phase
from fastconv._kernels.numba_cuda.conv2d_sums import MOST_PIXELS, Sum
from fastconv._kernels.numba_cuda.conv2d_taps import MODES, ZEROS
from fastconv._kernels.numba_cuda.conv2d_weight_sums import add_parts_kernel
from fastconv._kernels.numba_cuda.launch import is_aligned, launch, launch_elements, memory, temporary
from fastconv._kernels.numba_cuda.settings import CudaKernel
from fastconv._kernels.numba_cuda.storage import wide
from fastconv._kernels.numba_cuda.tiles import BLOCKS, CHANNELS, ELEMENTS, PIXELS, RUN_TERMS

NAME = "grouped"
# Channels of a group from which on a tile is half full.
_MOST_CHANNELS = 16
_QUAD = 4
# Fewer pixels are not worth a part of their own, and more blocks than this keep no GPU busier.
_LEAST_PIXELS, _MOST_BLOCKS = 1024, 8 * BLOCKS
# Groups side by side where channels are last: as many as a warp has threads, if there are.
_MOST_LANES = 32


class _Sum(Sum):
    """``Sum`` over the weight as packed[tap, c, group, m]."""

    def __init__(self, problem: Problem, transposed: bool):
        super().__init__(problem, problem.geometry, transposed)
        self._width = next(width for width in reversed(WIDTHS) if self._pitch % width == 0)

    def pack(self, weight):
        """Channels of all groups side by side."""
        packed, g = temporary(weight, self.packed_count, self._wide), self._geometry
        inner, outer = self._taps, g.C_g * self._taps
        c_stride, m_stride = (outer, inner) if self._transposed else (inner, outer)
        sizes, strides = (g.groups, self._taps, self._C, self._M, self._pitch), (g.K_g * outer, c_stride, m_stride)
        operands = memory(weight), memory(packed)
        launch_elements(grouped_pack_kernel(self._dtype), self.packed_count, *operands, sizes, strides)
        return packed

    def _launch(self, rows: Phase, cols: Phase, source, packed, bias, target) -> None:
        pixels, reads = len(source) * rows.count * cols.count, self._reads(source, target)
        columns = self._geometry.groups * self._pitch // self._width
        if reads == PIXELS:
            blocks = columns * -(-pixels // (THREADS * OWN_PIXELS))
        else:
            blocks = -(-columns * -(-pixels // OWN_PIXELS) // THREADS)
        operands = map(memory, (source, packed, bias, target))
        numbers = self._numbers(rows, cols, pixels, 1, target.size)
        launch(grouped_kernel(self._dtype, self._width, reads), blocks, THREADS, *operands, *numbers)

    def _numbers(self, rows: Phase, cols: Phase, pixels: int, parts: int, part_size: int):
        """Weights of one channel c are those of all groups."""
        sizes, y, x, taps_y, taps_x, *others = super()._numbers(rows, cols, pixels, parts, part_size)
        groups = self._geometry.groups
        sizes = *sizes[:3], groups * self._pitch, pixels, self._pitch, *sizes[6:]
        taps_y, taps_x = ((count, first * groups, step * groups) for count, first, step in (taps_y, taps_x))
        return sizes, y, x, taps_y, taps_x, *others

    def _reads(self, source, target) -> str:
        if self._formats[0] != arrays.CHANNELS_LAST:
            return PIXELS
        in_fours = self._formats[1] == arrays.CHANNELS_LAST and self._C % _QUAD == self._M % _QUAD == 0
        return CHANNELS if in_fours and is_aligned(source) and is_aligned(target) else ELEMENTS


class _GradWeight:
    def __init__(self, problem: Problem):
        g = self._geometry = problem.geometry
        self._dtype = problem.dtype
        self._taps = g.rows.kernel * g.cols.kernel
        self._grad_strides = arrays.element_strides(g.out_shape, problem.formats[0])
        self._strides = arrays.element_strides(g.x_shape, problem.formats[1])
        is_last = self._grad_strides[1] == self._strides[1] == 1
        self._lanes = min(_MOST_LANES, 1 << (g.groups.bit_length() - 1)) if is_last else 1
        self._shape = own_m, own_c, own_taps = SHAPES[problem.dtype][-1 if min(g.K_g, g.C_g) > _QUAD else 0]
        blocks = -(-g.K_g // own_m) * -(-g.C_g // own_c) * -(-self._taps // own_taps) * -(-g.groups // self._lanes)
        self._pixels = g.N * g.rows.out * g.cols.out
        longest = weight_threads(self._dtype) // self._lanes * RUN_TERMS
        parts = min(_MOST_BLOCKS // blocks, self._pixels * self._lanes // _LEAST_PIXELS)
        parts = max(parts, -(-self._pixels // longest))
        self._own_pixels = -(-self._pixels // parts)
        self._parts = -(-self._pixels // self._own_pixels)
        self._blocks = blocks * self._parts
        self.count = self._parts * g.K * g.C_g * self._taps

    def __call__(self, grad_out, x, grad_weight) -> int:
        try:
            part = temporary(grad_weight, self.count, wide(self._dtype))
        except MemoryError:
            return OUT_OF_MEMORY
        g, mode = self._geometry, MODES[self._geometry.padding_mode]
        sizes = g.groups, g.C_g, g.K_g, self._pixels, self._own_pixels
        sizes += g.rows.kernel, g.cols.kernel, g.rows.out, g.cols.out, self._lanes
        axes = [(axis.stride, -axis.low, axis.dilation, axis.size, mode) for axis in (g.rows, g.cols)]
        kernel, operands = grouped_weight_kernel(self._dtype, self._shape), map(memory, (grad_out, x, part))
        threads = weight_threads(self._dtype)
        launch(kernel, self._blocks, threads, *operands, sizes, *axes, self._grad_strides, self._strides)
        sizes = self._parts, g.groups, self._taps, g.K_g, g.C_g, g.K_g * g.C_g, g.C_g
        operands = memory(part), memory(grad_weight)
        launch_elements(add_parts_kernel(self._dtype), self.count // self._parts, *operands, sizes)
        return OK


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    yield "conv2d_grouped pack", grouped_pack_kernel(dtype)
    for width in WIDTHS:
        for reads in READS:
            yield f"conv2d_grouped by {width} {reads}", grouped_kernel(dtype, width, reads)
    for shape in SHAPES[dtype]:
        yield f"conv2d_grouped weight_sum {'x'.join(map(str, shape))}", grouped_weight_kernel(dtype, shape)


def prepare_sum(problem: Problem, transposed: bool) -> Kernel | Declined:
    """Forward or grad_input."""
    g = problem.geometry
    C, taps = g.K_g if transposed else g.C_g, g.rows.kernel * g.cols.kernel
    reason = _declined(problem.geometry)
    if reason:
        return Declined(reason)
    if taps * C > RUN_TERMS:
        return Declined(f"a sum has {taps * C} terms, and no thread adds more than {RUN_TERMS} at once")
    if transposed and MODES[g.padding_mode] != ZEROS:
        return Declined("the padding repeats inputs")
    run = _Sum(problem, transposed)
    packing = (__name__, problem.dtype, g.weight_shape, g.groups, transposed)
    nbytes = run.packed_count * np.dtype(wide(problem.dtype)).itemsize
    return Kernel(NAME, run, run.pack, nbytes, packing=packing)


def prepare_grad_weight(problem: Problem) -> Kernel | Declined:
    """grad_weight."""
    reason = _declined(problem.geometry)
    if reason:
        return Declined(reason)
    run = _GradWeight(problem)
    return Kernel(NAME, run, workspace_bytes=run.count * np.dtype(wide(problem.dtype)).itemsize)


def _declined(g) -> str | None:
    if g.groups == 1:
        return "there is one group"
    if max(g.C_g, g.K_g) > _MOST_CHANNELS:
        return f"groups of more than {_MOST_CHANNELS} channels fill tiles"
    if max(g.N * g.rows.out * g.cols.out, g.N * g.rows.padded * g.cols.padded) > MOST_PIXELS:
        return f"there are more than {MOST_PIXELS:,} pixels"
    return None
