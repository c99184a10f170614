"""Logarithms of probabilities and their loss with Numba, driven from here."""

from __future__ import annotations

from functools import cache

from fastconv._kernels.contract import Kernel, Problem, Variant
from fastconv._kernels.numba_cpu.arguments import fill, grain
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.elementwise_arguments import SOFTMAX, SOFTMAX_LANES, SOFTMAX_SCRATCH_ROWS
from fastconv._kernels.numba_cpu.ranges import RangeKernel

# Operation -> the fields of its operands.
_OPERANDS = {
    "log_softmax_forward": ("x", "out"),
    "log_softmax_grad_input": ("grad_out", "out", "grad_input"),
    "cross_entropy_forward": ("x", "target", "class_weight", "settings", "out", "losses"),
    "cross_entropy_grad_input": ("grad_out", "out", "target", "class_weight", "settings", "grad_input"),
}


def _build(op: str, dtype: str):
    from fastconv._kernels.numba_cpu import cross_entropy_kernels, softmax_kernels

    return (softmax_kernels.KERNELS | cross_entropy_kernels.KERNELS)[op](dtype)


@cache
def _kernel(op: str, dtype: str) -> RangeKernel:
    return RangeKernel(_build, op, dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that passes over classes of one dtype can run."""
    return [_kernel(op, dtype).native for op in _OPERANDS]


def _prepare(op: str, problem: Problem) -> Kernel:
    g = problem.geometry
    template = fill(SOFTMAX, N=g.N, C=g.C, pixels=g.pixels)
    items = g.N * -(-g.pixels // SOFTMAX_LANES)
    # An exponential takes as long as so many operations.
    chunk = grain(32 * g.C * min(g.pixels, SOFTMAX_LANES))
    kernel, scratch = _kernel(op, problem.dtype), SOFTMAX_SCRATCH_ROWS * SOFTMAX_LANES * 8
    return Kernel("direct", kernel.bound(template, _OPERANDS[op], items, chunk, scratch))


def _table(op):
    return (Variant("direct", lambda problem: _prepare(op, problem)),)


VARIANTS = {op: _table(op) for op in _OPERANDS}
