"""The plan of Winograd's minimal filtering of 3 x 3 layers: which layers, how tiles and channels are cut."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import blocks
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import CHANNELS_LAST, element_strides
from fastconv.geometry import Conv2dGeometry

_PLANS = 256


@dataclass(frozen=True, slots=True)
class Choice:
    """When tiles of a size are computed unasked: at these precisions, the strictest first, from so many channels of a
    group, of source and target, so many rows and columns of targets and, where it is above 0, so many tiles of all
    images on."""

    precisions: tuple[str, ...]
    channels: int
    extent: int
    tiles: int = 0

    def rejection(self, channels: int, extent: int, precision: str, tiles: int = 0) -> str | None:
        """Why the size is not chosen, or None."""
        if precision not in self.precisions:
            return f"the precision is {precision}, not {' or '.join(self.precisions)}"
        if channels < self.channels:
            return f"{channels} channels of a group are fewer than {self.channels}"
        if extent < self.extent:
            return f"{extent} rows or columns of targets are fewer than {self.extent}"
        if tiles < self.tiles:
            return f"{tiles} tiles of all images are fewer than {self.tiles}"
        return None

    def reason(self, channels: int, extent: int, precision: str, tiles: int = 0) -> str:
        """Why it is."""
        return (
            f"the precision is {precision}, {channels} channels of a group are at least {self.channels}, "
            f"{extent} rows or columns of targets at least {self.extent}"
        ) + (f", {tiles} tiles of all images at least {self.tiles}" if self.tiles else "")


# By the size of a tile. What an image becomes must not depend on those beside it: the number of images decides nothing.
# On fewer targets batches were faster, too, but not single images; on 6 x 6, tiles of 4 x 4 would waste half. Those are
# 1.6 times as fast as tiles of 2 x 2 on 7 x 7 for a batch, as gradients are of, but a third slower for one image.
CHOICES = {4: Choice(("fast",), 32, 8), 2: Choice(("high", "fast"), 32, 6)}
GRAD_INPUT_CHOICES = {4: Choice(("fast",), 32, 7), 2: CHOICES[2]}
# Of grad_weight, a sum over all images: what is transformed back at its end costs as much as five tiles of 4 x 4. On
# 6 x 6 outputs, of which tiles of 4 x 4 would waste half, those of 2 x 2 were faster; those gained nothing in planes of
# 16 channels. A tile mixes what is three pixels apart: where values differ by orders of magnitude, errors were 700 u,
# which is within the bound of n u only from so many terms on.
GRAD_WEIGHT_CHOICES = {4: Choice(("fast",), 16, 7, 8), 2: Choice(("high", "fast"), 32, 6, 49)}
# Tiles of a block: enough to use each transformed weight, or each sum of products, a few times while it is in the
# second cache, few enough that what is transformed of them stays there.
BLOCK_TILES = 48
# Blocks of tiles, of which each transforms a weight that is used once by itself: the 16 or 36 numbers for 9 stay in the
# second cache instead of going to memory and coming back.
TRANSFORMING_BLOCKS = 2
# What transforming a tile costs, and reading the weight of a block of output channels, in products of these two.
_TRANSFORM, _READ = 0.1, 8
_LINE = 64
# Bytes of an element: float32 alone is filtered so.
WINOGRAD_ITEMSIZE = 4


@dataclass(frozen=True, slots=True, eq=False)
class WinogradPlan:
    """Items are (group, block of tiles, group of ``k_group`` blocks of output channels).

    A target of K sums over C channels and lies ``pads`` (rows, columns) before its source; a tile has ``size`` x
    ``size`` targets, an image ``tiles`` (rows, columns) of them. ``tile_blocks`` blocks have at most ``block_tiles``.
    ``k_blocks`` has (first vector, vectors); sums over channels are cut into equal runs of ``part``. Elements of
    scratch: ``source_pitch`` from tile to tile, ``source_step``, ``sums_step`` and, in the transformed weight,
    ``weight_step`` from point to point. ``on_the_way``: items transform a weight that is used once themselves, as many
    input channels at a time as are summed in one go, with ``part_step`` from point to point. Where channels do not lie
    together, the pixels of a run of tiles of one row are brought together in a ``strip`` of so many elements, 0 where
    they do. No block has more than ``widest`` output channels. ``why`` quotes the rule of choice.
    """

    size: int
    C: int
    K: int
    pads: tuple[int, int]
    tiles: tuple[int, int]
    source_strides: tuple[int, int, int, int]
    target_strides: tuple[int, int, int, int]
    tile_blocks: int
    block_tiles: int
    k_blocks: np.ndarray
    k_group: int
    widest: int
    part: int
    source_pitch: int
    source_step: int
    sums_step: int
    weight_step: int
    part_step: int
    on_the_way: bool
    strip: int
    items: int
    why: str

    @property
    def points(self) -> int:
        """The products for each tile, channel of the source and channel of the target."""
        return (self.size + 2) ** 2

    @property
    def shared(self) -> int:
        """Elements for what is transformed on the way and, once that is multiplied, for the taps of a block."""
        return max(self.points * self.part_step, 9 * self.C * self.widest)

    @property
    def precision(self) -> str:
        """The strictest at which the size is chosen."""
        return CHOICES[self.size].precisions[0]


@lru_cache(maxsize=_PLANS)
def winograd_plan(
    g: Conv2dGeometry,
    transposed: bool,
    formats: tuple[str, str],
    size: int,
    unit: VectorUnit,
    threads: int,
    precision: str | None,
) -> WinogradPlan | str:
    """The plan for tiles of some size, or why there is none; no result depends on the number of threads.

    ``precision``: what was asked for, or None where the size was.
    """
    source, target = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
    C, K = (g.K_g, g.C_g) if transposed else (g.C_g, g.K_g)
    choice, facts = (GRAD_INPUT_CHOICES if transposed else CHOICES)[size], (min(C, K), min(target[2:]))
    reason = unsuited(g, unit) or (choice.rejection(*facts, precision) if precision else None)
    if reason:
        return reason
    tiles = (-(-target[2] // size), -(-target[3] // size))
    k_blocks = blocks.channel_blocks(K, unit)
    tile_blocks, k_group = _cut(g.N * tiles[0] * tiles[1], len(k_blocks), g.groups, threads)
    block_tiles = -(-g.N * tiles[0] * tiles[1] // tile_blocks)
    on_the_way = tile_blocks <= TRANSFORMING_BLOCKS
    pitch, width = whole_vectors(C, unit), int(k_blocks[:, 1].max()) * unit.lanes
    return WinogradPlan(
        size=size,
        C=C,
        K=K,
        pads=_pads(g, transposed),
        tiles=tiles,
        source_strides=element_strides(source, formats[0]),
        target_strides=element_strides(target, formats[1]),
        tile_blocks=tile_blocks,
        block_tiles=block_tiles,
        k_blocks=k_blocks,
        k_group=k_group,
        widest=width,
        part=_part(C),
        source_pitch=pitch,
        source_step=odd_lines(block_tiles * pitch, unit),
        sums_step=odd_lines(block_tiles * width, unit),
        weight_step=odd_lines(C * width, unit),
        part_step=odd_lines(_part(C) * width, unit) if on_the_way else 0,
        on_the_way=on_the_way,
        strip=_strip(formats, size, min(block_tiles, tiles[1]), C, width),
        items=g.groups * tile_blocks * -(-len(k_blocks) // k_group),
        why=choice.reason(*facts, precision) if precision else "it was asked for by name",
    )


def transformation(made: WinogradPlan, backend: str, transposed: bool) -> tuple:
    """What a transformed weight depends on, beside its values: neither on images nor on their number."""
    return (backend, "winograd", made.size, transposed, made.C, made.K)


def is_winograd_kernel(g: Conv2dGeometry) -> bool:
    """Whether the filters are those that minimal filtering is meant for."""
    return all((axis.kernel, axis.stride, axis.dilation) == (3, 1, 1) for axis in (g.rows, g.cols))


def unsuited(g: Conv2dGeometry, unit: VectorUnit) -> str | None:
    """Why no tile can be computed so, or None."""
    if not is_winograd_kernel(g):
        return "the kernel is not 3 x 3 with stride 1 and no dilation"
    if g.padding_mode != "zeros":
        return f"padding is {g.padding_mode}"
    if any(max(axis.low, axis.high) > 2 for axis in (g.rows, g.cols)):
        return "padding is wider than the kernel reaches"
    if unit.itemsize != WINOGRAD_ITEMSIZE:
        return "the dtype is not float32"
    if min(g.C_g, g.K_g) < unit.lanes:
        return f"groups of {g.C_g} and {g.K_g} channels leave lanes empty"
    return None


def _cut(tiles: int, k_blocks: int, groups: int, threads: int) -> tuple[int, int]:
    """How many blocks of tiles, and how many blocks of output channels an item has: what keeps all threads busy.

    An item transforms its tiles and reads its weights, so that as many of both are better where all have work.
    """

    def seconds(cut: tuple[int, int]) -> tuple[float, int]:
        tile_blocks, k_group = cut
        items = groups * tile_blocks * -(-k_blocks // k_group)
        each = -(-tiles // tile_blocks) * (k_group + _TRANSFORM) + k_group * _READ
        return -(-items // threads) * each, items

    least = -(-tiles // BLOCK_TILES)
    most = min(tiles, -(-least // threads) * threads)
    cuts = itertools.product({least, most}, range(1, k_blocks + 1))
    return min(cuts, key=seconds)


def _strip(formats: tuple[str, str], size: int, run: int, C: int, width: int) -> int:
    """The pixels under a run of tiles, all channels of each, or those of its targets, a block of channels of each."""
    source = 0 if formats[0] == CHANNELS_LAST else (size + 2) * (run * size + 2) * C
    target = 0 if formats[1] == CHANNELS_LAST else size * run * size * width
    return max(source, target)


def _pads(g: Conv2dGeometry, transposed: bool) -> tuple[int, int]:
    """Rows and columns before the source: those of a gradient are what the kernel reaches beyond its padding."""
    low = (g.rows.low, g.cols.low)
    return (2 - low[0], 2 - low[1]) if transposed else low


def _part(channels: int) -> int:
    """The largest equal runs of channels that are summed in one go; all, where they cannot be cut."""
    for parts in range(-(-channels // blocks.BLOCK_TERMS), channels // blocks.LEAST_TERMS + 1):
        if channels % parts == 0:
            return channels // parts
    return channels


def whole_vectors(channels: int, unit: VectorUnit) -> int:
    """The lanes of the vectors that hold so many channels."""
    return -(-channels // unit.lanes) * unit.lanes


def odd_lines(elements: int, unit: VectorUnit) -> int:
    """So many elements or more: an odd number of cache lines, so that equal places do not share a set of the cache."""
    line = _LINE // unit.itemsize
    return (-(-elements // line) | 1) * line
