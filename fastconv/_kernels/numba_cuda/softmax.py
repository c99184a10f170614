"""Logarithms of probabilities and their loss."""

from __future__ import annotations

from collections.abc import Iterator

from fastconv._kernels.contract import OK, OPERATIONS, Kernel, Problem, Variant
from fastconv._kernels.numba_cuda.launch import launch_elements, memory
from fastconv._kernels.numba_cuda.settings import CudaKernel
from fastconv._kernels.numba_cuda.softmax_kernels import (
    LANES,
    cross_entropy_grad_kernel,
    cross_entropy_kernel,
    log_softmax_grad_kernel,
    log_softmax_kernel,
)

_KERNELS = {
    "log_softmax_forward": log_softmax_kernel,
    "log_softmax_grad_input": log_softmax_grad_kernel,
    "cross_entropy_forward": cross_entropy_kernel,
    "cross_entropy_grad_input": cross_entropy_grad_kernel,
}


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    for op, make in _KERNELS.items():
        yield f"classes {op}", make(dtype, 1)
        yield f"classes {op} lanes", make(dtype, LANES)


def _prepare(op: str, problem: Problem) -> Kernel:
    g = problem.geometry
    lanes = LANES if g.pixels == 1 else 1
    kernel, count = _KERNELS[op](problem.dtype, lanes), g.N * g.pixels

    names = OPERATIONS[op].inputs
    at = names.index("settings") if "settings" in names else None

    def run(*operands) -> int:
        given = list(operands)
        settings = [] if at is None else given.pop(at).tolist()
        launch_elements(kernel, count * lanes, *map(memory, given), (g.C, g.pixels, count), *settings)
        return OK

    return Kernel("classes", run)


def _table(op):
    return (Variant("classes", lambda problem: _prepare(op, problem)),)


VARIANTS = {op: _table(op) for op in _KERNELS}
