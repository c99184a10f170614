"""Depthwise convolution in channels_last: lanes are channels, tiles are neighbouring columns of one row."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, pointer, put_word, word
from fastconv._kernels.numba_cpu.conv2d_grad_weight_parts import adder
from fastconv._kernels.numba_cpu.depthwise_arguments import FORM_1, FORM_3, FORM_HALF, PIXEL, PIXELS, SUMS, TILE
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial

# Tiles in one block of a sum of grad_weight.
_BLOCK_TILES = 64


def pixel_sum_kernel():
    """Forward and grad_input: one item per (image, target row). Sizes are bytes, so that it serves every dtype."""
    row_tiles = _row_tiles(_nothing)

    def pixel_sum(context, lo, hi, slot):
        a = carray(pointer(context), 1, PIXEL)[0]
        scratch = a.scratch + slot * a.scratch_step
        s, t = carray(pointer(scratch), 1, SUMS)[0], carray(pointer(scratch + a.tile_at), 1, TILE)[0]
        s.tile, t.entries, t.bias = scratch + a.tile_at, scratch + a.entries_at, a.bias
        t.activation = a.activation
        take_vectors(a, t, 0, a.vectors)
        for item in range(lo, hi):
            n, row = item // a.rows_targets, item % a.rows_targets
            row_tiles(a, s, t, row, a.x + n * a.x_n, a.w, a.target + n * a.target_n + row * a.target_h)

    return pixel_sum


def pixel_grad_kernel(dtype: str):
    """grad_weight: one item per (chunk of output rows, some vectors of channels), as plan.GradShares has them.

    All slots share the sums: [chunk][vector][tap][lane].
    """
    flush, row_tiles = block_tiler(dtype)

    def pixel_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, PIXEL)[0]
        scratch = a.scratch + slot * a.scratch_step
        s, t = carray(pointer(scratch), 1, SUMS)[0], carray(pointer(scratch + a.tile_at), 1, TILE)[0]
        s.tile, t.entries, s.sums = scratch + a.tile_at, scratch + a.entries_at, scratch + a.sums_at
        t.sums_step = a.taps * VECTOR_BYTES
        rows = a.N * a.rows_targets
        for item in range(lo, hi):
            chunk, first = item // a.shares, item % a.shares * a.group
            vectors = min(a.vectors - first, a.group)
            take_vectors(a, t, first, vectors)
            s.tiles, s.size = 0, vectors * t.sums_step
            s.total = a.shared + (chunk * a.vectors + first) * t.sums_step
            clear_bytes(s.sums, s.size)
            clear_bytes(s.total, s.size)
            channel = first * VECTOR_BYTES
            for row in range(chunk * rows // a.chunks, (chunk + 1) * rows // a.chunks):
                n, line = row // a.rows_targets, row % a.rows_targets
                grad_out = a.target + n * a.target_n + line * a.target_h
                row_tiles(a, s, t, line, a.x + n * a.x_n + channel, s.sums, grad_out + channel)
            flush(s)

    return pixel_grad


def pixel_reduce_kernel(dtype: str):
    """grad_weight[c][tap] = the sums of all chunks, added in their order: one item per vector of channels."""
    add_sums = adder(dtype)
    real, lanes = getattr(numba, dtype), VECTOR_BYTES // np.dtype(dtype).itemsize

    def pixel_reduce(context, lo, hi, slot):
        a = carray(pointer(context), 1, PIXEL)[0]
        total, size = a.scratch + slot * a.scratch_step + a.sums_at, a.taps * VECTOR_BYTES
        sums = carray(pointer(total), a.taps * lanes, real)
        target = carray(pointer(a.grad_weight), a.C * a.taps, real)
        for vector in range(lo, hi):
            clear_bytes(total, size)
            for chunk in range(a.chunks):
                add_sums(total, a.shared + (chunk * a.vectors + vector) * size, size)
            # The last vector overlaps the one before it.
            first = min(vector * lanes, a.C - lanes)
            for lane in range(lanes):
                for tap in range(a.taps):
                    target[(first + lane) * a.taps + tap] = sums[tap * lanes + lane]

    return pixel_reduce


@serial
def take_vectors(a, t, first, vectors):
    """Vectors first .. of all channels; the last one of all ends with them."""
    t.vectors, t.last = vectors, a.C * a.itemsize - (first + 1) * VECTOR_BYTES
    if first + vectors < a.vectors:
        t.last = vectors * VECTOR_BYTES


def block_tiler(dtype: str):
    """The functions that add a block of sums to their total, and those of an output row of grad_weight to the block."""
    flush = _flush(adder(dtype))
    return flush, _row_tiles(_counter(flush))


def _row_tiles(after_tile):
    """The function that does all columns of a target row."""
    tiles = _tiles(after_tile)

    @serial
    def row_tiles(a, s, t, row, x, w, target):
        first, last = word(a.rows_first, row), word(a.rows_first, row + 1)
        t.next_rows = a.next_rows if last > first else 0
        t.next_step, t.next_target = a.x_h, a.target_h
        if a.sweep_count > 0:
            list_rows(a, t, first, last)
            t.x_step, t.w_step, t.target_step = a.x_w, a.sweep_direction * a.tap_bytes, a.target_w
            t.next = (word(a.rows_sources, last - 1) + 1) * a.x_h if last > first else 0
            source, to = x + a.sweep_source * a.x_w, target + a.sweep_start * a.target_w
            width = -(-tile_width(a.sweep_count) // a.sweep_phases) * a.sweep_phases
            form = FORM_HALF if a.sweep_phases == 2 else FORM_3 + a.sweep_step - 1
            step = a.sweep_step * a.x_w // a.sweep_phases
            tiles(a, s, t, form, a.sweep_count, width, step, source, w, to, a.sweep_head, a.sweep_tail)
        for r in range(a.cols_run_count):
            run = a.cols_runs + 32 * r
            start, count = word(run, 0), word(run, 1)
            if a.sweep_start <= start < a.sweep_start + a.sweep_count:
                continue
            list_entries(a, t, first, last, start)
            t.x_step, t.target_step = word(run, 3) * a.x_w, word(run, 2) * a.target_w
            to = target + start * a.target_w
            tiles(a, s, t, FORM_1, count, tile_width(count), t.x_step, x, w, to, 0, 0)

    return row_tiles


def _tiles(after_tile):
    @serial
    def tiles(a, s, t, form, count, width, step, x, w, target, head, tail):
        """Neighbouring columns in tiles of one width, and what is left."""
        for j in range(0, count, width):
            pixels = min(width, count - j)
            t.skip_first, t.skip_last = head if j == 0 else 0, tail if j + pixels == count else 0
            call(a.tile, form * PIXELS + pixels - 1, s.tile, x + j * step, w, target + j * t.target_step)
            after_tile(s)

    return tiles


@serial
def tile_width(count):
    """Pixels of each tile, so that all are of equal width."""
    tiles = (count + PIXELS - 1) // PIXELS
    return (count + tiles - 1) // tiles


@serial
def list_rows(a, t, first, last):
    """An entry per row of taps of the sweep."""
    for r in range(first, last):
        put_word(t.entries, 2 * (r - first), word(a.rows_sources, r) * a.x_h)
        tap = word(a.rows_taps, r) * a.tap_cols + a.sweep_first
        put_word(t.entries, 2 * (r - first) + 1, tap * a.tap_bytes)
    t.entry_count = last - first


@serial
def list_entries(a, t, first, last, col):
    """An entry per tap of a column's run."""
    count = 0
    for r in range(first, last):
        for e in range(word(a.cols_first, col), word(a.cols_first, col + 1)):
            put_word(t.entries, 2 * count, word(a.rows_sources, r) * a.x_h + word(a.cols_sources, e) * a.x_w)
            tap = word(a.rows_taps, r) * a.tap_cols + word(a.cols_taps, e)
            put_word(t.entries, 2 * count + 1, tap * a.tap_bytes)
            count += 1
    t.entry_count = count


@serial
def _nothing(s):
    pass


def _flush(add_sums):
    @serial
    def flush(s):
        """Long sums are cut into blocks, which keeps their rounding errors small."""
        add_sums(s.total, s.sums, s.size)
        clear_bytes(s.sums, s.size)
        s.tiles = 0

    return flush


def _counter(flush):
    @serial
    def count_tile(s):
        s.tiles += 1
        if s.tiles >= _BLOCK_TILES:
            flush(s)

    return count_tile
