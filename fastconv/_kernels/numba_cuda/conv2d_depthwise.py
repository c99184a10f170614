"""Convolution of single channels with square windows: what is launched in each direction."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastconv import arrays
from fastconv._kernels.contract import ACTIVATIONS, OK, OUT_OF_MEMORY, Declined, Kernel, Problem
from fastconv._kernels.numba_cuda.conv2d_bias_sums import CHANNELS
from fastconv._kernels.numba_cuda.conv2d_depthwise_kernels import (
    depthwise_kernel,
    depthwise_weight_kernel,
    own_rows,
    weight_threads,
)
from fastconv._kernels.numba_cuda.conv2d_pack import pack_kernel
from fastconv._kernels.numba_cuda.conv2d_weight_sums import add_parts_kernel
from fastconv._kernels.numba_cuda.launch import launch, launch_elements, memory, temporary
from fastconv._kernels.numba_cuda.settings import WORDS, CudaKernel
from fastconv._kernels.numba_cuda.storage import wide
from fastconv._kernels.numba_cuda.tiles import BLOCKS

NAME = "depthwise"
# The edges of windows that there are kernels for, and their strides.
_COMMON = (3, 1), (3, 2)
WINDOWS = {"float32": (*_COMMON, (5, 1), (5, 2), (7, 1)), "float64": _COMMON}
WINDOWS |= {dtype: WINDOWS[wide] for dtype, wide in WORDS.items()}
_MOST_ELEMENTS = 2**31 - 2**16
# Fewer columns are not worth a part of their own, and more blocks than this keep no GPU busier.
_LEAST_ITEMS, _MOST_BLOCKS = 1024, 4 * BLOCKS


class _Sum:
    """Forward, or grad_input, over the weight as packed[tap, c]."""

    def __init__(self, problem: Problem, transposed: bool):
        g = self._geometry = problem.geometry
        edge, stride = _window(g)
        own = own_rows(stride, transposed)
        self._dtype, self._taps = problem.dtype, edge * edge
        self._bias, self._activation = "bias" in problem.optional, ACTIVATIONS.index(problem.activation)
        self._kernel = edge, stride, transposed
        source, target = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        strides = [
            arrays.element_strides(shape, layout)
            for shape, layout in zip((source, target), problem.formats, strict=True)
        ]
        shift = g.rows.low % stride if transposed else 0
        blocks = -(-(target[2] + shift) // own)
        line = own // stride, (g.rows.low - shift) // stride, shift
        line = line if transposed else (own * stride, -g.rows.low, 0)
        sizes = g.N, g.K, blocks, *target[2:], self._bias, self._activation, int(strides[1][1] == 1)
        axes = [(size, axis.low) for size, axis in zip(source[2:], (g.rows, g.cols), strict=True)]
        self._count, self._numbers = g.N * g.K * blocks * target[3], (sizes, *axes, line, *strides)

    def pack(self, weight):
        """Neighbouring channels side by side."""
        K, taps = self._geometry.K, self._taps
        packed = temporary(weight, K * taps, wide(self._dtype))
        sizes, strides = (1, taps, 1, K, K), (0, 0, taps)
        launch_elements(pack_kernel(self._dtype), K * taps, memory(weight), memory(packed), sizes, strides)
        return packed

    def __call__(self, source, packed, *rest) -> int:
        bias, target = rest if self._bias else (rest[0], rest[0])
        operands = map(memory, (source, packed, bias, target))
        launch_elements(depthwise_kernel(self._dtype, *self._kernel), self._count, *operands, *self._numbers)
        return OK


class _GradWeight:
    def __init__(self, problem: Problem):
        g = self._geometry = problem.geometry
        self._dtype = problem.dtype
        self._kernel = edge, stride = _window(g)
        own, threads = own_rows(stride, False), weight_threads(problem.dtype)
        grad_strides = arrays.element_strides(g.out_shape, problem.formats[0])
        strides = arrays.element_strides(g.x_shape, problem.formats[1])
        channels = CHANNELS if strides[1] == 1 else 1
        row_blocks, blocks = -(-g.rows.out // own), -(-g.K // channels)
        items = g.N * row_blocks * g.cols.out
        parts = max(min(_MOST_BLOCKS // blocks, items * channels // _LEAST_ITEMS), 1)
        own_items = -(-items // parts)
        self._parts = -(-items // own_items)
        self._blocks, self._threads = blocks * self._parts, threads
        self.count, self._taps = self._parts * g.K * edge * edge, edge * edge
        sizes = g.K, g.rows.out, g.cols.out, row_blocks, items, own_items, channels
        axes = [(axis.size, axis.low) for axis in (g.rows, g.cols)]
        self._numbers = sizes, *axes, grad_strides, strides

    def __call__(self, grad_out, x, grad_weight) -> int:
        try:
            part = temporary(grad_weight, self.count, wide(self._dtype))
        except MemoryError:
            return OUT_OF_MEMORY
        kernel, operands = depthwise_weight_kernel(self._dtype, *self._kernel), map(memory, (grad_out, x, part))
        launch(kernel, self._blocks, self._threads, *operands, *self._numbers)
        sizes, operands = (self._parts, self._geometry.K, self._taps, 1, 1, 1, 1), (memory(part), memory(grad_weight))
        launch_elements(add_parts_kernel(self._dtype), self.count // self._parts, *operands, sizes)
        return OK


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    for edge, stride in WINDOWS[dtype]:
        name = f"conv2d_depthwise {edge}x{edge} by {stride}"
        yield f"{name} forward", depthwise_kernel(dtype, edge, stride, False)
        yield f"{name} grad_input", depthwise_kernel(dtype, edge, stride, True)
        yield f"{name} weight_sum", depthwise_weight_kernel(dtype, edge, stride)


def prepare_sum(problem: Problem, transposed: bool) -> Kernel | Declined:
    """Forward or grad_input."""
    reason = _declined(problem)
    if reason:
        return Declined(reason)
    run, g = _Sum(problem, transposed), problem.geometry
    nbytes = g.K * g.rows.kernel * g.cols.kernel * np.dtype(wide(problem.dtype)).itemsize
    return Kernel(NAME, run, run.pack, nbytes, packing=(__name__, problem.dtype, g.weight_shape))


def prepare_grad_weight(problem: Problem) -> Kernel | Declined:
    """grad_weight."""
    reason = _declined(problem)
    if reason:
        return Declined(reason)
    run = _GradWeight(problem)
    return Kernel(NAME, run, workspace_bytes=run.count * np.dtype(wide(problem.dtype)).itemsize)


def _window(g):
    return g.rows.kernel, g.rows.stride


def _declined(problem):
    g = problem.geometry
    if (g.C_g, g.K_g) != (1, 1):
        return "groups have several channels"
    if g.rows.kernel != g.cols.kernel or g.rows.stride != g.cols.stride or _window(g) not in WINDOWS[problem.dtype]:
        known = ", ".join(f"{edge} x {edge} by {stride}" for edge, stride in WINDOWS[problem.dtype])
        return f"there are kernels for windows of {known}"
    if (g.rows.dilation, g.cols.dilation) != (1, 1):
        return "windows are dilated"
    if g.padding_mode != "zeros":
        return "the padding repeats inputs"
    if max(np.prod(g.x_shape, dtype=object), np.prod(g.out_shape, dtype=object)) > _MOST_ELEMENTS:
        return f"there are more than {_MOST_ELEMENTS:,} elements"
    return None
