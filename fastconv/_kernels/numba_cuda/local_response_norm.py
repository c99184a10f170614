"""Normalisation across channels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fastconv._kernels.contract import OK, Kernel, Problem, Variant
from fastconv._kernels.numba_cuda.launch import launch_elements, memory
from fastconv._kernels.numba_cuda.local_response_norm_kernels import forward_kernel, grad_input_kernel
from fastconv._kernels.numba_cuda.settings import CudaKernel

_KERNELS = {
    "local_response_norm_forward": forward_kernel,
    "local_response_norm_grad_input": grad_input_kernel,
}


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    for op, make in _KERNELS.items():
        yield op, make(dtype)


def _prepare(op: str, problem: Problem) -> Kernel:
    g, number = problem.geometry, np.dtype(problem.dtype).type
    count, kernel = math.prod(g.x_shape), _KERNELS[op](problem.dtype)

    def run(*operands) -> int:
        *inputs, settings, target = operands
        sizes, numbers = (count, g.C, g.pixels, g.before, g.behind), tuple(map(number, settings.tolist()))
        launch_elements(kernel, count, *map(memory, (*inputs, target)), sizes, numbers)
        return OK

    return Kernel("values", run)


def _table(op):
    return (Variant("values", lambda problem: _prepare(op, problem)),)


VARIANTS = {op: _table(op) for op in _KERNELS}
