"""The plan of a network's first layers on planes: vectors lie along the columns of the results, nothing is reordered.

The channels that are summed are few, so that a padded copy of some of their rows costs little beside the sums, and the
results are many, so that gathering their planes from tiles of channels would cost much. In grad_input the gradient's
channels are summed, and its results fill no vector with their channels.
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
# Channels to sum that are few; with more, there is work enough to hide what gathering planes costs.
_CHANNELS = 15
_GRAD_CHANNELS = 16
# The part of all lanes that must hold outputs, unless output channels would fill fewer; and the least part that must in
# grad_input, whose other kernels have more to reorder.
_FILLED = 0.9
_GRAD_FILLED = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class FirstLayerPlan:
    """Items are (image, block of rows of the target); ``blocks`` has (first vector, vectors) of the columns of a row.

    ``source_shape`` and ``target_shape`` are (N, channels, rows, columns); ``weight_steps`` has the elements from a
    source channel's taps to the next one's, and from a target channel's.
    ``padded`` is the copy of one channel's rows, ``plane`` its elements, ``buffer`` those of all channels and of what
    the last vector of a row reads behind them. ``entries`` has rows (offset in the weight, offset in the buffer), one
    for each tap, whose channels follow one another; ``per_chunk`` of them are summed in one go. ``needs_finite``: zeros
    stand for padding, and none may be multiplied by an infinite weight. ``streams``: the outputs of every row
    are whole cache lines, if the target begins with one, and better past the caches.
    """

    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    weight_steps: tuple[int, int]
    padded: depthwise.Padded
    blocks: np.ndarray
    entries: np.ndarray
    per_chunk: int
    plane: int
    buffer: int
    needs_finite: bool
    streams: bool


@lru_cache(maxsize=_PLANS)
def first_layer_plan(
    g: Conv2dGeometry, formats: tuple[str, str], unit: VectorUnit, transposed: bool
) -> FirstLayerPlan | str:
    """The plan of forward, or of grad_input where ``transposed``; or why there is none."""
    reason = _reason(g, formats, unit, transposed)
    if reason:
        return reason
    padded = depthwise.padded(g.rows, g.cols, g.padding_mode, transposed, unit.itemsize)
    mark = max(int(lattice.marks.max()) for lattice in (padded.rows, padded.cols))
    if mark == depthwise.IRREGULAR:
        return "no padded copy holds what is summed"
    source, target = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
    steps = g.rows.kernel * g.cols.kernel, g.C * g.rows.kernel * g.cols.kernel
    channels, cols = source[1], target[3]
    row_blocks, vectors = blocks.channel_blocks(cols, unit), -(-cols // unit.lanes)
    plane = padded.height * padded.pitch
    return FirstLayerPlan(
        source_shape=source,
        target_shape=target,
        weight_steps=steps[::-1] if transposed else steps,
        padded=padded,
        blocks=row_blocks,
        entries=_entries(padded, g.cols.kernel),
        per_chunk=max(1, blocks.BLOCK_TERMS // channels),
        plane=plane,
        buffer=channels * plane + vectors * unit.lanes,
        needs_finite=mark == depthwise.PADDED,
        streams=cols % unit.lanes == 0 and blocks.streams(target, row_blocks[:, 1] * unit.lanes, unit.itemsize),
    )


def _reason(g, formats, unit, transposed):
    if formats != (CONTIGUOUS, CONTIGUOUS):
        return "channels lie together"
    if g.groups > 1:
        return f"{g.groups} groups are no first layer"
    if transposed:
        return _grad_input_reason(g, unit)
    if g.C > _CHANNELS:
        return f"{g.C} input channels are no first layer of at most {_CHANNELS}"
    if blocks.filled(g.cols.out, unit) < min(_FILLED, blocks.filled(g.K, unit)):
        return f"rows of {g.cols.out} outputs leave lanes empty"
    return None


def _grad_input_reason(g, unit):
    if g.rows.stride * g.cols.stride > 1:
        return "gradients of neighbouring columns are sums of other taps"
    if g.K > _GRAD_CHANNELS:
        return f"{g.K} output channels are more than {_GRAD_CHANNELS}"
    if blocks.filled(g.cols.size, unit) < _GRAD_FILLED:
        return f"rows of {g.cols.size} leave most lanes empty"
    if blocks.filled(g.cols.size, unit) < blocks.filled(g.C, unit):
        return f"{g.C} input channels leave fewer lanes empty than rows of {g.cols.size}"
    return None


def _entries(padded: depthwise.Padded, kernel_cols: int) -> np.ndarray:
    """Taps in ascending order of places, which the memory system prefers."""
    rows, cols = padded.rows, padded.cols
    taps = rows.taps[:, None] * kernel_cols + cols.taps
    places = rows.places[:, None] * padded.pitch + cols.places
    return np.ascontiguousarray(np.stack([taps.ravel(), places.ravel()], axis=1), np.int64)
