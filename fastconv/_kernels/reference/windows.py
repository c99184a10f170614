"""Which slices of the output and of the input meet at one tap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastconv.geometry import AdaptiveAxis, Axis, Pool2dGeometry


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


def window_positions(geometry: Pool2dGeometry) -> Iterator[tuple[int, int, list[int], list[int]]]:
    """(oh, ow, rows, cols) of every output: the input positions under its window, padding excluded."""
    for oh in range(geometry.rows.out):
        for ow in range(geometry.cols.out):
            rows, cols = tap_positions(geometry.rows, oh), tap_positions(geometry.cols, ow)
            yield oh, ow, list(rows.values()), list(cols.values())


def tap_positions(axis: Axis | AdaptiveAxis, output: int) -> dict[int, int]:
    """Tap -> input position of the taps of a window that are no padding, in ascending order."""
    if isinstance(axis, AdaptiveAxis):
        return dict(enumerate(range(axis.begin(output), axis.end(output))))
    positions = ((tap, output * axis.stride - axis.low + tap * axis.dilation) for tap in range(axis.kernel))
    return {tap: position for tap, position in positions if 0 <= position < axis.size}


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
