"""Which slices of the output and of the input meet at one tap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastconv.geometry import Axis


class Tap(NamedTuple):
    """At tap (kh, kw), ``x[..., source]`` lies under ``out[..., target]``; both index the last two axes."""

    kh: int
    kw: int
    target: tuple[slice, slice]
    source: tuple[slice, slice]


def taps(rows: Axis, cols: Axis) -> Iterator[Tap]:
    """Every tap whose inputs are not all padding."""
    for kh in range(rows.kernel):
        for kw in range(cols.kernel):
            vertical, horizontal = _meeting(rows, kh), _meeting(cols, kw)
            if vertical and horizontal:
                yield Tap(kh, kw, (vertical[0], horizontal[0]), (vertical[1], horizontal[1]))


def _meeting(axis, tap):
    """Output o reads input o*stride - low + tap*dilation: the outputs for which that is inside, and those inputs."""
    shift = tap * axis.dilation - axis.low
    begin = max(0, -(shift // axis.stride))
    end = min(axis.out, (axis.size - 1 - shift) // axis.stride + 1)
    if begin >= end:
        return None
    first = begin * axis.stride + shift
    last = (end - 1) * axis.stride + shift
    return slice(begin, end), slice(first, last + 1, axis.stride)
