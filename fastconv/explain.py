"""Which kernel runs, where and why: ``explain`` watches a call and says what it saw."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastconv import arrays, backends
from fastconv.backends import LaunchRecord


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel call; ``flops`` counts floating-point operations, ``nbytes`` what must be read and written once.

    The weight was "packed" for this call, "kept" from an earlier one, "unpacked", which is packed while it was used or
    read in place by a kernel that could have had it packed, or None: used as it is.
    """

    op: str
    backend: str
    variant: str
    why: str
    layout: str
    dtype: str
    shapes: str
    flops: int
    nbytes: int
    workspace_bytes: int
    weight: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The kernel calls of one run, and the number of threads; prints as a table."""

    steps: tuple[Step, ...]
    threads: int

    @property
    def flops(self) -> int:
        """Floating-point operations of all steps."""
        return sum(step.flops for step in self.steps)

    @property
    def nbytes(self) -> int:
        """Bytes that all steps must read and write once."""
        return sum(step.nbytes for step in self.steps)

    def __str__(self) -> str:
        if not self.steps:
            return "no kernel ran: these operations are plain NumPy"
        rows = [
            (
                s.op,
                s.shapes,
                f"{s.backend}:{s.variant}",
                s.weight or "",
                s.layout,
                s.dtype,
                f"{s.flops:,}",
                f"{s.nbytes:,}",
            )
            for s in self.steps
        ]
        header = ("operation", "shapes", "kernel", "weight", "layout", "dtype", "FLOP", "bytes")
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [_aligned(row, widths) for row in (header, *rows)]
        why = "; ".join(dict.fromkeys(f"{s.backend} {s.why}" for s in self.steps))
        total = f"{self.flops:,} FLOP, {self.nbytes:,} bytes, {self.threads} threads; {why}"
        return "\n".join([*lines, total])

    __repr__ = __str__


def explain(target: Callable, *args, **kwargs) -> Explanation:
    """Run a function or a model once and tell which kernels it called; a shape stands for zeros.

    Zeros have the dtype of the model's parameters, or are float32. What backward calls is told of a function that calls
    it, or of ``loss.backward`` itself.

    >>> import fastconv.functional as F
    >>> explanation = explain(F.conv2d, (1, 3, 8, 8), (4, 3, 3, 3), padding=1)
    >>> explanation.flops
    13824
    """
    dtype = _dtype(target)
    named = {name: _array(value, 1, dtype) for name, value in kwargs.items()}
    with backends.recording() as records:
        target(*(_array(value, position, dtype) for position, value in enumerate(args)), **named)
    return Explanation(tuple(map(_step, records)), backends.get_num_threads())


def _aligned(cells, widths):
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _dtype(target):
    """That of a model's first parameter; float32 of all else."""
    parameters = target.parameters() if hasattr(target, "parameters") else ()
    return next((parameter.dtype for parameter in parameters), np.dtype(np.float32))


def _array(value, position, dtype):
    """The first argument may have any number of axes; a later pair of numbers is a kernel size or a stride."""
    is_shape = isinstance(value, tuple) and all(isinstance(extent, int) for extent in value)
    return arrays.zeros(value, dtype) if is_shape and (position == 0 or len(value) > 2) else value


def _step(record: LaunchRecord) -> Step:
    problem, g = record.problem, record.problem.geometry
    weight = getattr(g, "weight_shape", None)
    operands, flops = [g.x_shape, g.out_shape, *([weight] if weight else [])], g.flops
    if record.op == "conv2d_grad_bias":
        operands, flops = [g.out_shape, (g.K,)], math.prod(g.out_shape)
    return Step(
        op=record.op,
        backend=record.backend,
        variant=record.variant,
        why=record.why,
        layout=" -> ".join(dict.fromkeys(problem.formats)),
        dtype=problem.dtype,
        shapes=" ".join("x".join(map(str, shape)) for shape in operands),
        flops=flops,
        nbytes=sum(map(math.prod, operands)) * np.dtype(problem.dtype).itemsize,
        workspace_bytes=record.workspace_bytes,
        weight=record.weight,
    )
