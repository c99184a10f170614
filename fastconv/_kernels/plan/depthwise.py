"""Geometry -> the integers that drive the depthwise kernels: sweeps for channels_last, padded buffers for planes.

A *lattice* is the regular part of one axis: every tap of a target lies one fixed distance from the target's place in a
padded buffer. What the padding holds is in the buffer; the entries of ``plan`` remain for what no buffer can give.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import axes
from fastconv._kernels.plan.blocks import row_blocks
from fastconv.arrays import CHANNELS_LAST, CONTIGUOUS
from fastconv.geometry import Axis, Conv2dGeometry

_INT = np.int64
_PLANS = 128
# Marks of targets: all taps are real; some lie over zero padding; the buffer does not hold what is summed.
REGULAR, PADDED, IRREGULAR = 0, 1, 2
# A padded buffer should stay in L1 beside the rows that it is made of and the results.
_BUFFER_BYTES = 1 << 14
# Rows of a buffer begin at whole vectors of any width.
_ALIGNMENT = 16
# The strips of x and of grad_out.
_STRIP_BYTES = 1 << 17
# Work that a thread should get in one go.
CHUNK_FLOPS = 1 << 17
# Arrays above this size are asked for ahead of their use.
_FAR_BYTES = 1 << 23
# The same of planes, whose rows processors foresee as long as they are in the last cache.
_FAR_PLANES_BYTES = 7 << 22
# Partial sums of grad_weight: shares of the work for the threads.
_GRAD_CHUNKS = 16
# Vectors of channels, or channels of small planes, in one item of grad_weight: their sums of nine taps stay in L1.
_GRAD_GROUP = 16


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """See fc_lattice; ``marks`` has one of the marks above per target."""

    phases: int
    step: int
    counts: np.ndarray
    first: np.ndarray
    taps: np.ndarray
    places: np.ndarray
    sources: np.ndarray
    marks: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Padded:
    """See fc_padded; the lattice of columns has the places of taps in the buffer."""

    rows: Lattice
    cols: Lattice
    bulk_source: int
    bulk_count: int
    bulk_phase: int
    bulk_index: int
    bulk_top: int
    bulk_bottom: int
    extras: np.ndarray
    block: int
    blocks: int
    height: int
    pitch: int
    width: int
    is_paired: bool


@dataclass(frozen=True, slots=True, eq=False)
class Strips:
    """Blocks of rows whose planes' channels are brought together: see fc_strip_grad_args."""

    row_blocks: np.ndarray
    x_pixels: int
    grad_out_pixels: int


@dataclass(frozen=True, slots=True)
class GradShares:
    """Items of grad_weight are (chunk of the pieces of x, share of the channels): ``group`` vectors, or channels."""

    group: int
    shares: int
    chunks: int


def decline_reason(g: Conv2dGeometry) -> str | None:
    """Why no depthwise kernel takes the problem; None where one does."""
    if g.C_g == g.K_g == 1:
        return None
    return f"groups have {g.C_g} input and {g.K_g} output channels, not one each"


def along_channels(g: Conv2dGeometry, formats: tuple[str, ...], lanes: int) -> bool:
    """Whether lanes can be channels."""
    return set(formats) == {CHANNELS_LAST} and lanes <= g.C


def by_strips(g: Conv2dGeometry, formats: tuple[str, ...], lanes: int) -> bool:
    """Whether the channels of planes are brought together for grad_weight: rows do not fill a vector."""
    return set(formats) == {CONTIGUOUS} and g.cols.size < lanes <= g.C


def is_far(g: Conv2dGeometry, itemsize: int) -> bool:
    """Whether input and output are too large for the caches that a processor fills in time without being asked."""
    return _bytes(g, itemsize) > _FAR_BYTES


def are_planes_far(g: Conv2dGeometry, formats: tuple[str, ...], itemsize: int) -> bool:
    """The same of planes, one after the other."""
    return set(formats) == {CONTIGUOUS} and _bytes(g, itemsize) > _FAR_PLANES_BYTES


