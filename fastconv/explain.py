"""Which kernel runs, where and why: ``explain`` watches a call and says what it saw."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv._kernels.contract import OPERATIONS
from fastconv.autograd.tensor import tensor
from fastconv.backends import LaunchRecord
from fastconv.geometry import Conv2dGeometry, Pool2dGeometry

# Operands that are a few numbers, or one for each channel.
_SMALL = ("coefficients", "settings", "mean", "variance", "sums", "class_weight", "target", "losses", "grad_losses")

# What the operations of ``functional`` call their arrays, of floats and of integers: all else are sizes and settings.
_FLOATS = ("x", "a", "b", "weight", "bias", "residual", "running_mean", "running_var")
_INTEGERS = {"indices": np.dtype(np.int64), "target": np.dtype(np.int64)}


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel call; ``flops`` counts floating-point operations, ``nbytes`` what must be read and written once.

    The weight was "packed" for this call, "kept" from an earlier one, "unpacked", which is packed or transformed while
    it was used, or read in place, by a kernel that could have had it packed, or None: used as it is. ``layer`` is the
    path of the module that called it in a model, ``fused`` what else is done in the same pass. ``precision`` was in
    force, and ``choice`` says by what rule the variant runs and why others that are meant for such layers do not: a
    line for each.
    """

    layer: str
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
    fused: tuple[str, ...]
    precision: str
    choice: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The kernel calls of one run, and the number of threads; prints as a table.

    ``passes`` says of a model that ``fastconv.fuse`` made whether such passes are repeated without running its modules,
    or why not; of all else it is empty. ``kept`` has the bytes of packed and transformed weights that are kept after
    the run, by the parameter of the model; they are kept from the second run with the same values on.
    """

    steps: tuple[Step, ...]
    threads: int
    passes: str = ""
    kept: Mapping[str, int] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        """Floating-point operations of all steps."""
        return sum(step.flops for step in self.steps)

    @property
    def nbytes(self) -> int:
        """Bytes that all steps must read and write once."""
        return sum(step.nbytes for step in self.steps)

    @property
    def kept_bytes(self) -> int:
        """Bytes of packed and transformed weights that are kept for all parameters."""
        return sum(self.kept.values())

    def __str__(self) -> str:
        table = self._table() if self.steps else "no kernel ran: these operations are plain NumPy"
        return "\n".join(filter(None, (table, *self._choices(), self._memory(), self.passes)))

    __repr__ = __str__

    def _table(self) -> str:
        rows = [
            (
                s.layer,
                s.op,
                s.shapes,
                f"{s.backend}:{s.variant}",
                " + ".join(s.fused),
                s.weight or "",
                s.layout,
                s.dtype,
                f"{s.flops:,}",
                f"{s.nbytes:,}",
            )
            for s in self.steps
        ]
        header = ("layer", "operation", "shapes", "kernel", "fused", "weight", "layout", "dtype", "FLOP", "bytes")
        # What is the same nowhere is not shown: a function has no layers, a pooling no weight.
        columns = [column for column in zip(header, *rows, strict=True) if any(column[1:])]
        widths = [max(map(len, column)) for column in columns]
        lines = [_aligned(row, widths) for row in zip(*columns, strict=True)]
        why = "; ".join(dict.fromkeys(f"{s.backend} {s.why}" for s in self.steps))
        precision = ", ".join(dict.fromkeys(s.precision for s in self.steps))
        total = f"{self.flops:,} FLOP, {self.nbytes:,} bytes, {self.threads} threads, precision {precision}; {why}"
        return "\n".join([*lines, total])

    def _choices(self) -> list[str]:
        """Steps that the same rules decide, and the rules."""
        layers: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
        for s in self.steps:
            if s.choice:
                layers.setdefault((s.op, s.choice), {})[s.layer] = None
        return [
            line
            for (op, choice), names in layers.items()
            for line in (" ".join(filter(None, (op, ", ".join(names)))) + ":", *(f"  {rule}" for rule in choice))
        ]

    def _memory(self) -> str:
        kept = [nbytes for nbytes in self.kept.values() if nbytes]
        return f"packed and transformed weights of {len(kept)} parameters are kept: {sum(kept):,} bytes" if kept else ""


def explain(target: Callable, *args, **kwargs) -> Explanation:
    """Run a function or a model once and tell which kernels it called; a shape stands for zeros.

    Zeros have the dtype of the model's parameters, or are float32; class indices and positions are integers. Of an
    operation of ``fastconv.functional`` every argument that is an array may be a shape; of anything else the first, and
    a later one of three numbers and more, since two may be a kernel size or a stride.

    What backward calls is told of a function that calls it, or of ``loss.backward`` itself. The buffers of a model,
    such as running statistics, are as before afterwards. A model that ``fastconv.fuse`` made runs twice more, to find
    out whether its passes can be repeated.

    >>> import fastconv.functional as F
    >>> explanation = explain(F.conv2d, (1, 3, 8, 8), (4, 3, 3, 3), padding=1)
    >>> explanation.flops
    13824
    """
    given, named = _arrays(target, args, kwargs)
    with _restored_buffers(target):
        with backends.recording() as records, _named_layers(target, records) as names:
            target(*given, **named)
        passes = _passes(target, given, named)
    steps = [_step(record, names.get(index, "")) for index, record in enumerate(records)]
    return Explanation(tuple(steps), backends.get_num_threads(), passes, _kept(target))


def _kept(target) -> dict[str, int]:
    """Parameter of a model -> the bytes that are kept of it, packed."""
    named = target.named_parameters() if hasattr(target, "named_parameters") else ()
    return {name: backends.packed_weights.nbytes_of(parameter) for name, parameter in named}


def _passes(target, given, named) -> str:
    """What becomes of further passes of a fused model; nothing is said of any other."""
    replays = getattr(target, "_replays", None)
    if replays is None:
        return ""
    refusal = "arguments are given by name" if named else replays.refusal(target, given)
    if refusal is None:
        return "passes: from the third such input on, the recorded kernel calls are repeated without running modules"
    return f"passes: not repeated from recorded calls, modules run for every input: {refusal}"


@contextmanager
def _restored_buffers(target) -> Iterator[None]:
    """Undoes what a pass of zeros does to the buffers of a model in training."""
    kept = [(buffer, tensor(buffer)) for buffer in target.buffers()] if hasattr(target, "buffers") else []
    try:
        yield
    finally:
        for buffer, values in kept:
            buffer.copy_(values)


@contextmanager
def _named_layers(target, records) -> Iterator[dict[int, str]]:
    """Number of a record -> path of the innermost module that ran then, where the target is a model."""
    names: dict[int, str] = {}
    if not hasattr(target, "named_modules"):
        yield names
        return
    from fastconv.nn.module import watching  # a function is explained without it

    paths = {id(module): path for path, module in target.named_modules()}

    def watch(module, forward):
        begin = len(records)
        result = forward()
        for index in range(begin, len(records)):
            names.setdefault(index, paths.get(id(module), ""))
        return result

    with watching(watch):
        yield names


def _aligned(cells, widths):
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def expected_kind(target) -> tuple[np.dtype, str]:
    """The dtype and the device of a model's first parameter; float32 and the host of all else."""
    parameters = target.parameters() if hasattr(target, "parameters") else ()
    return next(((item.dtype, item.device) for item in parameters), (np.dtype(np.float32), arrays.HOST))


