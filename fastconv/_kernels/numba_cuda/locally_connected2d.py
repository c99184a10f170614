"""Convolution without shared weights, and its gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fastconv._kernels.contract import OK, Kernel, Problem, Variant
from fastconv._kernels.numba_cuda.launch import launch_elements, memory
from fastconv._kernels.numba_cuda.locally_connected2d_kernels import (
    forward_kernel,
    grad_input_kernel,
    grad_weight_kernel,
)
from fastconv._kernels.numba_cuda.settings import CudaKernel
from fastconv.arrays import element_strides


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    yield "locally_connected2d", forward_kernel(dtype, False)
    yield "locally_connected2d with bias", forward_kernel(dtype, True)
    yield "locally_connected2d_grad_input", grad_input_kernel(dtype)
    yield "locally_connected2d_grad_weight", grad_weight_kernel(dtype)


def _numbers(problem: Problem, formats: tuple[str, str]) -> tuple[tuple[int, ...], ...]:
    """What every kernel is told, of arrays whose formats are those of ``x`` and ``out``."""
    g = problem.geometry
    axes = ((axis.size, axis.out, axis.kernel, axis.stride, axis.low, axis.dilation) for axis in (g.rows, g.cols))
    sizes = (g.K, g.C, g.C_g, g.K_g, g.N, int(problem.activation is not None))
    return (*axes, sizes, element_strides(g.x_shape, formats[0]), element_strides(g.out_shape, formats[1]))


def _prepare_forward(problem: Problem) -> Kernel:
    kernel = forward_kernel(problem.dtype, "bias" in problem.optional)
    numbers, count = _numbers(problem, problem.formats), math.prod(problem.geometry.out_shape)

    def run(x, weight, *rest) -> int:
        launch_elements(kernel, count, *map(memory, (x, weight, rest[0], rest[-1])), *numbers)
        return OK

    return Kernel("values", run)


def _prepare_grad_input(problem: Problem) -> Kernel:
    kernel, count = grad_input_kernel(problem.dtype), math.prod(problem.geometry.x_shape)
    numbers = _numbers(problem, problem.formats[::-1])

    def run(grad_out, weight, grad_input) -> int:
        launch_elements(kernel, count, *map(memory, (grad_input, weight, weight, grad_out)), *numbers)
        return OK

    return Kernel("values", run)


def _prepare_grad_weight(problem: Problem) -> Kernel:
    kernel, count = grad_weight_kernel(problem.dtype), math.prod(problem.geometry.weight_shape)
    numbers = _numbers(problem, problem.formats[::-1])

    def run(grad_out, x, grad_weight) -> int:
        launch_elements(kernel, count, *map(memory, (x, grad_weight, x, grad_out)), *numbers)
        return OK

    return Kernel("values", run)


VARIANTS = {
    "locally_connected2d_forward": (Variant("values", _prepare_forward),),
    "locally_connected2d_grad_input": (Variant("values", _prepare_grad_input),),
    "locally_connected2d_grad_weight": (Variant("values", _prepare_grad_weight),),
}
