"""Winograd's minimal filtering of 3 x 3 taps (A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks",
2016): tiles of the source and the weight are transformed, so that a tile of size x size targets is a sum over channels
of (size + 2)^2 products instead of 9 size^2; each of these products is one of matrices, tiles x channels."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import (
    call,
    clear_bytes,
    copy_bytes,
    pointer,
    prefetch_read,
    put_word,
    word,
)
from fastconv._kernels.numba_cpu.arguments import RELU, RELU6
from fastconv._kernels.numba_cpu.conv2d_arguments import (
    BLOCK_BYTES,
    WINOGRAD,
    WINOGRAD_TABLE_BYTES,
    WINOGRAD_WORK,
    WINOGRAD_WORK_BYTES,
)
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.settings import COLUMNS, VECTOR_BYTES, serial

_LINE, _TAPS = 64, 3


def winograd_kernel(dtype: str):
    """target = ending(sum of weight * source); one item per (group, block of tiles, group of blocks of channels)."""
    sum_tile = tile_summer(dtype)

    def winograd(context, lo, hi, slot):
        a = carray(pointer(context), 1, WINOGRAD)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, WINOGRAD_WORK)[0]
        open_slot(a, w, scratch)
        k_groups, every = -(-a.k_block_count // a.k_group), a.N * a.tile_rows * a.tile_cols
        for item in range(lo, hi):
            k_begin, rest = item % k_groups * a.k_group, item // k_groups
            block, w.g = rest % a.tile_blocks, rest // a.tile_blocks
            w.first = block * every // a.tile_blocks
            w.tiles = (block + 1) * every // a.tile_blocks - w.first
            if k_begin == 0 or item == lo:
                transform_sources(a, w)
            for k_block in range(k_begin, min(k_begin + a.k_group, a.k_block_count)):
                vectors = word(a.k_blocks, 2 * k_block + 1)
                k0 = word(a.k_blocks, 2 * k_block) * VECTOR_BYTES // a.itemsize
                channels = min(a.K - k0, vectors * VECTOR_BYTES // a.itemsize)
                multiply_block(context, a, w, k_block, vectors)
                if a.bias != 0:
                    copy_bytes(w.bias, a.bias + (w.g * a.K + k0) * a.itemsize, channels * a.itemsize)
                list_targets(a, w, w.first, k0, w.tables)
                for t in range(w.tiles):
                    transform_target(a, w, t, vectors * VECTOR_BYTES, k0, channels)
                    if word(w.doubt, 0):
                        sum_tile(a, w, t, k0, channels)

    return winograd


@serial
def open_slot(a, w, scratch):
    """What is the same for all items; where there is no bias it is zero."""
    w.panel, w.entries, w.bias = scratch + WINOGRAD_WORK_BYTES, scratch + a.entries_at, scratch + a.bias_at
    w.tables, w.doubt, w.sums = scratch + a.tables_at, scratch + a.doubt_at, scratch + a.sums_at
    w.zeros, w.waste = scratch + a.zeros_at, scratch + a.waste_at
    w.sources, w.products = scratch + a.sources_at, scratch + a.products_at
    panel = carray(pointer(w.panel), 1, PANEL)[0]
    panel.entries, panel.entry_count, panel.per_chunk = w.entries, a.C // a.part, 1
    panel.count, panel.x_step, panel.x_shift = a.part, a.itemsize, a.source_pitch
    panel.first, panel.last, panel.ending = True, True, 0
    clear_bytes(w.bias, BLOCK_BYTES)
    clear_bytes(w.zeros, a.C * a.itemsize)


@serial
def tile_place(a, tile):
    """Where a tile lies: its image, its first target."""
    across = tile // a.tile_cols
    return across // a.tile_rows, across % a.tile_rows * a.size, tile % a.tile_cols * a.size


@serial
def list_places(table, count, origin, first, sizes, steps, outside):
    """The addresses of a square of pixels, row by row; of those outside the image another one."""
    row, col = first
    for i in range(row, row + count):
        for j in range(col, col + count):
            inside = 0 <= i < sizes[0] and 0 <= j < sizes[1]
            put_word(table, 0, origin + i * steps[0] + j * steps[1] if inside else outside)
            table += 8


@serial
def list_pixels(a, w, tile, table):
    """The pixels under a tile."""
    n, row, col = tile_place(a, tile)
    origin = a.source + n * a.source_n + w.g * a.C * a.source_c
    sizes, steps = (a.source_rows, a.source_cols), (a.source_h, a.source_w)
    list_places(table, a.size + _TAPS - 1, origin, (row - a.pad_rows, col - a.pad_cols), sizes, steps, w.zeros)


@serial
def transform_sources(a, w):
    """All tiles of a block."""
    list_pixels(a, w, w.first, w.tables)
    for t in range(w.tiles):
        pixels, following = w.tables + t % 2 * WINOGRAD_TABLE_BYTES, w.tables + (t + 1) % 2 * WINOGRAD_TABLE_BYTES
        list_pixels(a, w, w.first + min(t + 1, w.tiles - 1), following)
        points = w.sources + t * a.source_pitch
        call(a.transform_source, pixels, following, points, a.C * a.itemsize, a.source_step)


@serial
def multiply_block(context, a, w, k_block, vectors):
    """The products of one block of channels: one matrix for each point. What the next matrix reads is asked for."""
    panel, width = carray(pointer(w.panel), 1, PANEL)[0], vectors * VECTOR_BYTES
    panel.w_step, panel.target_step, panel.channels = width, width, width // a.itemsize
    for e in range(panel.entry_count):
        put_word(w.entries, 2 * e, e * a.part * a.itemsize)
        put_word(w.entries, 2 * e + 1, e * a.part * width)
    points, panels = (a.size + _TAPS - 1) ** 2, -(-w.tiles // COLUMNS[vectors - 1])
    ahead, block_bytes = -(-a.C * width // panels), points * a.weight_step
    transformed = a.transformed + (w.g * a.k_block_count + k_block) * block_bytes
    end = a.transformed + (w.g + 1) * a.k_block_count * block_bytes
    sources, products = w.sources, w.products
    for _ in range(points):
        begin = 0
        for p in range(panels):
            stop, following = (p + 1) * w.tiles // panels, transformed + a.weight_step + p * ahead
            for byte in range(0, min(ahead, end - following), _LINE):
                prefetch_read(following + byte)
            x, to = sources + begin * a.source_pitch, products + begin * width
            call(word(context, vectors - 1), stop - begin, w.panel, x, transformed, w.sums, to)
            begin = stop
        transformed += a.weight_step
        sources += a.source_step
        products += a.sums_step


@serial
def transform_target(a, w, t, width, k0, channels):
    """A tile of a block of channels."""
    targets, following = w.tables + t % 2 * WINOGRAD_TABLE_BYTES, w.tables + (t + 1) % 2 * WINOGRAD_TABLE_BYTES
    list_targets(a, w, w.first + min(t + 1, w.tiles - 1), k0, following)
    points, size = w.products + t * width, channels * a.itemsize
    call(a.transform_target, points, w.bias, targets, following, w.doubt, size, a.sums_step, a.activation)


@serial
def list_targets(a, w, tile, k0, table):
    """The targets of a tile."""
    n, row, col = tile_place(a, tile)
    origin = a.target + n * a.target_n + (w.g * a.K + k0) * a.target_c
    sizes, steps = (a.target_rows, a.target_cols), (a.target_h, a.target_w)
    list_places(table, a.size, origin, (row, col), sizes, steps, w.waste)


def tile_summer(dtype: str):
    """The function that sums a tile that has what is not finite: transforms spread that over all of it."""
    real, zero, six = getattr(numba, dtype), np.dtype(dtype).type(0), np.dtype(dtype).type(6)
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize

    @serial
    def sum_target(a, w, n, row, col, k):
        total = zero
        for tap in range(_TAPS**2):
            i, j = row - a.pad_rows + tap // _TAPS, col - a.pad_cols + tap % _TAPS
            if i < 0 or i >= a.source_rows or j < 0 or j >= a.source_cols:
                continue
            place = a.source + n * a.source_n + w.g * a.C * a.source_c + i * a.source_h + j * a.source_w
            pixel = carray(pointer(place), a.C, real)
            weight = a.weight + w.g * a.group_stride + k * a.k_stride
            weight += (_TAPS**2 - 1 - tap if a.flipped else tap) * a.itemsize
            for first in range(0, a.C, lanes):
                part = zero
                for c in range(first, min(first + lanes, a.C)):
                    part += pixel[c] * carray(pointer(weight + c * a.c_stride), 1, real)[0]
                total += part
        return total

    @serial
    def sum_tile(a, w, t, k0, channels):
        n, row, col = tile_place(a, w.first + t)
        bias = carray(pointer(w.bias), channels, real)
        for i in range(row, min(row + a.size, a.target_rows)):
            for j in range(col, min(col + a.size, a.target_cols)):
                place = a.target + n * a.target_n + i * a.target_h + j * a.target_w
                target = carray(pointer(place + (w.g * a.K + k0) * a.target_c), channels, real)
                for k in range(channels):
                    total = sum_target(a, w, n, i, j, k0 + k) + bias[k]
                    if a.activation & RELU and total < zero:
                        total = zero
                    if a.activation & RELU6 and total > 6:
                        total = six
                    target[k] = total

    return sum_tile
