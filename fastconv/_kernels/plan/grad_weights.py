"""The plan of grad_weight: tiles of output channels x input channels, summed over the outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import axes, blocks
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import CHANNELS_LAST, element_strides
from fastconv.geometry import Axis, Conv2dGeometry, Shape

_PLANS = 256
# Outputs that are summed in one go, and elements of their gradients and inputs: they stay in the second cache while
# all taps and channels read them.
_PIXELS = 448
_ELEMENTS = 120_000
_FEW_USES = 6
_FIRST_CACHE = 4096
# Columns of a kernel beyond which its taps are not merged: their sums would not fit.
_MERGED_TAPS = 64
# How many of these pieces are added up before their sum goes to the total.
_SPAN = 64
# Sums of one part, and of all parts where each thread has its own copy: they, too, should stay in the second cache.
_SUMS = 1 << 16
_COPIED_SUMS = 1 << 17
# Outputs of a segment at least: adding its sums to the others' costs as much as some fifty of them.
_SEGMENT_PIXELS = 960
# Items at least, where the problem allows it. A constant: partial sums must not depend on the number of threads.
_ITEMS = 8
# Input channels below which a part is not cut: two tiles pay for reading the gradients once more.
_FEW_CHANNELS = 12
# A pixel step of grad_out that is a multiple of so many elements makes its pixels share a few sets of the first cache.
_ALIASING = 512


@dataclass(frozen=True, slots=True, eq=False)
class GradWeightPlan:
    """grad_weight is cut into ``parts``, the outputs into ``pieces``, these into ``segments``; an item is one of each.

    A part is (group, ``k_group`` blocks of output channels, ``c_block`` input channels, ``tap_block`` rows of taps), a
    piece ``images`` x ``row_block`` x ``col_block`` outputs. After every ``span`` pieces the sums go to a total; the
    totals of the segments are added in their order. ``sums``, ``packed`` and ``entries`` are the elements of scratch
    that a thread needs: the sums of a part (as many again for the total), gradients of a piece with their channels
    together (0: read where they are), and the table of offsets (two integers each).

    ``exchanged``: grad_out and x, C and K, change places everywhere here. A pointwise convolution is symmetric in them,
    and its tiles then lie in grad_weight as they are. ``in_place``: those of the last piece write it themselves, and,
    where it ``streams``, whole cache lines, if it begins with one, and better past the caches.

    ``merged``: where input channels are few, taps of a row and channels are treated as one row of columns; this has
    the runs of outputs for which they are the same ones. ``interleaved`` is the elements of a copy of x that has its
    channels together, 0 where x has them so.

    Where groups of few channels are ``joined``, so many are treated as one with K output channels and ``x_channels``
    input channels, of which each output channel meets C.
    """

    rows: axes.TapPlan
    cols: axes.TapPlan
    out_shape: Shape
    groups: int
    joined: int
    x_channels: int
    C: int
    K: int
    exchanged: bool
    in_place: bool
    streams: bool
    merged: axes.AxisPlan | None
    interleaved: int
    grad_out_strides: tuple[int, int, int, int]
    x_strides: tuple[int, int, int, int]
    k_blocks: np.ndarray
    k_group: int
    c_block: int
    tap_block: int
    parts: int
    images: int
    row_block: int
    col_block: int
    pieces: int
    span: int
    segments: int
    sums: int
    packed: int
    entries: int


@lru_cache(maxsize=_PLANS)
def grad_weight_plan(
    geometry: Conv2dGeometry, formats: tuple[str, str], unit: VectorUnit, joined: int = 1
) -> GradWeightPlan:
    """The plan; it depends on the problem and the vector unit alone, and with it every rounding.

    ``joined``: groups that are treated as one, because their channels share vectors.
    """
    g = _in_one_row(geometry) if blocks.is_pointwise(geometry) else geometry
    exchanged = g is not geometry and joined == 1
    if exchanged:
        g, formats = replace(g, C=g.K, K=g.C), formats[::-1]
    x_shape = g.x_shape
    # The input channels that an output channel meets are what is cut into tiles and parts.
    g = replace(g, groups=g.groups // joined, C=g.C // joined)
    merged = axes.forward_axis(g.cols) if joined == 1 and _merges(g) else None
    rows, cols = (axes.grad_weight_axis(axis, g.padding_mode) for axis in (g.rows, g.cols))
    k_blocks = blocks.channel_blocks(g.K_g, unit)
    width = unit.lanes * int(k_blocks[:, 1].max())
    k_group, c_block, tap_block = _part(g, len(k_blocks), width)
    # Vectors of x hold all channels of joined groups: they have one beginning.
    c_block = g.C_g if joined > 1 else c_block
    images, row_block, col_block = piece = _piece(g, _pixels(g, k_group * width, c_block))
    pieces = math.prod(-(-extent // part) for extent, part in zip((g.N, g.rows.out, g.cols.out), piece, strict=True))
    segments, k_group, c_block, tap_block = _shared_out(g, k_group, c_block, tap_block, len(k_blocks), width, pieces)
    packs, together = _packs(g, formats[0], unit), merged is not None or joined > 1
    in_place = exchanged and segments == 1 and pieces <= _SPAN
    runs = k_blocks[:, 1] * unit.lanes if g.K_g % unit.lanes == 0 else np.array([1])
    interleaves = together and formats[1] != CHANNELS_LAST and x_shape[1] > 1
    x_format = CHANNELS_LAST if together else formats[1]
    return GradWeightPlan(
        rows=rows,
        cols=cols,
        out_shape=g.out_shape,
        groups=g.groups,
        joined=joined,
        x_channels=g.C_g * joined,
        C=g.C_g,
        K=g.K_g,
        exchanged=exchanged,
        in_place=in_place,
        streams=in_place and blocks.streams(g.weight_shape, runs, unit.itemsize),
        merged=merged,
        interleaved=math.prod(x_shape) if interleaves else 0,
        grad_out_strides=element_strides(g.out_shape, formats[0]),
        x_strides=element_strides(x_shape, x_format),
        k_blocks=k_blocks,
        k_group=k_group,
        c_block=c_block,
        tap_block=tap_block,
        parts=_parts(g, len(k_blocks), k_group, c_block, tap_block),
        images=images,
        row_block=row_block,
        col_block=col_block,
        pieces=pieces,
        span=_SPAN,
        segments=segments,
        sums=tap_block * g.cols.kernel * c_block * k_group * width,
        packed=images * row_block * col_block * width if packs else 0,
        entries=max(images * row_block, -(-tap_block * g.cols.kernel * c_block // 2)),
    )


def _packs(g: Conv2dGeometry, wanted: str, unit: VectorUnit) -> bool:
    """Whether pixels of grad_out are brought together, in whole vectors and away from addresses that collide."""
    return wanted != CHANNELS_LAST or g.K_g % unit.lanes != 0 or g.K % _ALIASING == 0


def _merges(g: Conv2dGeometry) -> bool:
    """Whether taps of a row and channels are one row of columns: only then are tiles wide enough."""
    few = g.groups == 1 and g.C < _FEW_USES and 1 < g.cols.kernel <= _MERGED_TAPS
    return few and g.cols.dilation == 1 and g.padding_mode == "zeros"


def _in_one_row(g: Conv2dGeometry) -> Conv2dGeometry:
    """A pointwise convolution with all pixels of an image in one row, so that no sum ends at the end of a row."""
    pixels = g.rows.size * g.cols.size
    return replace(g, rows=Axis(1, 1, 1, 0, 0, 1, 1), cols=Axis(pixels, 1, 1, 0, 0, 1, pixels))


def _part(g: Conv2dGeometry, k_blocks: int, width: int) -> tuple[int, int, int]:
    """Blocks of output channels, input channels and rows of taps of one part: near a square, as it reads least."""
    taps = g.rows.kernel * g.cols.kernel
    tap_block = blocks.even(g.rows.kernel, max(1, _SUMS // (g.cols.kernel * width * min(g.C_g, _FEW_USES))))
    side = math.isqrt(_SUMS // taps)
    k_group = blocks.even(k_blocks, max(1, side // width, _SUMS // (taps * g.C_g * width)))
    c_block = blocks.even(g.C_g, max(1, _SUMS // (tap_block * g.cols.kernel * k_group * width)))
    return k_group, c_block, tap_block


def _pixels(g: Conv2dGeometry, width: int, channels: int) -> int:
    """Outputs of a piece: they fit in the second cache, or in the first where each vector is used only a few times."""
    uses = channels * g.cols.kernel if _merges(g) else channels
    return max(64, min(_PIXELS, (_ELEMENTS if uses >= _FEW_USES else _FIRST_CACHE) // (width + channels)))


def _piece(g: Conv2dGeometry, pixels: int) -> tuple[int, int, int]:
    """Images, rows and columns of a piece."""
    cols = blocks.even(g.cols.out, pixels)
    rows = blocks.even(g.rows.out, max(1, pixels // cols))
    images = 1 if rows * cols < g.rows.out * g.cols.out else max(1, min(g.N, pixels // (rows * cols)))
    return images, rows, cols


def _parts(g, k_blocks, k_group, c_block, tap_block) -> int:
    return g.groups * -(-k_blocks // k_group) * -(-g.C_g // c_block) * -(-g.rows.kernel // tap_block)


def _shared_out(g, k_group, c_block, tap_block, k_blocks, width, pieces) -> tuple[int, int, int, int]:
    """Segments, and smaller parts where segments would not pay for adding their sums."""
    outputs, sums = g.N * g.rows.out * g.cols.out, g.groups * k_blocks * width * g.C_g * g.rows.kernel * g.cols.kernel
    segments = 1
    if sums <= _COPIED_SUMS:
        wanted = -(-_ITEMS // _parts(g, k_blocks, k_group, c_block, tap_block))
        segments = max(1, min(pieces, wanted, outputs // _SEGMENT_PIXELS))
    while segments * _parts(g, k_blocks, k_group, c_block, tap_block) < _ITEMS:
        if k_group > 1:
            k_group = -(-k_group // 2)
        elif c_block > _FEW_CHANNELS:
            c_block = -(-c_block // 2)
        elif tap_block > 1:
            tap_block = -(-tap_block // 2)
        else:
            break
    return segments, k_group, c_block, tap_block