def _bytes(g, itemsize):
    return g.N * g.C * (g.rows.size * g.cols.size + g.rows.out * g.cols.out) * itemsize


def pixel_shares(g: Conv2dGeometry, lanes: int) -> GradShares:
    """Of lanes along channels; pieces are rows of the output."""
    return _shares(g, -(-g.C // lanes), _GRAD_GROUP, g.N * g.rows.out)


def strip_shares(g: Conv2dGeometry, lanes: int, blocks: int) -> GradShares:
    """Of vectors of channels; pieces are blocks of rows."""
    return _shares(g, -(-g.C // lanes), 1, g.N * blocks)


def plane_shares(g: Conv2dGeometry, blocks: int) -> GradShares:
    """Of lanes along columns; pieces are blocks of rows."""
    # Planes of one block are small: some of them make a stretch of memory that is worth while.
    return _shares(g, g.C, min(_GRAD_GROUP, g.C) if blocks == 1 else 1, g.N * blocks)


def _shares(g, units, group, pieces):
    """Their number depends on the problem alone, and with it every rounding."""
    shares = -(-units // group)
    return GradShares(group, shares, min(-(-_GRAD_CHUNKS // shares), pieces, g.flops // shares // CHUNK_FLOPS + 1))


def strips(rows: axes.AxisPlan, g: Conv2dGeometry, vector_bytes: int) -> Strips:
    """Blocks whose strips stay in the second cache, high ones: all rows, or a half, a quarter, ... of them."""
    height = g.rows.out
    while True:
        table = row_blocks(rows, height)
        x_rows, grad_out_rows = (int((table[:, i + 1] - table[:, i]).max()) for i in (2, 0))
        x_pixels, grad_out_pixels = x_rows * g.cols.size, grad_out_rows * g.cols.out
        if height == 1 or (x_pixels + grad_out_pixels) * vector_bytes <= _STRIP_BYTES:
            return Strips(table, x_pixels, grad_out_pixels)
        height = -(-height // 2)


def padded(rows: Axis, cols: Axis, padding_mode: str, transposed: bool, itemsize: int) -> Padded:
    """The buffer for forward, or for grad_input where ``transposed``."""
    down, across = (lattice(axis, padding_mode, transposed) for axis in (rows, cols))
    width = -(-len(across.sources) // across.step)
    if across.step > 1 or width > _ALIGNMENT:
        width = -(-width // _ALIGNMENT) * _ALIGNMENT
    pitch = -(-across.step * width // _ALIGNMENT) * _ALIGNMENT
    steps = int(down.counts[0])
    halo = len(down.sources) - (steps - 1) * down.step - 1
    most = max(4, halo // down.step, (_BUFFER_BYTES // (pitch * itemsize) - halo - 1) // down.step + 1)
    blocks = -(-steps // most)
    block = -(-steps // blocks)
    begin, end = _bulk(across.sources)
    top, bottom = _bulk(down.sources)
    places = np.arange(len(across.sources))
    outside = places[(across.sources >= 0) & ((places < begin) | (places >= end))]
    extras = np.stack([_element(outside, across.step, width), across.sources[outside]], axis=1)
    return Padded(
        rows=down,
        cols=replace(across, places=_element(across.places, across.step, width)),
        bulk_source=int(across.sources[begin]) if end > begin else 0,
        bulk_count=end - begin,
        bulk_phase=begin % across.step,
        bulk_index=begin // across.step,
        bulk_top=top,
        bulk_bottom=bottom,
        extras=_integers(extras),
        block=block,
        blocks=blocks,
        height=(block - 1) * down.step + 1 + halo,
        pitch=pitch,
        width=width,
        is_paired=_is_paired(down) and _is_paired(across),
    )


def _is_paired(axis):
    """Whether targets are pairs: of a source, or of the next one, and of both."""
    orders = ([0, 1, 3], [0, 0, 1]), ([0, 2, 3], [0, 1, 1])
    return (axis.first.tolist(), axis.places.tolist()) in orders and len(set(axis.counts.tolist())) == 1


def _element(place, step, width):
    return place % step * width + place // step


def _bulk(sources):
    """The longest stretch of places with neighbouring sources."""
    breaks = np.flatnonzero((np.diff(sources) != 1) | (sources[1:] < 0) | (sources[:-1] < 0)) + 1
    edges = np.concatenate(([0], breaks, [len(sources)]))
    longest = int(np.argmax(np.diff(edges)))
    begin, end = int(edges[longest]), int(edges[longest + 1])
    return (begin, end) if sources[begin] >= 0 else (begin, begin)


@lru_cache(maxsize=_PLANS)
def lattice(axis: Axis, padding_mode: str, transposed: bool) -> Lattice:
    """One axis of forward, or of grad_input where ``transposed``."""
    reach = np.arange(axis.kernel, dtype=_INT) * axis.dilation - axis.low
    if transposed:
        phases, step, targets = min(axis.stride, axis.size), 1, axis.size
        phase = (reach % axis.stride).astype(_INT)
        distance = (phase - reach) // axis.stride
        keep = phase < phases
    else:
        phases, step, targets = 1, axis.stride, axis.out
        phase, distance, keep = np.zeros_like(reach), reach, np.ones(axis.kernel, bool)
    taps = np.flatnonzero(keep)
    taps = taps[np.lexsort((distance[taps], phase[taps]))]
    counts = -(-(targets - np.arange(phases)) // phases)
    lowest = int(distance[taps].min(initial=0))
    places = distance[taps] - lowest
    size = int((counts[0] - 1) * step + places.max(initial=0)) + 1
    first = np.searchsorted(phase[taps], np.arange(phases + 1))
    sources = _sources(axis, padding_mode, transposed, lowest, size)
    found = Lattice(
        phases=phases,
        step=step,
        counts=_integers(counts),
        first=_integers(first),
        taps=_integers(taps),
        places=_integers(places),
        sources=_integers(sources),
        marks=np.zeros(targets, np.uint8),
    )
    return replace(found, marks=_marks(found, axis, padding_mode, transposed))


def _integers(array):
    return np.ascontiguousarray(array, _INT)


def _sources(axis, padding_mode, transposed, lowest, size):
    """What every place holds: places count from position ``lowest``."""
    position = np.arange(lowest, lowest + size)
    if transposed:
        return np.where((position >= 0) & (position < axis.out), position, -1)
    sources = np.where((position >= 0) & (position < axis.size), position, -1)
    table = axes.source_table(axis, padding_mode)
    read = np.arange(axis.out)[:, None] * axis.stride + np.arange(axis.kernel) * axis.dilation - axis.low
    sources[read - lowest] = table
    return sources


def _marks(found, axis, padding_mode, transposed):
    """Compares the lattice's sums with the plan's."""
    exact = (axes.grad_input_axis if transposed else axes.forward_axis)(axis, padding_mode)
    targets = len(exact.first) - 1
    phase = np.repeat(np.arange(found.phases), np.diff(found.first))
    marks = np.zeros(targets, np.uint8)
    listed = [np.zeros((0, 3), _INT)]
    for tap, place, start in zip(found.taps, found.places, phase, strict=True):
        steps = np.arange(found.counts[start])
        target, source = start + steps * found.phases, found.sources[place + steps * found.step]
        marks[target[source < 0]] = PADDED
        triple = np.stack([target, np.full_like(target, tap), source], axis=1)
        listed.append(triple[source >= 0])
    entries = np.stack([np.repeat(np.arange(targets), np.diff(exact.first)), exact.taps, exact.sources], axis=1)
    scale = np.array([axis.kernel * (axis.size + axis.out), axis.size + axis.out, 1])
    differing = np.setxor1d(np.concatenate(listed) @ scale, entries @ scale)
    marks[differing // scale[0]] = IRREGULAR
    return marks
