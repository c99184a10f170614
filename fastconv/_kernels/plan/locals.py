"""How a convolution without shared weights is shared out: every weight is read or written once for some images."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

from fastconv._kernels.plan import blocks
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.arrays import element_strides
from fastconv.geometry import LocalConv2dGeometry

_PLANS = 64
_LINE_BYTES = 64
# Images that read the weights together: from some ten on arithmetic takes longer than reading.
_IMAGES = 16
# Inputs of these images should stay in the second cache.
_IMAGE_BYTES = 1 << 19
# Items that there should be for several threads, and bands of rows whose gradients are summed one after the other.
_ITEMS, _BANDS = 16, 16


@dataclass(frozen=True, slots=True)
class LocalPlan:
    """``images`` are computed together. Counts of memory are in elements.

    Each of ``items`` of forward and of grad_weight is (row of the output, one of ``col_tiles`` even parts of it, one of
    ``k_blocks`` even parts of the output channels), one of grad_input (one of ``bands`` even parts of the rows, group,
    one of ``channel_blocks`` even parts of its input channels), for some images; all bands are in memory at once.

    An item brings together the input rows under its windows: a strip of C * kH rows of ``width`` columns for each
    image, or C * ``band_height`` rows of grad_input. ``parts`` says where the scratch of a thread has strips, the strip
    of the mask, windows, the mask, copied weights, sums and gradients; windows of images are ``window`` elements apart,
    gradients ``grads``, copied rows of weights ``row``. A gradient of the weight that ``streams`` goes past the caches.
    """

    x_strides: tuple[int, int, int, int]
    out_strides: tuple[int, int, int, int]
    images: int
    items: int
    col_tiles: int
    k_blocks: int
    bands: int
    channel_blocks: int
    band_height: int
    width: int
    band_width: int
    window: int
    grads: int
    row: int
    parts: tuple[int, ...]
    scratch: int
    shared: int
    streams: bool


@lru_cache(maxsize=_PLANS)
def local_plan(g: LocalConv2dGeometry, formats: tuple[str, str], unit: VectorUnit) -> LocalPlan:
    """The plan of an operation whose formats are those of ``x`` and ``out``."""
    line = _LINE_BYTES // unit.itemsize
    col_tiles = min(g.cols.out, max(1, _ITEMS // g.rows.out))
    k_blocks = min(-(-g.K // unit.lanes), max(1, _ITEMS // (g.rows.out * col_tiles)))
    width = _reach(g.cols, -(-g.cols.out // col_tiles))
    bands = min(g.rows.out, _BANDS)
    height = _reach(g.rows, -(-g.rows.out // bands))
    channel_blocks = min(g.C_g, max(1, _ITEMS // (bands * g.groups)))
    window = _odd_lines(g.C * g.rows.kernel * g.cols.kernel + unit.lanes, line)
    strip = g.C * g.rows.kernel * width
    images = max(1, min(g.N, _IMAGES, _IMAGE_BYTES // ((strip + window) * unit.itemsize)))
    grads, row = _odd_lines(g.K, line), _lines(g.terms, max(line, unit.lanes))
    sizes = (
        max(images * strip + unit.lanes, g.C * g.cols.size),
        g.rows.kernel * width + unit.lanes,
        images * window,
        window,
        unit.lanes * row + 2 * unit.lanes,
        images * unit.lanes * max(unit.lanes, unit.vectors),
        images * grads,
    )
    *parts, scratch = itertools.accumulate((_lines(size, line) for size in sizes), initial=0)
    return LocalPlan(
        element_strides(g.x_shape, formats[0]),
        element_strides(g.out_shape, formats[1]),
        images=images,
        items=g.rows.out * col_tiles * k_blocks,
        col_tiles=col_tiles,
        k_blocks=k_blocks,
        bands=bands,
        channel_blocks=channel_blocks,
        band_height=height,
        width=width,
        band_width=g.cols.padded,
        window=window,
        grads=grads,
        row=row,
        parts=tuple(parts),
        scratch=scratch,
        streams=blocks.is_streamed(math.prod(g.weight_shape) * unit.itemsize) and images >= g.N,
        shared=bands * g.N * g.C * height * g.cols.padded,
    )


def _reach(axis, outputs):
    """The positions under so many neighbouring windows."""
    return (outputs - 1) * axis.stride + axis.extent


def _lines(size, line):
    return -(-size // line) * line


def _odd_lines(size, line):
    """Whole lines, an odd number of them, so that what lies so far apart shares no set of a cache."""
    return (-(-size // line) | 1) * line
