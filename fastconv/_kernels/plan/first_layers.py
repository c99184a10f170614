"""The plan of a network's first layer on planes: vectors lie along the columns of its outputs, nothing is reordered.

Its input channels are few, so that a padded copy of some of their rows costs little beside the sums; its outputs are
many, so that gathering their planes from tiles of channels would cost much.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import blocks, depthwise
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import CONTIGUOUS
from fastconv.geometry import Conv2dGeometry

_PLANS = 64
# Input channels that are few; with more, there is work enough to hide what gathering planes costs.
_CHANNELS = 16
# The part of all lanes that must hold outputs, unless output channels would fill fewer.
_FILLED = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class FirstLayerPlan:
    """Items are (image, block of output rows); ``blocks`` has (first vector, vectors) of the columns of a row.

    ``padded`` is the copy of one channel's rows, ``plane`` its elements, ``buffer`` those of all channels and of what
    the last vector of a row reads behind them. ``entries`` has rows (offset in the weight, offset in the buffer), one
    for each tap, whose channels follow one another; ``per_chunk`` of them are summed in one go. ``needs_finite``: zeros
    stand for padding, and none may be multiplied by an infinite weight. ``streams``: the outputs of every row
    are whole cache lines, if the target begins with one, and better past the caches.
    """

    padded: depthwise.Padded
    blocks: np.ndarray
    entries: np.ndarray
    per_chunk: int
    plane: int
    buffer: int
    needs_finite: bool
    streams: bool


@lru_cache(maxsize=_PLANS)
def first_layer_plan(g: Conv2dGeometry, formats: tuple[str, str], unit: VectorUnit) -> FirstLayerPlan | str:
    """The plan, or why there is none."""
    if formats != (CONTIGUOUS, CONTIGUOUS):
        return "channels lie together"
    if g.groups > 1 or g.C >= _CHANNELS:
        return f"{g.groups} groups of {g.C_g} input channels are no first layer of less than {_CHANNELS}"
    vectors = -(-g.cols.out // unit.lanes)
    if _filled(g.cols.out, unit) < min(_FILLED, _filled(g.K, unit)):
        return f"rows of {g.cols.out} outputs leave lanes empty"
    padded = depthwise.padded(g.rows, g.cols, g.padding_mode, False, unit.itemsize)
    mark = max(int(lattice.marks.max()) for lattice in (padded.rows, padded.cols))
    if mark == depthwise.IRREGULAR:
        return "no padded copy holds what is summed"
    plane, row_blocks = padded.height * padded.pitch, blocks.channel_blocks(g.cols.out, unit)
    whole = g.cols.out % unit.lanes == 0
    return FirstLayerPlan(
        padded=padded,
        blocks=row_blocks,
        entries=_entries(padded, g.cols.kernel),
        per_chunk=max(1, blocks.BLOCK_TERMS // g.C),
        plane=plane,
        buffer=g.C * plane + vectors * unit.lanes,
        needs_finite=mark == depthwise.PADDED,
        streams=whole and blocks.streams(g.out_shape, row_blocks[:, 1] * unit.lanes, unit.itemsize),
    )


def _filled(count: int, unit: VectorUnit) -> float:
    """The part of the lanes of whole vectors that so many outputs take."""
    return count / (-(-count // unit.lanes) * unit.lanes)


def _entries(padded: depthwise.Padded, kernel_cols: int) -> np.ndarray:
    """Taps in ascending order of places, which the memory system prefers."""
    rows, cols = padded.rows, padded.cols
    taps = rows.taps[:, None] * kernel_cols + cols.taps
    places = rows.places[:, None] * padded.pitch + cols.places
    return np.ascontiguousarray(np.stack([taps.ravel(), places.ravel()], axis=1), np.int64)
