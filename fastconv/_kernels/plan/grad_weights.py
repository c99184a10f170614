"""The plan of grad_weight: tiles of output channels x input channels, summed over the outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import axes, blocks
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import CHANNELS_LAST, element_strides
from fastconv.geometry import Axis, Conv2dGeometry

_PLANS = 256
# Outputs that are summed in one go: their gradients stay in the second cache while all taps and channels read them.
_PIXELS = 448
# How many of their sums are added up before they go to the total.
_SPAN = 64
# Sums of one item: they, too, should stay in the second cache.
_SUMS = 1 << 16
# A pixel step of grad_out that is a multiple of so many elements makes its pixels share a few sets of the first cache.
_ALIASING = 512


@dataclass(frozen=True, slots=True, eq=False)
class GradWeightPlan:
    """Work is cut into items: (group, block of output channels, ``c_block`` input channels, ``tap_block`` tap rows).

    An item sums over all outputs in parts of ``images`` x ``row_block`` x ``col_block``; after every ``span`` parts
    its sums go to a total. ``sums``, ``packed`` and ``entries`` are the elements of scratch that a thread needs: the
    sums (as many again for the total), gradients of a part with their channels together (0: read where they are), and
    the table of offsets (two integers each).
    """

    rows: axes.TapPlan
    cols: axes.TapPlan
    out_shape: tuple[int, int, int, int]
    grad_out_strides: tuple[int, int, int, int]
    x_strides: tuple[int, int, int, int]
    k_blocks: np.ndarray
    c_block: int
    tap_block: int
    images: int
    row_block: int
    col_block: int
    span: int
    sums: int
    packed: int
    entries: int
    items: int


@lru_cache(maxsize=_PLANS)
def grad_weight_plan(
    geometry: Conv2dGeometry, formats: tuple[str, str], unit: VectorUnit, threads: int
) -> GradWeightPlan:
    """The plan for ``threads`` threads; results do not depend on their number."""
    g = _in_one_row(geometry) if _is_pointwise(geometry) else geometry
    rows, cols = (axes.grad_weight_axis(axis, g.padding_mode) for axis in (g.rows, g.cols))
    k_blocks = blocks.channel_blocks(g.K_g, unit)
    width = unit.lanes * int(k_blocks[:, 1].max())
    c_block, tap_block = _part(g, len(k_blocks), width, threads)
    images, row_block, col_block = _pixels(g)
    sums = tap_block * g.cols.kernel * c_block * width
    packs = formats[0] != CHANNELS_LAST or g.K_g % unit.lanes or g.K % _ALIASING == 0
    items = g.groups * len(k_blocks) * -(-g.C_g // c_block) * -(-g.rows.kernel // tap_block)
    strides = (element_strides(s, f) for s, f in zip((g.out_shape, g.x_shape), formats, strict=True))
    return GradWeightPlan(
        rows, cols, g.out_shape, *strides, k_blocks, c_block, tap_block, images, row_block, col_block, _SPAN,
        sums=sums,
        packed=images * row_block * col_block * width if packs else 0,
        entries=images * row_block,
        items=items,
    )  # fmt: skip


def _is_pointwise(g: Conv2dGeometry) -> bool:
    return all(axis.kernel == axis.stride == 1 and axis.low == axis.high == 0 for axis in (g.rows, g.cols))


def _in_one_row(g: Conv2dGeometry) -> Conv2dGeometry:
    """A pointwise convolution with all pixels of an image in one row, so that no sum ends at the end of a row."""
    pixels = g.rows.size * g.cols.size
    return replace(g, rows=Axis(1, 1, 1, 0, 0, 1, 1), cols=Axis(pixels, 1, 1, 0, 0, 1, pixels))


def _pixels(g: Conv2dGeometry) -> tuple[int, int, int]:
    """Images, rows and columns of the outputs that are summed in one go."""
    cols = blocks.even(g.cols.out, _PIXELS)
    rows = blocks.even(g.rows.out, max(1, _PIXELS // cols))
    images = 1 if rows * cols < g.rows.out * g.cols.out else max(1, min(g.N, _PIXELS // (rows * cols)))
    return images, rows, cols


def _part(g: Conv2dGeometry, k_blocks: int, width: int, threads: int) -> tuple[int, int]:
    """Input channels and tap rows of one item: few enough for the cache and for all threads to have work."""
    row = g.cols.kernel * width
    tap_block = blocks.even(g.rows.kernel, max(1, _SUMS // row))
    c_block = blocks.even(g.C_g, max(1, _SUMS // (row * tap_block)))
    parts = g.groups * k_blocks
    while parts * -(-g.C_g // c_block) * -(-g.rows.kernel // tap_block) < 4 * threads:
        if c_block > 12:
            c_block = -(-c_block // 2)
        elif tap_block > 1:
            tap_block = -(-tap_block // 2)
        elif c_block > 1:
            c_block = -(-c_block // 2)
        else:
            break
    return c_block, tap_block
