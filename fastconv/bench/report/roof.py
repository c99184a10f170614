"""The limits that points stand under, and the part of the plane that shows both with room for labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastconv.bench.records import TIMED, Record, Run
from fastconv.bench.report.style import significant

# Points; what follows is in inches, at this size.
LABEL_SIZE = 7
_CHARACTER = 0.06
_LABEL_HEIGHT = 0.15
_ABOVE_ALL = 0.25
# The most of the width that is kept free for labels.
_MOST_FOR_LABELS = 0.5


class Point(NamedTuple):
    """A timed record under the roof: FLOP per compulsory byte, GFLOP/s."""

    position: int
    record: Record
    x: float
    y: float


class Slope(NamedTuple):
    """GB/s of one level of memory."""

    level: str
    speed: float


class Roof(NamedTuple):
    """The limits of a thread count and dtype: GFLOP/s, and the levels of memory from slow to fast."""

    peak: float | None
    slopes: list[Slope]

    @property
    def peaks(self) -> list[float]:
        """The peak, if it is known."""
        return [self.peak] if self.peak else []

    @property
    def ridges(self) -> list[float]:
        """Where each slope reaches the peak, from right to left."""
        return [peak / slope.speed for peak in self.peaks for slope in self.slopes]


class Window(NamedTuple):
    """The ends of both axes, and their lengths in inches."""

    low: float
    high: float
    bottom: float
    top: float
    width: float
    height: float

    @property
    def angle(self) -> float:
        """The inclination of all slopes in radians."""
        return math.atan2(self.height / math.log(self.top / self.bottom), self.width / math.log(self.high / self.low))

    def distance(self, slower: Slope, faster: Slope) -> float:
        """Inches between two slopes."""
        return math.log(faster.speed / slower.speed, self.top / self.bottom) * self.height * math.cos(self.angle)


def points(run: Run) -> dict[tuple[int, str], list[Point]]:
    """By thread count and dtype."""
    found: dict[tuple[int, str], list[Point]] = {}
    for index, record in enumerate(run.records):
        if record.status == TIMED and record.time_median and record.flops > 0 and record.bytes > 0:
            point = Point(index, record, record.flops / record.bytes, record.flops / record.time_median / 1e9)
            found.setdefault((record.threads, record.dtype), []).append(point)
    return dict(sorted(found.items()))


def roof(run: Run, threads: int, dtype: str, under: Sequence[Point]) -> Roof:
    """What the machine block says, or, without a peak there, the highest that a record names."""
    limits: Mapping[str, Any] = next(
        (limit for limit in run.machine.get("limits") or () if limit.get("threads") == threads), {}
    )
    peak = (limits.get("peak_gflops") or {}).get(dtype)
    if not peak:
        peak = max((point.record.peak_gflops or 0 for point in under), default=0) or None
    slopes = []
    for level, speeds in (limits.get("bandwidths") or {}).items():
        fastest = max((speed or 0 for kind, speed in speeds.items() if kind != "bytes"), default=0)
        if fastest:
            slopes.append(Slope(level, fastest))
    return Roof(peak, sorted(slopes, key=lambda slope: slope.speed))


def window(above: Roof, under: Sequence[Point], width: float, height: float) -> Window:
    """All points and ridges; left of them enough of every slope to label it, above them a line of text."""
    alone = _window(above, under, width, height, [[slope] for slope in above.slopes])
    return _window(above, under, width, height, neighbours(above, alone), math.cos(alone.angle))


def neighbours(above: Roof, view: Window) -> list[list[Slope]]:
    """Slopes from slow to fast; those between which no label has room are together."""
    groups: list[list[Slope]] = []
    for slope in above.slopes:
        if groups and view.distance(groups[-1][-1], slope) < _LABEL_HEIGHT:
            groups[-1].append(slope)
        else:
            groups.append([slope])
    return groups


def label(group: Sequence[Slope]) -> str:
    """The levels and their speeds, the uppermost slope first."""
    return ", ".join(f"{slope.level}: {significant(slope.speed)}" for slope in reversed(group)) + " GB/s"


def _window(above, under, width, height, groups, cosine=1.0):
    xs = [point.x for point in under]
    edge, high = min([min(xs) / 1.5, *above.ridges]), 2.5 * max(xs + above.ridges)
    length = max((len(label(group)) * _CHARACTER * cosine + _LABEL_HEIGHT for group in groups), default=0.0)
    low = _extended(high, edge, min(length / width, _MOST_FOR_LABELS))
    ys = [point.y for point in under] + [slope.speed * low for slope in above.slopes] + above.peaks
    bottom = min(min(ys) / 2, max(ys) / 20)
    return Window(low, high, bottom, _extended(bottom, max(ys), _ABOVE_ALL / height), width, height)


def _extended(far: float, near: float, share: float) -> float:
    """The end of a logarithmic axis from ``far`` that leaves a share of its length free beyond ``near``."""
    return near * (near / far) ** (share / (1 - share))
