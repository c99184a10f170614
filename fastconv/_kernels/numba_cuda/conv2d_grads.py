"""grad_weight and grad_bias: sums over all pixels, in parts whose number depends on the geometry alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastconv import arrays
from fastconv._kernels.contract import OK, OUT_OF_MEMORY, Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cuda import conv2d_depthwise, conv2d_grouped
from fastconv._kernels.numba_cuda.conv2d_bias_sums import CHANNELS, PART_DTYPE, add_bias_parts_kernel, bias_sum_kernel
from fastconv._kernels.numba_cuda.conv2d_taps import MODES
from fastconv._kernels.numba_cuda.conv2d_weight_sums import add_parts_kernel, weight_sum_kernel
from fastconv._kernels.numba_cuda.launch import THREADS, launch, launch_elements, memory, temporary
from fastconv._kernels.numba_cuda.settings import CudaKernel
from fastconv._kernels.numba_cuda.storage import wide
from fastconv._kernels.numba_cuda.tiles import BLOCKS, DEPTH, TILES, tile_for

# Fewer pixels are not worth a part of their own.
_LEAST_PIXELS = 256
_MOST_PIXELS = 2**31 - 2**16


class _GradWeight:
    def __init__(self, problem: Problem, flattened: bool = False):
        self._flattened = flattened
        g = self._geometry = problem.geometry
        self._dtype, self._wide = problem.dtype, wide(problem.dtype)
        self._taps = g.rows.kernel * g.cols.kernel
        self._pixels = g.N * g.rows.out * g.cols.out
        self._tile = tile = tile_for(problem.dtype, g.K_g, g.C_g, g.groups * self._taps * BLOCKS)
        columns = _tiles_of_columns(g, tile, flattened)
        self._blocks = -(-g.K_g // tile.rows) * columns * g.groups
        self._own_pixels = _own_pixels(self._pixels, self._blocks)
        self._parts = -(-self._pixels // self._own_pixels)
        self.count = self._parts * g.K * g.C_g * self._taps
        self.workspace_bytes = self.count * np.dtype(self._wide).itemsize
        self._grad_strides = arrays.element_strides(g.out_shape, problem.formats[0])
        self._strides = arrays.element_strides(g.x_shape, problem.formats[1])

    def __call__(self, grad_out, x, grad_weight) -> int:
        try:
            part = temporary(grad_weight, self.count, self._wide)
        except MemoryError:
            return OUT_OF_MEMORY
        g, mode = self._geometry, MODES[self._geometry.padding_mode]
        sizes = g.groups, g.C_g, g.K_g, self._pixels, self._own_pixels
        sizes += g.rows.kernel, g.cols.kernel, g.rows.out, g.cols.out
        axes = [(axis.stride, -axis.low, axis.dilation, axis.size, mode) for axis in (g.rows, g.cols)]
        kernel, operands = weight_sum_kernel(self._dtype, self._tile, self._flattened), map(memory, (grad_out, x, part))
        blocks = self._blocks * self._parts
        launch(kernel, blocks, self._tile.threads, *operands, sizes, *axes, self._grad_strides, self._strides)
        columns = g.C_g * self._taps if self._flattened else g.C_g
        tap_stride = g.C_g if self._flattened else g.K_g * g.C_g
        sizes = self._parts, g.groups, self._taps, g.K_g, g.C_g, tap_stride, columns
        operands = memory(part), memory(grad_weight)
        launch_elements(add_parts_kernel(self._dtype), self.count // self._parts, *operands, sizes)
        return OK


class _GradBias:
    def __init__(self, problem: Problem):
        g = self._geometry = problem.geometry
        self._dtype = problem.dtype
        self._plane = g.rows.out * g.cols.out
        self._pixels = g.N * self._plane
        N_stride, K_stride, _, W_stride = arrays.element_strides(g.out_shape, problem.formats[0])
        self._strides = N_stride, W_stride, K_stride
        self._channels = CHANNELS if K_stride == 1 else 1
        self._blocks = -(-g.K // self._channels)
        self._own_pixels = _own_pixels(self._pixels, self._blocks)
        self._parts = -(-self._pixels // self._own_pixels)
        self.count = self._parts * g.K
        self.workspace_bytes = self.count * np.dtype(PART_DTYPE).itemsize

    def __call__(self, grad_out, grad_bias) -> int:
        try:
            part = temporary(grad_bias, self.count, PART_DTYPE)
        except MemoryError:
            return OUT_OF_MEMORY
        K, operands = self._geometry.K, (memory(grad_out), memory(part))
        sizes = K, self._pixels, self._plane, self._own_pixels
        kernel = bias_sum_kernel(self._dtype, self._channels)
        launch(kernel, self._blocks * self._parts, THREADS, *operands, sizes, self._strides)
        kernel = add_bias_parts_kernel(self._dtype)
        launch_elements(kernel, K, memory(part), memory(grad_bias), (self._parts, K))
        return OK


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    for tile in TILES[dtype]:
        for name, flattened in (("tiled", False), ("flattened", True)):
            yield f"conv2d_weight_sum {tile.rows}x{tile.cols} {name}", weight_sum_kernel(dtype, tile, flattened)
    yield "conv2d_add_parts", add_parts_kernel(dtype)
    for channels in (1, CHANNELS):
        yield f"conv2d_bias_sum {channels}", bias_sum_kernel(dtype, channels)
    yield "conv2d_add_bias_parts", add_bias_parts_kernel(dtype)


def _own_pixels(pixels: int, blocks: int) -> int:
    """The pixels of a part: as many parts as keep a GPU busy, none of them small."""
    parts = max(min(-(-BLOCKS // blocks), pixels // _LEAST_PIXELS), 1)
    return -(-pixels // (parts * DEPTH)) * DEPTH


def _tiles_of_columns(g, tile, flattened):
    """How many tiles all taps of all channels take."""
    taps = g.rows.kernel * g.cols.kernel
    return -(-taps * g.C_g // tile.cols) if flattened else taps * -(-g.C_g // tile.cols)


def _prepare_flattened(problem: Problem) -> Kernel | Declined:
    g = problem.geometry
    tile = tile_for(problem.dtype, g.K_g, g.C_g, BLOCKS)
    if _tiles_of_columns(g, tile, True) == _tiles_of_columns(g, tile, False):
        return Declined("tiles of one tap are as full")
    return _variant("flattened", lambda problem: _GradWeight(problem, flattened=True)).prepare(problem)


def _variant(name, make):
    def prepare(problem: Problem) -> Kernel | Declined:
        g = problem.geometry
        if g.N * g.rows.out * g.cols.out > _MOST_PIXELS:
            return Declined(f"there are more than {_MOST_PIXELS:,} pixels")
        run = make(problem)
        return Kernel(name, run, workspace_bytes=run.workspace_bytes)

    return Variant(name, prepare)


VARIANTS = {
    "conv2d_grad_weight": (
        Variant(conv2d_depthwise.NAME, conv2d_depthwise.prepare_grad_weight),
        Variant(conv2d_grouped.NAME, conv2d_grouped.prepare_grad_weight),
        Variant("flattened", _prepare_flattened),
        _variant("tiled", _GradWeight),
    ),
    "conv2d_grad_bias": (_variant("parts", _GradBias),),
}
