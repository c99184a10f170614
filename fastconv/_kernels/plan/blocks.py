"""How channels, rows and images are cut into what one tile, one item of work and one block of a sum own."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from fastconv._kernels.plan.axes import AxisPlan
from fastconv.geometry import Conv2dGeometry, Shape

# Terms that are summed before their sum is added to the others', so that rounding errors stay small.
BLOCK_TERMS = 160
# Fewer terms are not worth a sum of their own.
LEAST_TERMS = 32
# Terms that one pass over an item's pixels sums: the packed weights of a block of channels (64 of float32: 80 KB) stay
# in the second cache meanwhile.
RANGE_TERMS = 320
# Bytes of a target from which on it goes past the caches: most last levels are not larger, and would lose it, and the
# source with it, before another layer reads it. A smaller one stays where that layer finds it.
STREAMED_BYTES = 1 << 25
_LINE = 64
# Target pixels of one item: enough to read the weights from the second cache, few enough to share out.
ITEM_PIXELS = 256


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """What the plan knows of a machine and a dtype: lanes of a vector, vectors of a tile at most, columns of the widest
    tile, bytes of an element."""

    lanes: int
    vectors: int
    columns: int
    itemsize: int


def channel_blocks(channels: int, unit: VectorUnit) -> np.ndarray:
    """Rows (first vector, vectors): blocks of at most ``unit.vectors``, as equal as they can be."""
    vectors = -(-channels // unit.lanes)
    count = -(-vectors // unit.vectors)
    bounds = [block * vectors // count for block in range(count + 1)]
    return np.array([(low, high - low) for low, high in itertools.pairwise(bounds)], np.int64)


def even(total: int, most: int, multiple: int = 1) -> int:
    """The size of equal parts of ``total``, at most ``most`` (or ``multiple``, if that is more) and a multiple."""
    parts = -(-total // max(most, multiple))
    return min(total, -(-total // (parts * multiple)) * multiple)


def filled(count: int, unit: VectorUnit) -> float:
    """The part of the lanes of whole vectors that so many elements take."""
    return count / (-(-count // unit.lanes) * unit.lanes)


def row_blocks(rows: AxisPlan, height: int) -> np.ndarray:
    """Rows (first target row, end, first source row, end) of blocks of so many target rows."""
    table, targets = [], len(rows.first) - 1
    for low in range(0, targets, height):
        high = min(targets, low + height)
        sources = rows.sources[rows.first[low] : rows.first[high]]
        table.append((low, high, int(sources.min()), int(sources.max()) + 1) if len(sources) else (low, high, 0, 0))
    return np.array(table, np.int64)


def channel_range(channels: int, taps: int, tap_cols: int, lanes: int) -> int:
    """Input channels that are summed in one pass: all, where a row of taps over them fits in it."""
    if tap_cols * channels <= RANGE_TERMS:
        return channels
    return even(channels, RANGE_TERMS // taps // lanes * lanes, lanes)


def is_streamed(nbytes: int) -> bool:
    """Whether a target of so many bytes is better written past the caches."""
    return nbytes >= STREAMED_BYTES


def streams(target: Shape, widths: np.ndarray, itemsize: int) -> bool:
    """Whether a target goes past the caches that is written in runs of ``widths`` elements.

    Part of a line would be read before it is written, or be sent to memory more than once.
    """
    return is_streamed(math.prod(target) * itemsize) and not (widths * itemsize % _LINE).any()


def is_pointwise(g: Conv2dGeometry) -> bool:
    """Whether every output is a sum over the channels of one input pixel, the one in the same place."""
    return all(axis.kernel == axis.stride == 1 and axis.low == axis.high == 0 for axis in (g.rows, g.cols))
