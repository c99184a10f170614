"""The plan of forward and grad_input with few target channels, whose vectors lie along the target's rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import blocks
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import element_strides
from fastconv.geometry import Axis, Conv2dGeometry

_PLANS = 256
# Target channels at most: one tile must hold them all, and with more of them a vector of channels is full enough.
_MOST_CHANNELS = 6
# Source channels at least: fewer do not pay for spreading the result over its pixels.
_LEAST_SOURCES = 8
# Elements of source planes that a thread holds: they should stay in the second cache.
_SCRATCH = 100_000
_ITEMS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Phases:
    """The taps of each phase of an axis: target p + j * phases reads source j + offset for the pairs (tap, offset).

    Those of phase p are ``pairs[first[p]:first[p + 1]]``; offsets lie in ``lowest`` .. ``highest``.
    """

    first: np.ndarray
    pairs: np.ndarray
    phases: int
    sources: int
    targets: int
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True, eq=False)
class FewOutputsPlan:
    """Items are (image, group, block of target rows). A thread's scratch holds ``scratch_rows`` rows of ``pitch``
    elements for each source channel; entries are counted as in SumPlan. ``c_range`` divides C.
    """

    rows: Phases
    cols: Phases
    source_strides: tuple[int, int, int, int]
    target_strides: tuple[int, int, int, int]
    C: int
    K: int
    c_range: int
    row_block: int
    block_count: int
    scratch_rows: int
    pitch: int
    entries: int


@lru_cache(maxsize=_PLANS)
def few_outputs_plan(
    g: Conv2dGeometry, transposed: bool, formats: tuple[str, str], unit: VectorUnit
) -> FewOutputsPlan | str:
    """The plan, or why there is none."""
    C, K = (g.K_g, g.C_g) if transposed else (g.C_g, g.K_g)
    c_range = _dividing_range(C)
    reason = _reason(g, transposed, C, K, c_range, unit)
    if reason:
        return reason
    make = _grad_input_phases if transposed else _forward_phases
    rows, cols = make(g.rows), make(g.cols)
    vectors = -(-cols.targets // (cols.phases * unit.lanes))
    pitch = max(vectors * unit.lanes + cols.highest, cols.sources) - cols.lowest
    halo = rows.highest - rows.lowest + 1
    height = max(1, _SCRATCH // (C * pitch) - halo) * rows.phases
    row_block = blocks.even(rows.targets, min(height, max(rows.phases, -(-rows.targets * g.N * g.groups // _ITEMS))), rows.phases)
    shapes = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
    return FewOutputsPlan(
        rows, cols, *(element_strides(s, f) for s, f in zip(shapes, formats, strict=True)), C, K, c_range, row_block,
        block_count=-(-rows.targets // row_block),
        scratch_rows=-(-row_block // rows.phases) + halo,
        pitch=pitch,
        entries=len(rows.pairs) * len(cols.pairs) * (C // c_range),
    )  # fmt: skip


def _reason(g, transposed, C, K, c_range, unit) -> str | None:
    if K > min(_MOST_CHANNELS, unit.lanes // 2):
        return f"{K} target channels fill a vector well enough"
    if C < _LEAST_SOURCES:
        return f"{C} source channels are too few"
    if g.padding_mode != "zeros":
        return "the padding is not of zeros"
    if not transposed and (g.rows.stride, g.cols.stride) != (1, 1):
        return "the stride is not 1"
    return None if c_range else f"{C} source channels have no divisor near {blocks.BLOCK_TERMS}"


def _dividing_range(channels: int) -> int:
    """The largest divisor that is a block of terms at most, or 0 where it would be a small part of one."""
    parts = -(-channels // blocks.BLOCK_TERMS)
    return next((channels // n for n in range(parts, 2 * parts + 1) if channels % n == 0), 0)


def _forward_phases(axis: Axis) -> Phases:
    pairs = [(tap, tap * axis.dilation - axis.low) for tap in range(axis.kernel)]
    return _phases([pairs], axis.size, axis.out)


def _grad_input_phases(axis: Axis) -> Phases:
    """Input t = o * stride - low + tap * dilation, solved for the output o; ascending offsets."""
    table = []
    for phase in range(axis.stride):
        shifts = [(tap, phase + axis.low - tap * axis.dilation) for tap in reversed(range(axis.kernel))]
        table.append([(tap, shift // axis.stride) for tap, shift in shifts if shift % axis.stride == 0])
    return _phases(table, axis.out, axis.size)


def _phases(table, sources, targets) -> Phases:
    pairs = [pair for phase in table for pair in phase]
    first = np.cumsum([0] + [len(phase) for phase in table], dtype=np.int64)
    offsets = [offset for _, offset in pairs]
    lowest, highest = min(0, *offsets), max(0, *offsets)
    return Phases(first, np.array(pairs, np.int64).reshape(-1, 2), len(table), sources, targets, lowest, highest)
