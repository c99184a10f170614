"""grad_weight of 3 x 3 layers, the adjoint of Winograd's minimal filtering: where forward multiplies points of a tile
with points of the weight, points of x are multiplied with those of grad_out and summed over all tiles."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, pointer, prefetch_read, word
from fastconv._kernels.numba_cpu.conv2d_arguments import (
    WINOGRAD_GRAD,
    WINOGRAD_GRAD_WORK,
    WINOGRAD_GRAD_WORK_BYTES,
    WINOGRAD_STORED_CHANNELS,
)
from fastconv._kernels.numba_cpu.conv2d_winograd_pixels import TAPS
from fastconv._kernels.numba_cpu.conv2d_winograd_points import transform_tiles
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.settings import COLUMNS, VECTOR_BYTES, serial

_LINE = 64
# Tiles of the microkernel from one that runs to the one of which the sums are asked for.
_SUMS_AHEAD = 4


def winograd_grad_kernel():
    """One item per (segment of the blocks of tiles, part)."""

    def winograd_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, WINOGRAD_GRAD)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, WINOGRAD_GRAD_WORK)[0]
        open_slot(a, w, context, scratch)
        every = a.N * a.tile_rows * a.tile_cols
        for item in range(lo, hi):
            take_part(a, w, item % a.parts)
            segment = item // a.parts
            w.sums = a.shared + item * a.sums_bytes if a.segments > 1 else scratch + a.sums_at
            begin, end = segment * a.tile_blocks // a.segments, (segment + 1) * a.tile_blocks // a.segments
            for block in range(begin, end):
                w.first = block * every // a.tile_blocks
                w.tiles = (block + 1) * every // a.tile_blocks - w.first
                take_points(a, w)
                add_points(a, w, block == begin)
            if a.segments == 1:
                for c in range(0, w.channels, WINOGRAD_STORED_CHANNELS):
                    store_channels(a, w, c)

    return winograd_grad


def winograd_reduce_kernel():
    """One item per (part, some input channels of it): the sums of all segments."""

    def reduce(context, lo, hi, slot):
        a = carray(pointer(context), 1, WINOGRAD_GRAD)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, WINOGRAD_GRAD_WORK)[0]
        open_slot(a, w, context, scratch)
        c_block = -(-a.C // a.c_blocks)
        pieces = -(-c_block // WINOGRAD_STORED_CHANNELS)
        for item in range(lo, hi):
            take_part(a, w, item // pieces)
            w.sums = a.shared + item // pieces * a.sums_bytes
            store_channels(a, w, item % pieces * WINOGRAD_STORED_CHANNELS)

    return reduce


@serial
def open_slot(a, w, context, scratch):
    """Where the slot's memory is."""
    w.zero_x, w.zero_w, w.panels = 0, 0, context
    w.panel, w.tables, w.taps = scratch + WINOGRAD_GRAD_WORK_BYTES, scratch + a.tables_at, scratch + a.taps_at
    w.zeros, w.x_points, w.grad_points = scratch + a.zeros_at, scratch + a.x_points_at, scratch + a.grad_points_at
    w.strip = scratch + a.strip_at
    clear_bytes(w.zeros, a.x_pitch + a.grad_pitch)


@serial
def take_part(a, w, part):
    """What the part of this number owns."""
    k_groups, c_block, rest = -(-a.k_block_count // a.k_group), part % a.c_blocks, part // a.c_blocks
    w.g, w.k_block, w.c0 = rest // k_groups, rest % k_groups * a.k_group, c_block * a.C // a.c_blocks
    w.channels = (c_block + 1) * a.C // a.c_blocks - w.c0
    w.k_end = min(w.k_block + a.k_group, a.k_block_count)
    lanes = VECTOR_BYTES // a.itemsize
    w.k0 = word(a.k_blocks, 2 * w.k_block) * lanes
    w.outputs = min((word(a.k_blocks, 2 * w.k_end - 2) + word(a.k_blocks, 2 * w.k_end - 1)) * lanes, a.K) - w.k0


@serial
def take_points(a, w):
    """The points of all tiles of a block."""
    origin, steps = a.x + (w.g * a.C + w.c0) * a.x_c, (a.x_n, a.x_c, a.x_h, a.x_w)
    image, points = (origin, steps, (a.x_rows, a.x_cols), (a.pad_rows, a.pad_cols)), (w.x_points, a.x_pitch, a.x_step)
    transform_tiles(a, w, a.transform_x, image, a.size + TAPS - 1, w.channels, points)
    origin = a.grad_out + (w.g * a.K + w.k0) * a.grad_out_c
    steps = (a.grad_out_n, a.grad_out_c, a.grad_out_h, a.grad_out_w)
    image, points = (origin, steps, (a.out_rows, a.out_cols), (0, 0)), (w.grad_points, a.grad_pitch, a.grad_step)
    transform_tiles(a, w, a.transform_grad_out, image, a.size, w.outputs, points)


@serial
def add_points(a, w, fresh):
    """Products of the points of a block are added to the sums; ``fresh``: these hold nothing yet."""
    panel = carray(pointer(w.panel), 1, PANEL)[0]
    panel.entries, panel.entry_count, panel.per_chunk, panel.count = w.panel - WINOGRAD_GRAD_WORK_BYTES, 1, 1, w.tiles
    panel.x_step, panel.x_shift, panel.w_step = a.x_pitch, a.itemsize, a.grad_pitch
    panel.first, panel.last, panel.ending = fresh, False, 0
    for point in range((a.size + TAPS - 1) ** 2):
        x, grad_out = w.x_points + point * a.x_step, w.grad_points + point * a.grad_step
        to = w.sums + point * a.sums_step
        for block in range(w.k_block, w.k_end):
            vectors = word(a.k_blocks, 2 * block + 1)
            width, most = vectors * VECTOR_BYTES, COLUMNS[vectors - 1]
            panels, c = -(-w.channels // most), 0
            for i in range(1, panels + 1):
                end = i * w.channels // panels
                for byte in range(0, (end - c) * width, _LINE):
                    prefetch_read(to + _SUMS_AHEAD * most * width + byte)
                call(word(w.panels, vectors - 1), end - c, w.panel, x + c * a.itemsize, grad_out, to, 0)
                to += (end - c) * width
                c = end
            grad_out += width


@serial
def store_channels(a, w, c):
    """grad_weight of some input channels from c on, if there are any, and all output channels of a part."""
    sums, count, lanes = w.sums, min(w.channels - c, WINOGRAD_STORED_CHANNELS), VECTOR_BYTES // a.itemsize
    if count <= 0:
        return
    row_bytes = a.C * TAPS**2 * a.itemsize
    for block in range(w.k_block, w.k_end):
        first, vectors = word(a.k_blocks, 2 * block), word(a.k_blocks, 2 * block + 1)
        width = vectors * VECTOR_BYTES
        for o in range(vectors):
            k0, place = (first + o) * lanes, sums + c * width + o * VECTOR_BYTES
            valid, others, step = min(a.K - k0, lanes), a.segments - 1, a.parts * a.sums_bytes
            call(a.make_taps, place, w.taps, a.doubt, count, width, a.sums_step, others, step, valid)
            target = a.grad_weight + (w.g * a.K + k0) * row_bytes + (w.c0 + c) * TAPS**2 * a.itemsize
            call(a.transpose, w.taps, VECTOR_BYTES, 0, target, row_bytes, 0, count * TAPS**2, valid)
        sums += w.channels * width
