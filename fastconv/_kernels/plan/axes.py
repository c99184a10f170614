"""The entries of one axis, grouped as the kernels walk over them.

Along one axis a convolution is a set of *entries* (target, tap, source): the target position sums weight[tap] times
the source position. Padding, stride, dilation and padding mode exist only here, as entries that are there or not:

* forward: target = output position, source = input position
* grad_input: target = input position, source = output position (the same entries, read the other way)
* grad_weight: the entries sorted by tap

Targets whose entries differ only by a constant shift of their sources form a *run*, so that a kernel can treat several
of them with one list of taps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv import arrays
from fastconv.geometry import AdaptiveAxis, Axis

_INT = np.int64
# How many tables of (positions, taps) are alive at once while a plan is made.
_TABLES = 8
# Plans kept per direction: the axes of a few large networks.
_PLANS = 128


@dataclass(frozen=True, slots=True, eq=False)
class AxisPlan:
    """Entries grouped by target: those of target t are ``taps[first[t]:first[t + 1]]`` and ``sources[...]``.

    ``runs`` has one row (start, count, target_step, source_step) per run: targets start + j * target_step, whose
    sources are those of ``start`` plus j * source_step.
    """

    first: np.ndarray
    taps: np.ndarray
    sources: np.ndarray
    runs: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class TapPlan:
    """Entries grouped by tap, merged into segments.

    Those of tap k are rows ``first[k]:first[k + 1]`` of ``segments``: (target, source, count), meaning targets
    target + j and sources source + j * stride.
    """

    first: np.ndarray
    segments: np.ndarray


def source_table(axis: Axis | AdaptiveAxis, padding_mode: str = "zeros") -> np.ndarray:
    """The input position under every (output position, tap), or -1 where nothing is summed."""
    arrays.check_memory((_TABLES, axis.out, axis.kernel), _INT)
    if isinstance(axis, AdaptiveAxis):
        outputs = np.arange(axis.out, dtype=_INT)[:, None]
        position = axis.begin(outputs) + np.arange(axis.kernel, dtype=_INT)
        return np.where(position < axis.end(outputs), position, -1)
    starts = np.arange(axis.out, dtype=_INT) * axis.stride - axis.low
    position = starts[:, None] + np.arange(axis.kernel, dtype=_INT) * axis.dilation
    inside = (position >= 0) & (position < axis.size)
    if padding_mode == "replicate":
        return np.clip(position, 0, axis.size - 1)
    if padding_mode == "circular":
        return position % axis.size
    if padding_mode == "reflect":
        period = max(1, 2 * (axis.size - 1))
        folded = position % period
        return np.minimum(folded, period - folded) if axis.size > 1 else np.zeros_like(position)
    return np.where(inside, position, -1)


@lru_cache(maxsize=_PLANS)
def forward_axis(axis: Axis | AdaptiveAxis, padding_mode: str = "zeros") -> AxisPlan:
    """Entries of every output position, in ascending order of taps."""
    targets, taps, sources = _entries(axis, padding_mode)
    return _group(axis.out, targets, taps, sources, phases=1, source_step=_stride(axis))


@lru_cache(maxsize=_PLANS)
def grad_input_axis(axis: Axis | AdaptiveAxis, padding_mode: str = "zeros") -> AxisPlan:
    """Entries of every input position; runs step over the stride, so that each phase is a dense convolution."""
    targets, taps, sources = _entries(axis, padding_mode)
    # Descending taps give ascending sources, which the memory system prefers.
    order = np.lexsort((targets, -taps, sources))
    return _group(axis.size, sources[order], taps[order], targets[order], phases=_stride(axis), source_step=1)


@lru_cache(maxsize=_PLANS)
def grad_weight_axis(axis: Axis, padding_mode: str = "zeros") -> TapPlan:
    """Segments of every tap, in ascending order of output positions."""
    targets, taps, sources = _entries(axis, padding_mode)
    order = np.lexsort((targets, taps))
    targets, taps, sources = targets[order], taps[order], sources[order]
    same_tap = taps[1:] == taps[:-1]
    adjacent = same_tap & (targets[1:] == targets[:-1] + 1) & (sources[1:] == sources[:-1] + axis.stride)
    starts = np.flatnonzero(np.concatenate(([True], ~adjacent)))[: len(taps)]
    counts = np.diff(np.append(starts, len(taps)))
    segments = np.stack([targets[starts], sources[starts], counts], axis=1)
    first = np.searchsorted(taps[starts], np.arange(axis.kernel + 1)).astype(_INT)
    return _frozen(TapPlan(first, np.ascontiguousarray(segments, _INT)))


def _stride(axis):
    """Of windows that are unlike, any will do: they form no runs."""
    return 1 if isinstance(axis, AdaptiveAxis) else axis.stride


def _dilation(axis):
    return 1 if isinstance(axis, AdaptiveAxis) else axis.dilation


def _entries(axis, padding_mode):
    table = source_table(axis, padding_mode)
    targets, taps = np.nonzero(table >= 0)
    return targets.astype(_INT), taps.astype(_INT), table[targets, taps]


def _group(positions, targets, taps, sources, phases, source_step) -> AxisPlan:
    first = np.searchsorted(targets, np.arange(positions + 1)).astype(_INT)
    runs = _runs(positions, first, taps, sources, phases, source_step)
    return _frozen(AxisPlan(first, np.ascontiguousarray(taps), np.ascontiguousarray(sources), runs))


def _runs(positions, first, taps, sources, phases, source_step):
    """Split every phase into maximal runs: equal taps, sources that advance by ``source_step``."""
    order = np.concatenate([np.arange(phase, positions, phases) for phase in range(min(phases, positions))])
    continues = _continues(order, first, taps, sources, source_step)
    continues &= order[1:] == order[:-1] + phases
    starts = np.flatnonzero(np.concatenate(([True], ~continues)))
    counts = np.diff(np.append(starts, len(order)))
    columns = [order[starts], counts, np.full(len(starts), phases), np.full(len(starts), source_step)]
    return np.ascontiguousarray(np.stack(columns, axis=1), _INT)


def _continues(order, first, taps, sources, source_step):
    """Whether each position but the first of ``order`` has its predecessor's taps and shifted sources."""
    counts = np.diff(first)[order]
    same_count = counts[1:] == counts[:-1]
    pairs = np.flatnonzero(same_count)
    lengths = counts[1:][pairs]
    # Every entry of a position against the entry in the same place of its predecessor.
    pair_of = np.repeat(np.arange(len(pairs)), lengths)
    place = np.arange(len(pair_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    before = first[order[:-1][pairs]][pair_of] + place
    after = first[order[1:][pairs]][pair_of] + place
    differs = (taps[after] != taps[before]) | (sources[after] != sources[before] + source_step)
    result = same_count.copy()
    result[pairs[pair_of[differs]]] = False
    return result


def _frozen(plan):
    for name in plan.__slots__:
        getattr(plan, name).flags.writeable = False
    return plan


@lru_cache(maxsize=_PLANS)
def tap_positions(rows: Axis | AdaptiveAxis, cols: Axis | AdaptiveAxis) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every tap inside its window, dilation included, in the order kh * kW + kw."""
    arrays.check_memory((_TABLES, rows.kernel, cols.kernel), _INT)
    kh, kw = np.divmod(np.arange(rows.kernel * cols.kernel, dtype=_INT), cols.kernel)
    return kh * _dilation(rows), kw * _dilation(cols)
