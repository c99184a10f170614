"""The plan of grad_input of small planes of many images: a vector holds one element of each of some images.

Nothing is multiplied with padding, and no lane is empty, however short rows are and however few channels there are.
What a forward pass computes of an image should not depend on how many there are: it has no such plan.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import axes, blocks
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import element_strides
from fastconv.geometry import Conv2dGeometry

_PLANS = 64
# The part of all lanes that must hold images.
_FILLED = 0.75
# Items that there should be, and blocks of rows at most that they are cut into: each block takes all gradients anew.
_ITEMS, _ROW_BLOCKS = 8, 4
# The vectors of an item should stay in the second cache.
_ITEM_BYTES = 1 << 19


@dataclass(frozen=True, slots=True, eq=False)
class ImagesPlan:
    """Items are (as many images as a vector has lanes, one of ``row_blocks`` even blocks of rows of grad_input).

    ``source_plane`` and ``target_plane`` are the vectors from channel to channel of grad_out and of grad_input.
    ``regions`` has rows (first entry, entries, first row, rows, first column, columns): targets that share their taps,
    whose sources are neighbours where they are. ``entries`` has (offset in the weight, pixel of the source) for the
    first of them; ``per_chunk`` are summed in one go.
    """

    source_strides: tuple[int, int, int, int]
    target_strides: tuple[int, int, int, int]
    source_plane: int
    target_plane: int
    items: int
    row_blocks: int
    regions: np.ndarray
    entries: np.ndarray
    per_chunk: int


@lru_cache(maxsize=_PLANS)
def images_plan(g: Conv2dGeometry, formats: tuple[str, str], unit: VectorUnit) -> ImagesPlan | str:
    """The plan, which depends on the problem and the vector unit alone, or why there is none."""
    rows, cols = (axes.grad_input_axis(axis, g.padding_mode) for axis in (g.rows, g.cols))
    planes = _plane(g.out_shape), _plane(g.x_shape)
    reason = _reason(g, (rows, cols), planes, unit)
    if reason:
        return reason
    regions, entries = _regions(rows, cols, g.cols.kernel, g.cols.out)
    vectors = -(-g.N // unit.lanes)
    row_blocks = min(g.rows.size, _ROW_BLOCKS, -(-_ITEMS // vectors))
    return ImagesPlan(
        source_strides=element_strides(g.out_shape, formats[0]),
        target_strides=element_strides(g.x_shape, formats[1]),
        source_plane=planes[0],
        target_plane=planes[1],
        items=vectors * row_blocks,
        row_blocks=row_blocks,
        regions=regions,
        entries=entries,
        per_chunk=blocks.BLOCK_TERMS // g.K,
    )


def _plane(shape: tuple[int, ...]) -> int:
    """Vectors of a channel: an odd number, so that those of one pixel share no set of a cache."""
    return shape[2] * shape[3] | 1


def _reason(g, plans, planes, unit):
    if g.groups > 1:
        return f"there are {g.groups} groups"
    if g.rows.kernel * g.cols.kernel == 1:
        return "one tap takes no longer than bringing images together"
    if unit.lanes < 2 * g.C:
        return f"{g.C} input channels fill a vector well enough"
    if blocks.filled(g.N, unit) < _FILLED:
        return f"{g.N} images leave lanes empty"
    if g.K > blocks.BLOCK_TERMS:
        return f"{g.K} output channels have more terms than are summed in one go"
    if (g.K * planes[0] + g.C * planes[1]) * unit.lanes * unit.itemsize > _ITEM_BYTES:
        return "the planes of a vector of images do not fit in the second cache"
    if not all((plan.runs[plan.runs[:, 1] > 1, 2:] == 1).all() for plan in plans):
        return "gradients of neighbouring pixels are sums of other taps"
    if g.K % unit.lanes == 0 and 2 * plans[1].runs[:, 1].max() >= g.cols.size:
        return f"{g.K} output channels are whole vectors, and most columns share their taps"
    return None


def _regions(rows: axes.AxisPlan, cols: axes.AxisPlan, kernel_cols: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Every run of rows with every run of columns."""
    regions: list[tuple[int, ...]] = []
    entries: list[np.ndarray] = []
    for row_run, col_run in itertools.product(rows.runs.tolist(), cols.runs.tolist()):
        (row_taps, row_sources), (col_taps, col_sources) = _tap_list(rows, row_run[0]), _tap_list(cols, col_run[0])
        taps = row_taps[:, None] * kernel_cols + col_taps
        pixels = row_sources[:, None] * width + col_sources
        regions.append((sum(len(listed) for listed in entries), taps.size, *row_run[:2], *col_run[:2]))
        entries.append(np.stack([taps.ravel(), pixels.ravel()], axis=1))
    return np.array(regions, np.int64), np.ascontiguousarray(np.concatenate(entries), np.int64)


def _tap_list(plan: axes.AxisPlan, target: int) -> tuple[np.ndarray, np.ndarray]:
    chosen = slice(plan.first[target], plan.first[target + 1])
    return plan.taps[chosen], plan.sources[chosen]
