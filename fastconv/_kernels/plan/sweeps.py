"""Columns that the depthwise kernels walk over with lanes along channels, so that each source is loaded once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastconv._kernels.plan.axes import AxisPlan


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Columns whose taps have neighbouring sources; see fc_sweep."""

    start: int = 0
    count: int = 0
    source: int = 0
    step: int = 1
    phases: int = 1
    head: bool = False
    tail: bool = False
    first: int = 0
    direction: int = 0


def sweep(columns: AxisPlan, kernel: int) -> Sweep:
    """The longest one of three taps; no columns where there is none."""
    best = Sweep()
    for start, count, target_step, step in columns.runs.tolist() if kernel == 3 else ():
        make = _threes if target_step == 1 else _halves
        found = make(columns, start, count, step) if target_step <= 2 and step <= 2 else best
        best = found if found.count > best.count else best
    return best


def _threes(columns, start, count, step):
    """A run of columns with all three taps, and one column more at either side."""
    found = _entries(columns, start)
    if len(found) != 3:
        return Sweep()
    (first, source), (second, _), _ = found
    swept = Sweep(start, count, source, step, first=first, direction=second - first)
    if abs(swept.direction) != 1 or found != _expected(swept, 0, (0, 1, 2)):
        return Sweep()
    head = _entries(columns, start - 1) == _expected(swept, -1, (1, 2))
    tail = _entries(columns, start + count) == _expected(swept, count, (0, 1))
    start, source, count = start - head, source - head * step, count + head + tail
    return replace(swept, start=start, source=source, count=count, head=head, tail=tail)


def _expected(swept, number, taps):
    source = swept.source + number * swept.step
    return [(swept.first + k * swept.direction, source + k) for k in taps]


def _halves(columns, start, count, step):
    """A run of columns with the second tap alone and those between them, which have the others, as in grad_input."""
    found = _entries(columns, start)
    if step != 1 or len(found) != 1 or found[0][0] != 1:
        return Sweep()
    source = found[0][1]
    between = [_entries(columns, start + 2 * j + 1) for j in range(count)]
    whole = [[(2, source + j), (0, source + j + 1)] for j in range(count)]
    tail, alone = between[-1] == whole[-1][:1], not between[-1]
    ends = tail or alone or between[-1] == whole[-1]
    swept = Sweep(start, 2 * count - alone, source, phases=2, tail=tail, direction=1)
    return swept if ends and between[:-1] == whole[:-1] and not _cuts(columns, swept) else Sweep()


def _cuts(columns, swept):
    """Whether a run has targets inside and outside of the sweep."""
    ends = ((first, first + (count - 1) * step) for first, count, step, _ in columns.runs.tolist())
    span = range(swept.start, swept.start + swept.count)
    return any((first in span) != (last in span) for first, last in ends)


def _entries(columns, target):
    """(tap, source) of a column; none beyond the ends."""
    if not 0 <= target < len(columns.first) - 1:
        return []
    here = slice(columns.first[target], columns.first[target + 1])
    return list(zip(columns.taps[here].tolist(), columns.sources[here].tolist(), strict=True))
