"""Max-pooling and average-pooling, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from fastconv import arrays
from fastconv._kernels.contract import OFFSETS_DTYPES, OK, Declined, Kernel, Problem, Variant, offsets_dtype
from fastconv._kernels.numba_cuda.avg_pool2d_kernels import avg_pool_grad_kernel, avg_pool_kernel
from fastconv._kernels.numba_cuda.launch import launch_elements, memory
from fastconv._kernels.numba_cuda.pool2d_kernels import max_pool_grad_kernel, max_pool_kernel
from fastconv._kernels.numba_cuda.settings import WORDS, CudaKernel
from fastconv.geometry import AdaptiveAxis


def _axis(axis) -> tuple[int, ...]:
    if isinstance(axis, AdaptiveAxis):
        return axis.size, axis.out, axis.kernel, 1, 0, 1, 1
    return axis.size, axis.out, axis.kernel, axis.stride, axis.low, axis.dilation, 0


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    yield "max_pool2d", max_pool_kernel(dtype, OFFSETS_DTYPES[0], False)
    for offsets in OFFSETS_DTYPES:
        yield f"max_pool2d {offsets}", max_pool_kernel(dtype, offsets, True)
        yield f"max_pool2d_grad {offsets}", max_pool_grad_kernel(dtype, offsets)
    if dtype not in WORDS:
        yield "avg_pool2d", avg_pool_kernel(dtype)
        yield "avg_pool2d_grad", avg_pool_grad_kernel(dtype)


def _prepare_forward(problem: Problem) -> Kernel | Declined:
    g, layout = problem.geometry, problem.formats[0]
    if layout != problem.formats[1]:
        return Declined("input and output differ in memory format")
    with_offsets = "offsets" in problem.optional
    axes, strides = (_axis(g.rows), _axis(g.cols)), arrays.element_strides(g.x_shape, layout)
    count, is_last = prod(g.out_shape), int(layout == arrays.CHANNELS_LAST)

    def run(x, out, *offsets) -> int:
        kernel = max_pool_kernel(problem.dtype, offsets_dtype(g), with_offsets)
        operands = memory(x), memory(out), memory(offsets[0] if offsets else out)
        launch_elements(kernel, count, *operands, g.out_shape, *axes, strides, is_last)
        return OK

    return Kernel("gather", run)


def _prepare_grad_input(problem: Problem) -> Kernel | Declined:
    g, layout = problem.geometry, problem.formats[0]
    if layout != problem.formats[1]:
        return Declined("grad_out and grad_input differ in memory format")
    axes, strides = (_axis(g.rows), _axis(g.cols)), arrays.element_strides(g.out_shape, layout)
    count, is_last = prod(g.x_shape), int(layout == arrays.CHANNELS_LAST)

    def run(grad_out, offsets, grad_input) -> int:
        kernel = max_pool_grad_kernel(problem.dtype, offsets_dtype(g))
        operands = map(memory, (grad_out, offsets, grad_input))
        launch_elements(kernel, count, *operands, g.x_shape, *axes, strides, is_last)
        return OK

    return Kernel("gather", run)


def _prepare_average(problem: Problem, make, threads_shape, other_shape) -> Kernel | Declined:
    """One thread for each element of the result; ``other_shape`` is that of what they read."""
    g, layout = problem.geometry, problem.formats[0]
    if layout != problem.formats[1]:
        return Declined("both arrays must have one memory format")
    axes, strides = (_axis(g.rows), _axis(g.cols)), arrays.element_strides(other_shape, layout)
    kernel, count, is_last = make(problem.dtype), prod(threads_shape), int(layout == arrays.CHANNELS_LAST)

    def run(*operands) -> int:
        launch_elements(kernel, count, *map(memory, operands), threads_shape, *axes, strides, is_last)
        return OK

    return Kernel("gather", run)


def _prepare_average_forward(problem: Problem) -> Kernel | Declined:
    g = problem.geometry
    return _prepare_average(problem, avg_pool_kernel, g.out_shape, g.x_shape)


def _prepare_average_grad_input(problem: Problem) -> Kernel | Declined:
    g = problem.geometry
    return _prepare_average(problem, avg_pool_grad_kernel, g.x_shape, g.out_shape)


VARIANTS = {
    "max_pool2d_forward": (Variant("gather", _prepare_forward),),
    "max_pool2d_grad_input": (Variant("gather", _prepare_grad_input),),
    "avg_pool2d_forward": (Variant("gather", _prepare_average_forward),),
    "avg_pool2d_grad_input": (Variant("gather", _prepare_average_grad_input),),
}
