"""The plan of forward and grad_input: target = sum over taps and channels of weight * source."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv._kernels.plan import axes, blocks
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import CONTIGUOUS, element_strides
from fastconv.geometry import Axis, Conv2dGeometry, Shape

_PLANS = 256
_PACKINGS = 4096
# Multiply-adds with one source value, below which it matters how often it is copied from its plane: higher blocks of
# rows then share the rows between them, as long as they fit in the second cache.
_CHEAP_PIXEL = 256
_PACKED = 150_000
# Target pixels of which no item is cut: a few tiles.
_FEWEST_PIXELS = 16
# Weights whose packing costs less than handing it to the threads as a task of its own.
_FEW_WEIGHTS = 1 << 13
# Items that read the same weights, up to which each packs them for itself: weights that one core packs for another
# travel between their caches. Packing a weight was measured as 0.2 ns, reading it so as 0.5 to 2 ns.
_FEW_READERS = 2
# Weights, each counted for every item that reads it, up to which they are not packed if they can be read in place.
_NEAR_WEIGHTS = 1 << 18
# Packed weights that a thread holds from item to item: they share the second cache with what a tile reads.
_HELD_BYTES = 1 << 19
# Bytes of packed weights, from which on a tile asks for its part of the next range's: the second cache may hold fewer.
_FAR_BYTES = 1 << 19
# Items to a thread, up to which it gets them all at once; of more it gets a quarter at a time.
_FEW_ITEMS = 8


@dataclass(frozen=True, slots=True, eq=False)
class SumPlan:
    """Work is cut into items: (group of images, group of channels, block of target rows, group of channel blocks).

    ``row_blocks`` has rows (first, end, first source row, end of source rows), ``k_blocks`` (first vector, vectors).
    A target of K sums over C channels. Where groups of few channels are ``joined``, so many are treated as one of
    ``source_channels``, of which each target sums over C.

    ``packed_source``, ``sums``, ``packed_target``, ``packed_weight`` and ``entries`` are the elements of scratch that a
    thread needs: channels of planes brought together with ``pixel_step`` elements from pixel to pixel, sums between two
    ranges of input channels, a block of the result before it is spread over planes, weights of a block of output
    channels and a range of input channels (0: many, and several items read them: all are packed beforehand), the table
    of offsets (two integers each).
    ``holds``: all items read the same weights, those of one group and one block, and a thread holds all their ranges
    through its ``held_items``. ``repacks``: a thread on its own would pack the same weights more than once.
    ``in_place``: a block's weights of one sum lie together in memory, as they do in grad_input of 1 x 1 layers, and are
    read there where they are not packed. ``far_weights``: there are so many that those of the next range are to be
    asked for.
    Of the source rows from the first one on, every ``row_step``-th is read.
    ``streams``: every item writes whole cache lines, if the target begins with one, and better past the caches.
    """

    rows: axes.AxisPlan
    cols: axes.AxisPlan
    source_strides: tuple[int, int, int, int]
    target_strides: tuple[int, int, int, int]
    groups: int
    joined: int
    source_channels: int
    C: int
    K: int
    row_blocks: np.ndarray
    row_step: int
    k_blocks: np.ndarray
    images: int
    k_group: int
    c_range: int
    pixel_step: int
    packed_source: int
    sums: int
    packed_target: int
    packed_weight: int
    holds: bool
    repacks: bool
    in_place: bool
    far_weights: bool
    entries: int
    items: int
    streams: bool


class Packing:
    """How packed weights lie in memory: one object for all plans that lay them out alike."""

    __slots__ = ()


def packing(made: SumPlan, backend: str, dtype: str, weight_shape: Shape, *, transposed: bool, dots: bool) -> Packing:
    """The packing of a plan for a backend: most often it depends on the weight alone, not on images and pixels."""
    alike = (made.groups, made.joined, made.C, made.K, made.c_range, made.k_blocks.tobytes())
    return _packing(backend, dtype, weight_shape, transposed, dots, *alike)


@lru_cache(maxsize=_PACKINGS)
def _packing(*alike) -> Packing:
    return Packing()


@lru_cache(maxsize=_PLANS)
def sum_plan(
    geometry: Conv2dGeometry,
    transposed: bool,
    formats: tuple[str, str],
    unit: VectorUnit,
    threads: int,
    dots: bool,
    joined: int = 1,
) -> SumPlan:
    """The plan for ``threads`` threads, on whose number no result depends.

    ``dots``: target channels are few, and the lanes hold source channels instead, whose products are summed at the end.
    """
    g = _flattened(replace(geometry, groups=geometry.groups // joined))
    rows, cols, (source, source_channels), (target, K) = _roles(g, transposed)
    C, taps = source_channels // joined, g.rows.kernel * g.cols.kernel
    k_blocks = blocks.channel_blocks(K, replace(unit, lanes=1) if dots else unit)
    packs_source = _is_planar(source, formats[0], source_channels)
    packs_target = _is_planar(target, formats[1], K) and not dots
    images, height, k_group = _item(g.N * g.groups, target, len(k_blocks), taps if packs_source else 0, threads)
    if packs_source and K * taps <= _CHEAP_PIXEL:
        height = max(height, min(target[2], 4 * g.rows.extent, _PACKED // (source_channels * target[3])))
    row_blocks = blocks.row_blocks(rows, height)
    c_range = C if dots or joined > 1 else blocks.channel_range(C, taps, g.cols.kernel, unit.lanes)
    pixels, width = images * height * target[3], unit.vectors * unit.lanes
    k_widths = k_blocks[:, 1] * (1 if dots else unit.lanes)
    readers = -(-g.N // images) * len(row_blocks)
    items = readers * g.groups * -(-len(k_blocks) // k_group)
    is_one_block = g.groups == len(k_blocks) == 1
    are_rows = transposed and taps == joined == 1 and not (dots or K % unit.lanes)
    # What an item writes in one go: rows of a plane, or channels of a pixel.
    widths = (row_blocks[:, 1] - row_blocks[:, 0]) * target[3] if packs_target else k_widths
    return SumPlan(
        rows=rows,
        cols=cols,
        source_strides=element_strides(source, formats[0]),
        target_strides=element_strides(target, formats[1]),
        groups=g.groups,
        joined=joined,
        source_channels=source_channels,
        C=C,
        K=K,
        row_blocks=row_blocks,
        row_step=_row_step(rows),
        k_blocks=k_blocks,
        images=images,
        k_group=k_group,
        c_range=c_range,
        pixel_step=_pixel_step(source_channels, unit.lanes),
        packed_source=_packed_source(images, row_blocks, source, source_channels, joined, unit) if packs_source else 0,
        sums=width * (pixels if c_range < C else unit.columns),
        packed_target=pixels * width if packs_target else 0,
        entries=_most_taps(rows, cols) * -(-c_range // blocks.BLOCK_TERMS),
        items=items,
        streams=not (dots or K % unit.lanes) and blocks.streams(target, widths, unit.itemsize),
        **_weights(g, (C, c_range, K), int(k_widths.max()), readers, is_one_block, are_rows, unit.itemsize),
    )


def _roles(g: Conv2dGeometry, transposed: bool) -> tuple[axes.AxisPlan, axes.AxisPlan, tuple, tuple]:
    """Plans of both axes, then shape and channels of a group of the source and of the target."""
    make = axes.grad_input_axis if transposed else axes.forward_axis
    x, out = (g.x_shape, g.C_g), (g.out_shape, g.K_g)
    return make(g.rows, g.padding_mode), make(g.cols, g.padding_mode), *((out, x) if transposed else (x, out))


def _weights(g, channels, width, readers, is_one_block, are_rows, itemsize) -> dict[str, Any]:
    """How weights come to the items: the fields of the plan that say so. ``channels``: C, those of a range, K."""
    taps = g.rows.kernel * g.cols.kernel
    C, c_range, K = channels
    block, weights = C * taps * width, K * C * taps
    in_place = are_rows and (readers <= _FEW_READERS or readers * weights <= _NEAR_WEIGHTS)
    holds = is_one_block and readers > 1 and not in_place and block * itemsize <= _HELD_BYTES
    packs = not in_place and (readers <= _FEW_READERS or readers * weights <= _FEW_WEIGHTS)
    return {
        "packed_weight": block if holds else c_range * taps * width if packs else 0,
        "holds": holds,
        "repacks": readers > 1 and not (holds or in_place),
        "in_place": in_place,
        "far_weights": g.groups * weights * itemsize > _FAR_BYTES,
    }


def held_items(items: int, threads: int) -> int:
    """Items that a thread should get at once, so that it seldom packs the weights that it holds."""
    return -(-items // (threads if items <= _FEW_ITEMS * threads else 4 * threads))


def _packed_source(images, row_blocks, source, channels, joined, unit) -> int:
    """All rows of the block that reads most; with joined groups, the last pixel's vector ends behind its channels."""
    rows = images * int((row_blocks[:, 3] - row_blocks[:, 2]).max())
    return rows * source[3] * _pixel_step(channels, unit.lanes) + (unit.lanes if joined > 1 else 0)


