"""The plan of grad_weight of first layers on planes: vectors lie along the columns of a row of outputs.

Filters are few, and would fill few lanes. A row's gradients times the inputs under one tap are one vector of products
after the other, whose lanes are added up when all rows of a piece are summed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import blocks, depthwise
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import CONTIGUOUS
from fastconv.geometry import Axis, Conv2dGeometry

_PLANS = 64
# Input channels from which on tiles of other kernels are wide enough, unless filters leave more than this empty.
_MANY_CHANNELS, _FILLED = 6, 0.75
# Steps between neighbouring taps' inputs beyond which a tile has too few of them.
_TAP_STEP = 2
# A larger padded copy would leave the caches between two filters.
_COPY_BYTES = 1 << 22
# Segments at least, where the problem allows it. A constant: partial sums must not depend on the number of threads.
_SEGMENTS = 8
# Pieces of a segment at most.
_SPAN = 64


@dataclass(frozen=True, slots=True, eq=False)
class FirstLayerGradPlan:
    """Items are ``segments`` of the pieces; a piece is ``images`` x a block of rows of outputs.

    ``padded`` is the copy of one channel's rows, ``plane`` its elements, ``copy`` those of all channels of a piece and
    of what the last vector of a row reads behind them. A row of outputs has so many ``vectors``; where they are not
    whole, rows of ``pitch`` elements are copied, and continued by zeros, to ``gradients`` (both 0: read as they are).
    ``k_blocks`` has (first, count) of the filters of a tile. ``runs`` has rows (first tap, place in the copy, count):
    taps of a row, ``tap_step`` from one to the next, whose inputs lie ``x_shift`` apart.
    ``per_chunk`` rows are summed in one go, then added to the segment's sums, which are added in their order.
    ``needs_finite``: zeros stand for padding or for gradients. Where a sum is not finite, they may be the reason.
    """

    padded: depthwise.Padded
    vectors: int
    pitch: int
    k_blocks: np.ndarray
    runs: np.ndarray
    tap_step: int
    x_shift: int
    images: int
    pieces: int
    segments: int
    per_chunk: int
    plane: int
    copy: int
    gradients: int
    needs_finite: bool


@lru_cache(maxsize=_PLANS)
def first_layer_grad_plan(g: Conv2dGeometry, formats: tuple[str, str], unit: VectorUnit) -> FirstLayerGradPlan | str:
    """The plan, which depends on the problem and the vector unit alone, or why there is none."""
    vectors = -(-g.cols.out // unit.lanes)
    tap_step = g.cols.stride // math.gcd(g.cols.stride, g.cols.dilation)
    reason = _reason(g, formats, unit, tap_step)
    if reason:
        return reason
    padded = depthwise.padded(g.rows, g.cols, g.padding_mode, False, unit.itemsize)
    mark = max(int(lattice.marks.max()) for lattice in (padded.rows, padded.cols))
    if mark == depthwise.IRREGULAR:
        return "no padded copy holds what is summed"
    together = blocks.BLOCK_TERMS // vectors
    images = 1 if padded.blocks > 1 else blocks.even(g.N, max(1, min(together // padded.block, g.N // _SEGMENTS)))
    pieces = -(-g.N // images) * padded.blocks
    pitch = 0 if g.cols.out % unit.lanes == 0 else vectors * unit.lanes
    k_blocks = blocks.channel_blocks(g.K, replace(unit, lanes=1))
    plane, rows = padded.height * padded.pitch, images * padded.block
    copy = images * g.C * plane + vectors * unit.lanes
    if copy * unit.itemsize > _COPY_BYTES:
        return f"the rows of {g.C} input channels are too many for a padded copy"
    return FirstLayerGradPlan(
        padded=padded,
        vectors=vectors,
        pitch=pitch,
        k_blocks=k_blocks,
        runs=_runs(padded, g.cols, tap_step),
        tap_step=tap_step,
        x_shift=tap_step * g.cols.dilation // g.cols.stride,
        images=images,
        pieces=pieces,
        segments=min(pieces, max(_SEGMENTS, -(-pieces // _SPAN))),
        per_chunk=blocks.even(rows, together),
        plane=plane,
        copy=copy,
        gradients=int(k_blocks[:, 1].max()) * rows * pitch,
        needs_finite=mark == depthwise.PADDED or pitch > 0,
    )


def _reason(g, formats, unit, tap_step):
    if formats != (CONTIGUOUS, CONTIGUOUS):
        return "channels lie together"
    if g.groups > 1:
        return f"{g.groups} groups are no first layer"
    if unit.lanes < g.K:
        return f"{g.K} filters are more than a vector of {unit.lanes}"
    filters = blocks.filled(g.K, unit)
    if filters > _FILLED and g.C >= _MANY_CHANNELS:
        return f"{g.K} filters fill a vector well enough for {g.C} input channels"
    if blocks.filled(g.cols.out, unit) < filters:
        return f"rows of {g.cols.out} outputs leave more lanes empty than {g.K} filters do"
    if g.cols.kernel == 1 or tap_step > _TAP_STEP:
        return "too few taps of a row have inputs that are neighbours"
    if g.cols.out > blocks.BLOCK_TERMS * unit.lanes:
        return f"rows of {g.cols.out} outputs have more terms than are summed in one go"
    return None


def _runs(padded: depthwise.Padded, cols: Axis, tap_step: int) -> np.ndarray:
    """The inputs under a row's taps are neighbours where the stride is 1; else those under every so many are."""
    table = []
    for tap_row, place in enumerate(padded.rows.places.tolist()):
        for first in range(min(tap_step, cols.kernel)):
            taps = -(-(cols.kernel - first) // tap_step)
            table.append((tap_row * cols.kernel + first, place * padded.pitch + int(padded.cols.places[first]), taps))
    return np.array(table, np.int64)
