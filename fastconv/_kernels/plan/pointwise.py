"""The plan of pointwise convolution of planes, whose vectors lie along the pixels: nothing is reordered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import blocks
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import CONTIGUOUS
from fastconv.geometry import Conv2dGeometry

_PLANS = 256
# The part of all lanes that must hold pixels: reordering a small plane costs less than empty lanes.
_FILLED = 0.9
# Items at least, where output channels allow it.
_ITEMS = 8
# Output channels of an item at least: they share one reading of the pixels.
_FEW_CHANNELS = 32


@dataclass(frozen=True, slots=True, eq=False)
class PointwisePlan:
    """Items are (image, group, block of pixels, group of output channels); ``blocks`` has (first vector, vectors)."""

    C: int
    K: int
    pixels: int
    blocks: np.ndarray
    k_groups: int
    c_range: int


@lru_cache(maxsize=_PLANS)
def pointwise_plan(
    g: Conv2dGeometry, transposed: bool, formats: tuple[str, str], unit: VectorUnit
) -> PointwisePlan | str:
    """The plan, or why there is none."""
    if not blocks.is_pointwise(g):
        return "the kernel is not 1 x 1 with stride 1 and no padding"
    if formats != (CONTIGUOUS, CONTIGUOUS):
        return "channels lie together"
    pixels = g.rows.size * g.cols.size
    vectors = -(-pixels // unit.lanes)
    if pixels < _FILLED * vectors * unit.lanes:
        return f"planes of {pixels} pixels leave lanes empty"
    C, K = (g.K_g, g.C_g) if transposed else (g.C_g, g.K_g)
    pixel_blocks = blocks.channel_blocks(pixels, unit)
    k_groups = max(1, min(K // _FEW_CHANNELS, -(-_ITEMS // max(1, g.N * g.groups * len(pixel_blocks)))))
    return PointwisePlan(C, K, pixels, pixel_blocks, k_groups, blocks.even(C, blocks.BLOCK_TERMS))