def _most_taps(rows: axes.AxisPlan, cols: axes.AxisPlan) -> int:
    """Those of the target that has most."""
    return math.prod(int(np.diff(axis.first).max()) for axis in (rows, cols))


def _is_planar(shape: Shape, memory_format: str, channels: int) -> bool:
    """Whether channels of a pixel lie apart; of one channel, or one pixel, they do not."""
    return memory_format == CONTIGUOUS and channels > 1 and shape[2] * shape[3] > 1


def _flattened(g: Conv2dGeometry) -> Conv2dGeometry:
    """A pointwise convolution with all pixels of an image in one column: no tile ends at the end of a row."""
    if not blocks.is_pointwise(g):
        return g
    pixels = g.rows.size * g.cols.size
    return replace(g, rows=Axis(pixels, 1, 1, 0, 0, 1, pixels), cols=Axis(1, 1, 1, 0, 0, 1, 1))


def _item(planes, target_shape, k_blocks, packed_taps, threads) -> tuple[int, int, int]:
    """Images, target rows and blocks of channels of one item; ``packed_taps`` read a source that it packs (0: none)."""
    N, _, rows, cols = target_shape
    height = max(1, min(rows, blocks.ITEM_PIXELS // cols))
    images = blocks.even(N, max(1, blocks.ITEM_PIXELS // (rows * cols)))
    k_group = k_blocks if packed_taps else 1
    # Each item brings the channels of its planes together again.
    wanted = (2 if packed_taps else 4) * threads

    def items():
        return -(-planes // images) * -(-rows // height) * -(-k_blocks // k_group)

    while items() < wanted and images > 1 and images * rows * cols > _FEWEST_PIXELS:
        images = -(-images // 2)
    # A single tap is summed in little more time than that takes: a pixel should be packed for each thread at most, and
    # weights, which are more, for one of them if their blocks can be shared out.
    if packed_taps == 1 and k_blocks % threads == 0:
        k_group = k_blocks // threads
    while packed_taps == 1 and items() < threads and height * cols > _FEWEST_PIXELS and height > 1:
        height = -(-height // 2)
    if packed_taps == 1 and items() >= threads:
        wanted = threads
    while items() < wanted and k_group > 1:
        k_group = -(-k_group // 2)
    while items() < wanted and height * cols > blocks.ITEM_PIXELS // 4 and height > 1:
        height = -(-height // 2)
    # Of few items each thread should have as many as the others; the fewer they are, the smaller they may be.
    for most, least in ((2 * threads, _FEWEST_PIXELS), (4 * threads, blocks.ITEM_PIXELS // 4)):
        while items() < most and items() % threads and height * cols > least and height > 1:
            height = -(-height // 2)
    return images, blocks.even(rows, height), k_group


def _row_step(plan: axes.AxisPlan) -> int:
    return int(np.gcd.reduce(np.diff(np.unique(plan.sources)), initial=0)) or 1


def _pixel_step(channels: int, lanes: int) -> int:
    """Elements from pixel to pixel of a packed source: large powers of two would share few sets of the first cache."""
    return channels + lanes if channels % (16 * lanes) == 0 else channels


def dots_reason(g: Conv2dGeometry, transposed: bool, unit: VectorUnit) -> str | None:
    """Why lanes should hold target channels, not source channels; None where these are the better."""
    C, K = (g.K_g, g.C_g) if transposed else (g.C_g, g.K_g)
    if unit.lanes < 2 * K:
        return f"{K} target channels fill a vector well enough"
    return f"{C} source channels are no whole number of vectors" if C % unit.lanes else None
