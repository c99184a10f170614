"""The plan of grad_weight by Winograd's minimal filtering: how channels and tiles are shared out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import blocks, winograd
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import CHANNELS_LAST, element_strides
from fastconv.geometry import Conv2dGeometry

_PLANS = 256
# Channels of a part, in and out: each half of it needs the points of the other side once more, and twice as many sums
# no longer stay near.
_SIDE = 128
# Input channels below which a part is not cut.
_LEAST_CHANNELS = 32
# Items at least, where the problem allows it. A constant: partial sums must not depend on the number of threads.
_ITEMS = 8
# Tiles of a segment at least: adding its sums to the others' costs as much as some thirty of them.
_SEGMENT_TILES = 144
# Blocks of tiles whose sums are added one after the other, at most: so rounding errors stay small.
_SEGMENT_BLOCKS = 64


@dataclass(frozen=True, slots=True, eq=False)
class WinogradGradPlan:
    """grad_weight is cut into ``parts``, the ``tile_blocks`` of all images into ``segments``; an item is one of each.

    A part is (group, ``k_group`` blocks of output channels, one of ``c_blocks`` equal runs of input channels, the
    longest of which has ``c_block``). A tile has ``size`` x ``size`` outputs, an image ``tiles`` (rows, columns) of
    them, and x lies ``pads`` behind its padding. ``k_blocks`` has (first vector, vectors). The sums of the segments are
    added in their order.

    Elements of scratch: ``x_pitch`` and ``grad_pitch`` from tile to tile of what is transformed of x and of grad_out,
    ``x_step``, ``grad_step`` and, in an item's sums, ``sums_step`` from point to point. Where channels do not lie
    together, the pixels of a run of tiles of one row are brought together in a ``strip`` of so many elements, 0 where
    they do. ``why`` quotes the rule of choice.
    """

    size: int
    pads: tuple[int, int]
    tiles: tuple[int, int]
    grad_out_strides: tuple[int, int, int, int]
    x_strides: tuple[int, int, int, int]
    tile_blocks: int
    segments: int
    k_blocks: np.ndarray
    k_group: int
    c_blocks: int
    c_block: int
    parts: int
    x_pitch: int
    x_step: int
    grad_pitch: int
    grad_step: int
    sums_step: int
    strip: int
    why: str

    @property
    def points(self) -> int:
        """The products for each tile, input channel and output channel."""
        return (self.size + 2) ** 2

    @property
    def sums(self) -> int:
        """Elements of the sums of one item."""
        return self.points * self.sums_step

    @property
    def precision(self) -> str:
        """The strictest at which the size is chosen."""
        return winograd.GRAD_WEIGHT_CHOICES[self.size].precisions[0]


@lru_cache(maxsize=_PLANS)
def winograd_grad_plan(
    g: Conv2dGeometry, formats: tuple[str, str], size: int, unit: VectorUnit, precision: str | None
) -> WinogradGradPlan | str:
    """The plan for tiles of some size, or why there is none; with it every rounding depends on the problem alone.

    ``precision``: what was asked for, or None where the size was.
    """
    tiles = (-(-g.rows.out // size), -(-g.cols.out // size))
    count, choice = g.N * tiles[0] * tiles[1], winograd.GRAD_WEIGHT_CHOICES[size]
    facts = (min(g.C_g, g.K_g), min(g.rows.out, g.cols.out))
    reason = winograd.unsuited(g, unit) or (choice.rejection(*facts, precision, count) if precision else None)
    if reason:
        return reason
    tile_blocks = -(-count // winograd.BLOCK_TILES)
    block_tiles = -(-count // tile_blocks)
    k_blocks = blocks.channel_blocks(g.K_g, unit)
    width = int(k_blocks[:, 1].max()) * unit.lanes
    k_group, c_blocks, segments = _shared_out(g, len(k_blocks), width, count)
    c_block = -(-g.C_g // c_blocks)
    x_pitch, grad_pitch = (
        winograd.odd_lines(lanes, unit) for lanes in (winograd.whole_vectors(c_block, unit), k_group * width)
    )
    return WinogradGradPlan(
        size=size,
        pads=(g.rows.low, g.cols.low),
        tiles=tiles,
        grad_out_strides=element_strides(g.out_shape, formats[0]),
        x_strides=element_strides(g.x_shape, formats[1]),
        tile_blocks=tile_blocks,
        segments=max(segments, -(-tile_blocks // _SEGMENT_BLOCKS)),
        k_blocks=k_blocks,
        k_group=k_group,
        c_blocks=c_blocks,
        c_block=c_block,
        parts=g.groups * c_blocks * -(-len(k_blocks) // k_group),
        x_pitch=x_pitch,
        x_step=winograd.odd_lines(block_tiles * x_pitch, unit),
        grad_pitch=grad_pitch,
        grad_step=winograd.odd_lines(block_tiles * grad_pitch, unit),
        sums_step=winograd.odd_lines(k_group * width * c_block, unit),
        strip=_strip(formats, size, min(block_tiles, tiles[1]), c_block, k_group * width),
        why=choice.reason(*facts, precision, count) if precision else "it was asked for by name",
    )


def _strip(formats: tuple[str, str], size: int, run: int, c_block: int, outputs: int) -> int:
    """The gradients of a run of tiles, or the pixels under it."""
    grad_out = 0 if formats[0] == CHANNELS_LAST else size * run * size * outputs
    x = 0 if formats[1] == CHANNELS_LAST else (size + 2) * (run * size + 2) * c_block
    return max(grad_out, x)


def _shared_out(g: Conv2dGeometry, k_blocks: int, width: int, tiles: int) -> tuple[int, int, int]:
    """Blocks of output channels of a part, runs of input channels, segments: smaller parts where these do not pay."""
    k_group, c_blocks = blocks.even(k_blocks, max(1, _SIDE // width)), -(-g.C_g // _SIDE)
    while True:
        segments = -(-_ITEMS // (g.groups * c_blocks * -(-k_blocks // k_group)))
        if segments == 1 or tiles >= segments * _SEGMENT_TILES:
            return k_group, c_blocks, segments
        c_block = -(-g.C_g // c_blocks)
        if k_group > 1 and k_group * width >= c_block:
            k_group = -(-k_group // 2)
        elif c_block > _LEAST_CHANNELS:
            c_blocks *= 2
        else:
            return k_group, c_blocks, max(1, tiles // _SEGMENT_TILES)