def _arrays(target, args, kwargs) -> tuple[tuple, dict[str, Any]]:
    """The arguments, with zeros in the place of shapes."""
    dtype, device = expected_kind(target)
    if str(getattr(target, "__module__", "")).startswith("fastconv.functional."):
        expected = {**dict.fromkeys(_FLOATS, dtype), **_INTEGERS}
        names = [*inspect.signature(target).parameters, *[""] * len(args)]
        given = [_array(value, expected.get(name)) for name, value in zip(names, args, strict=False)]
        return tuple(given), {name: _array(value, expected.get(name)) for name, value in kwargs.items()}

    def array(position, value):
        is_array = position == 0 or (isinstance(value, tuple) and len(value) > 2)
        return _array(value, dtype if is_array else None, device)

    return tuple(map(array, range(len(args)), args)), {name: array(1, value) for name, value in kwargs.items()}


def _array(value, dtype, device=arrays.HOST):
    """Zeros in the place of a shape; what no array is expected for has no dtype, and stays."""
    is_shape = isinstance(value, tuple) and all(isinstance(extent, int) for extent in value)
    return arrays.moved(arrays.zeros(value, dtype), device) if is_shape and dtype is not None else value


def _step(record: LaunchRecord, layer: str) -> Step:
    problem, g = record.problem, record.problem.geometry
    weight = getattr(g, "weight_shape", None)
    operands, flops = [g.x_shape, g.out_shape, *([weight] if weight else [])], g.flops
    if record.op == "conv2d_grad_bias":
        operands, flops = [g.out_shape, (g.K,)], math.prod(g.out_shape)
    return Step(
        layer=layer,
        op=record.op,
        backend=record.backend,
        variant=record.variant,
        why=record.why,
        layout=" -> ".join(dict.fromkeys(problem.formats)),
        dtype=problem.dtype,
        shapes=" ".join("x".join(map(str, shape)) for shape in operands),
        flops=flops,
        nbytes=_elements(record, operands) * dtypes.named(problem.dtype).itemsize,
        workspace_bytes=record.workspace_bytes,
        weight=record.weight,
        fused=fused(problem),
        precision=record.precision,
        choice=record.choice,
    )


def _elements(record, operands) -> int:
    """What must be read and written once; of passes over arrays of one shape, all of them that are as large."""
    operation, problem = OPERATIONS[record.op], record.problem
    if isinstance(problem.geometry, (Conv2dGeometry, Pool2dGeometry)):
        return sum(map(math.prod, operands))
    absent = set(operation.optional) - problem.optional
    # What is changed in place is read before it is written.
    named = (*operation.inputs, *operation.outputs, *(operation.outputs if record.op.endswith("_") else ()))
    return math.prod(problem.geometry.x_shape) * len([name for name in named if name not in {*absent, *_SMALL}])


def fused(problem) -> tuple[str, ...]:
    """What a forward pass does besides: the operands that could be absent, and the activation."""
    added = [name for name in ("bias", "residual") if name in problem.optional]
    return (*added, *([problem.activation] if problem.activation else []))
