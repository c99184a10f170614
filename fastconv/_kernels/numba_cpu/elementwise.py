"""Elementwise passes and steps of optimisers with Numba, driven from here."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu.arguments import fill
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.elementwise_arguments import DROPOUT, ELEMENTS, ELEMENTWISE, STEP
from fastconv._kernels.numba_cpu.ranges import RangeKernel
from fastconv.arrays import CONTIGUOUS

_PASSES = {
    "relu_forward": ("a", "target"),
    "relu_grad_input": ("a", "b", "target"),
    "add_relu_forward": ("a", "b", "target"),
    "hardtanh_forward": ("a", "settings", "target"),
    "hardtanh_grad_input": ("a", "b", "settings", "target"),
}
# What is no pass in blocks, and what makes its kernel.
_OTHERS = {"dropout": "dropout_kernel", "accumulate_": "accumulate_kernel"}
# What an optimiser keeps of a parameter; the last is optional.
_STEPS = {"sgd_step_": ("first",), "adam_step_": ("first", "second", "largest")}
# Items per chunk: some 10 microseconds.
_CHUNK = 32


def _build_pass(op: str, dtype: str):
    from fastconv._kernels.numba_cpu import elementwise_kernels

    make = _OTHERS.get(op)
    return getattr(elementwise_kernels, make)(dtype) if make else elementwise_kernels.pass_kernel(op, dtype)


def _build_step(op: str, dtype: str):
    from fastconv._kernels.numba_cpu import optimizer_kernels

    return {"sgd_step_": optimizer_kernels.sgd_kernel, "adam_step_": optimizer_kernels.adam_kernel}[op](dtype)


@cache
def _kernel(op: str, dtype: str) -> RangeKernel:
    return RangeKernel(_build_step if op in _STEPS else _build_pass, op, dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that elementwise passes and optimisers of one dtype can run."""
    return [_kernel(op, dtype).native for op in (*_PASSES, *_OTHERS, *_STEPS)]


def _prepare_pass(op: str, problem: Problem) -> Kernel | Declined:
    if len(set(problem.formats)) > 1:
        return Declined("all arrays must have one memory format")
    count, itemsize = problem.geometry.size, np.dtype(problem.dtype).itemsize
    streams = plan.is_streamed(count * itemsize)
    template = fill(ELEMENTWISE, count=count, streams=streams)
    return _bound(op, problem, template, _PASSES[op], scratch=ELEMENTS if streams else 0)


def _prepare_dropout(op: str, problem: Problem) -> Kernel | Declined:
    if problem.formats != (CONTIGUOUS,) * 2:
        return Declined("positions are counted in C order")
    template = fill(DROPOUT, count=problem.geometry.size)
    return _bound(op, problem, template, ("x", "settings", "out"), scratch=0)


def _prepare_accumulate(op: str, problem: Problem) -> Kernel:
    template = fill(ELEMENTWISE, count=problem.geometry.size)
    return _bound(op, problem, template, ("a", "target"), scratch=0)


def _prepare_step(op: str, problem: Problem) -> Kernel:
    kept = _STEPS[op] if problem.optional else _STEPS[op][:-1]
    template = fill(STEP, count=problem.geometry.size)
    return _bound(op, problem, template, ("grad", "settings", "parameter", *kept))


def _bound(op, problem, template, operands, scratch=ELEMENTS) -> Kernel:
    scratch *= np.dtype(problem.dtype).itemsize
    items = -(-problem.geometry.size // ELEMENTS)
    return Kernel("direct", _kernel(op, problem.dtype).bound(template, operands, items, _CHUNK, scratch))


def _table(prepare, op):
    return (Variant("direct", lambda problem: prepare(op, problem)),)


VARIANTS = {
    **{op: _table(_prepare_pass, op) for op in _PASSES},
    "dropout": _table(_prepare_dropout, "dropout"),
    "accumulate_": _table(_prepare_accumulate, "accumulate_"),
    **{op: _table(_prepare_step, op) for op in _STEPS},
}
