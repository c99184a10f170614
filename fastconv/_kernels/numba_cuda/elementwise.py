"""Elementwise passes and steps of optimisers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastconv._kernels.contract import DROPOUT_SETTINGS, OK, Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cuda.elementwise_kernels import CUTS, PASSES, cut_kernel, dropout_kernel, pass_kernel
from fastconv._kernels.numba_cuda.optimizer_kernels import adam_kernel, sgd_kernel
from fastconv._kernels.numba_cuda.quads import launch_quads
from fastconv._kernels.numba_cuda.settings import WORDS, CudaKernel
from fastconv.arrays import CONTIGUOUS

# Each for its dtype and for whether the optional array is there.
_STEPS = {"sgd_step_": sgd_kernel, "adam_step_": adam_kernel}


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    for op in PASSES:
        yield f"elementwise {op}", pass_kernel(op, dtype)
    if dtype in WORDS:
        return
    for op in CUTS:
        yield f"elementwise {op}", cut_kernel(op, dtype)
    yield "elementwise dropout", dropout_kernel(dtype)
    for op, make in _STEPS.items():
        for has_all in (False, True):
            yield f"elementwise {op}{' with all' if has_all else ''}", make(dtype, has_all)


def _prepare_pass(op: str, problem: Problem) -> Kernel | Declined:
    if len(set(problem.formats)) > 1:
        return Declined("all arrays must have one memory format")
    count, kernel = problem.geometry.size, pass_kernel(op, problem.dtype)

    def run(*operands) -> int:
        launch_quads(kernel, count, operands)
        return OK

    return Kernel("quads", run)


def _prepare_cut(op: str, problem: Problem) -> Kernel | Declined:
    if len(set(problem.formats)) > 1:
        return Declined("all arrays must have one memory format")
    count, kernel, number = problem.geometry.size, cut_kernel(op, problem.dtype), np.dtype(problem.dtype).type

    def run(*operands) -> int:
        *inputs, settings, target = operands
        launch_quads(kernel, count, (*inputs, target), tuple(map(number, settings.tolist())))
        return OK

    return Kernel("quads", run)


def _prepare_accumulate(op: str, problem: Problem) -> Kernel:
    count, kernel = problem.geometry.size, pass_kernel(op, problem.dtype)

    def run(addend, total) -> int:
        launch_quads(kernel, count, (addend, total, total))
        return OK

    return Kernel("quads", run)


def _prepare_dropout(op: str, problem: Problem) -> Kernel | Declined:
    if problem.formats != (CONTIGUOUS,) * 2:
        return Declined("positions are counted in C order")
    count, kernel, number = problem.geometry.size, dropout_kernel(problem.dtype), np.dtype(problem.dtype).type

    def run(x, settings, out) -> int:
        told = dict(zip(DROPOUT_SETTINGS, settings.tolist(), strict=True))
        words = (int(told[name]) for name in ("threshold", "seed_low", "seed_high"))
        launch_quads(kernel, count, (x, out), (*words, number(told["scale"])))
        return OK

    return Kernel("quads", run)


def _prepare_step(op: str, problem: Problem) -> Kernel:
    count, kernel = problem.geometry.size, _STEPS[op](problem.dtype, bool(problem.optional))
    number = np.dtype(problem.dtype).type

    def run(grad, settings, *kept) -> int:
        launch_quads(kernel, count, (grad, *kept, *kept), tuple(map(number, settings.tolist())))
        return OK

    return Kernel("quads", run)


def _table(prepare, op):
    return (Variant("quads", lambda problem: prepare(op, problem)),)


VARIANTS = {
    **{op: _table(_prepare_accumulate if op.endswith("_") else _prepare_pass, op) for op in PASSES},
    **{op: _table(_prepare_cut, op) for op in CUTS},
    "dropout": _table(_prepare_dropout, "dropout"),
    **{op: _table(_prepare_step, op) for op in _STEPS},
}
