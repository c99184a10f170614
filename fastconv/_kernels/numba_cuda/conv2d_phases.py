"""The integers of a sum along one axis: which source positions meet which taps at which target positions."""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from fastconv.geometry import Axis


class Phase(NamedTuple):
    """Target positions ``first + i*step`` for i below ``count``, each with the same ``taps`` of the weight.

    Its tap number t is tap ``tap_first + t*tap_step`` and meets source position ``i*advance + start + t*per_tap``.
    """

    count: int
    first: int
    step: int
    taps: int
    tap_first: int
    tap_step: int
    advance: int
    start: int
    per_tap: int
    size: int


def forward_phase(axis: Axis) -> Phase:
    """All outputs have all taps."""
    return Phase(axis.out, 0, 1, axis.kernel, 0, 1, axis.stride, -axis.low, axis.dilation, axis.size)


def transposed_phases(axis: Axis) -> tuple[Phase, ...]:
    """Inputs that are a stride apart meet the same taps: those that lead from them to whole outputs."""
    return tuple(_transposed(axis, first) for first in range(min(axis.stride, axis.size)))


def _transposed(axis, first):
    """Input ``first + i*stride`` meets output i + (first + low - tap*dilation) / stride where that is whole."""
    stride, dilation = axis.stride, axis.dilation
    count = -(-(axis.size - first) // stride)
    tap_step = stride // gcd(stride, dilation)
    reach = first + axis.low
    tap_first = next((tap for tap in range(min(tap_step, axis.kernel)) if (reach - tap * dilation) % stride == 0), None)
    if tap_first is None:
        return Phase(count, first, stride, 0, 0, 1, 1, 0, 0, axis.out)
    taps = -(-(axis.kernel - tap_first) // tap_step)
    start, per_tap = (reach - tap_first * dilation) // stride, -tap_step * dilation // stride
    return Phase(count, first, stride, taps, tap_first, tap_step, 1, start, per_tap, axis.out)
