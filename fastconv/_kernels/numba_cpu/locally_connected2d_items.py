"""Convolution without shared weights, and the gradient of its weight: at every place windows times what is its own.

Weights are read, and their gradients written, once for some images, as they lie in memory.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import (
    call,
    copy_bytes,
    fence_streams,
    pointer,
    put_word,
    stream_bytes,
    word,
)
from fastconv._kernels.numba_cpu.locally_connected2d_arguments import LOCAL
from fastconv._kernels.numba_cpu.locally_connected2d_windows import (
    grads_function,
    masked_function,
    rows_at,
    run_at,
    strips_function,
    windows_function,
)
from fastconv._kernels.numba_cpu.panel import BIAS_LANES, PANEL
from fastconv._kernels.numba_cpu.settings import COLUMNS, MAX_VECTORS, VECTOR_BYTES, serial


def forward_kernel(dtype: str):
    """One item per (row of the output, part of it, part of the output channels)."""
    size, take_strips, take_windows = np.dtype(dtype).itemsize, strips_function(dtype), windows_function(dtype)
    copy_masked, open_panel = masked_function(dtype), _open_dots(size)

    @serial
    def sum_rows(context, a, scratch, windows, images, rows, w, target):
        tiles = -(-images // COLUMNS[MAX_VECTORS - 1])
        for tile in range(tiles):
            n = tile * images // tiles
            count, x = (tile + 1) * images // tiles - n, windows + n * a.window
            call(word(context, rows - 1), count, scratch + a.panel_at, x, w, scratch + a.sums_at, target + n * a.out_n)

    @serial
    def sum_place(context, a, scratch, row, place, begin, k_begin, k_end, n, images):
        is_masked = take_windows(a, scratch, row, place, begin, images)
        panel, line = carray(pointer(scratch + a.panel_at), 1, PANEL)[0], a.terms * size
        first, group = (row * a.cols_out + place) * a.K, a.K // a.groups
        target = a.out + n * a.out_n + row * a.out_h + place * a.out_w
        panel.w_shift = a.row if is_masked else line
        if a.has_bias:
            copy_bytes(scratch + a.bias_at, a.bias + first * size, a.K * size)
        k = k_begin
        while k < k_end:
            # No processor foresees several rows at once; of one image, nothing else is read.
            most = 1 if images == 1 else MAX_VECTORS
            rows, w = rows_at(a, k, k_end, most), a.weight + (first + k) * line
            if is_masked:
                copy_masked(w, line, scratch + a.mask_at, scratch + a.rows_at, a.row, rows, a.terms)
                w = scratch + a.rows_at
            panel.bias = scratch + a.bias_at + k * size
            windows = scratch + a.windows_at + k // group * line
            sum_rows(context, a, scratch, windows, images, rows, w, target + k * a.out_c)
            k += rows

    def forward_items(context, lo, hi, slot):
        a = carray(pointer(context), 1, LOCAL)[0]
        scratch = a.scratch + slot * a.scratch_step
        open_panel(a, scratch)
        for item in range(lo, hi):
            row, begin, end, k_begin, k_end, first, count = run_at(a, item)
            for n in range(0, a.N, a.images):
                images = min(a.images, a.N - n)
                take_strips(a, scratch, row, first, count, n, images)
                for place in range(begin, end):
                    sum_place(context, a, scratch, row, place, begin, k_begin, k_end, n, images)

    return forward_items


def _open_dots(size: int):
    """What prepares a panel for the rows of weights of every place."""

    @serial
    def open_panel(a, scratch):
        panel, entries = carray(pointer(scratch + a.panel_at), 1, PANEL)[0], scratch + a.entries_at
        whole = a.terms * size // VECTOR_BYTES
        # All vectors in one go, or one after the other where there are more.
        panel.count = whole if whole <= a.block_terms else 1
        panel.entries, panel.entry_count = entries, whole // max(1, panel.count)
        for entry in range(panel.entry_count):
            put_word(entries, 2 * entry, entry * VECTOR_BYTES)
            put_word(entries, 2 * entry + 1, entry * VECTOR_BYTES)
        panel.per_chunk, panel.first, panel.last = a.block_terms, True, True
        panel.w_step = whole * VECTOR_BYTES
        panel.channels = a.terms - panel.w_step // size
        panel.x_shift, panel.target_step, panel.target_shift = a.window, a.out_n, a.out_c
        panel.ending = a.ending | (BIAS_LANES if a.has_bias else 0)

    return open_panel


def grad_weight_kernel(dtype: str):
    """One item per (row of the output, part of it, part of the output channels)."""
    size, take_strips, take_windows = np.dtype(dtype).itemsize, strips_function(dtype), windows_function(dtype)
    take_grads, copy_masked, give_grads = grads_function(dtype), masked_function(dtype), _give_grads(dtype)
    open_panel, multiply_rows = _multiply_rows(size)

    @serial
    def multiply_place(context, a, scratch, row, place, begin, k_begin, k_end, n, images):
        is_masked, line = take_windows(a, scratch, row, place, begin, images), a.terms * size
        take_grads(a, scratch, n, images, row, place)
        carray(pointer(scratch + a.panel_at), 1, PANEL)[0].count = images
        first, group = (row * a.cols_out + place) * a.K, a.K // a.groups
        k = k_begin
        while k < k_end:
            rows, target = rows_at(a, k, k_end, VECTOR_BYTES // size), a.weight + (first + k) * line
            windows, grads = scratch + a.windows_at + k // group * line, scratch + a.grads_at + k * size
            # As far from an aligned place as the target is.
            found = scratch + a.rows_at + target % VECTOR_BYTES
            multiply_rows(context, a, scratch, windows, grads, rows, found)
            if is_masked:
                # What an infinite gradient makes of padding is no number.
                copy_masked(found, line, scratch + a.mask_at, found, line, rows, a.terms)
            give_grads(a, found, target, rows * line, n > 0)
            k += rows

    def grad_weight_items(context, lo, hi, slot):
        a = carray(pointer(context), 1, LOCAL)[0]
        scratch = a.scratch + slot * a.scratch_step
        open_panel(a, scratch)
        for item in range(lo, hi):
            row, begin, end, k_begin, k_end, first, count = run_at(a, item)
            for n in range(0, a.N, a.images):
                images = min(a.images, a.N - n)
                take_strips(a, scratch, row, first, count, n, images)
                for place in range(begin, end):
                    multiply_place(context, a, scratch, row, place, begin, k_begin, k_end, n, images)
        fence_streams()

    return grad_weight_items


def _multiply_rows(size: int):
    """What prepares a panel, and the gradients of some output channels of one group at one place."""
    lanes = VECTOR_BYTES // size

    @serial
    def open_panel(a, scratch):
        panel = carray(pointer(scratch + a.panel_at), 1, PANEL)[0]
        panel.entries, panel.entry_count, panel.per_chunk = scratch + a.entries_at, 1, 1
        put_word(panel.entries, 0, 0)
        put_word(panel.entries, 1, 0)
        panel.x_step, panel.x_shift, panel.w_step, panel.target_step = a.grads, size, a.window, a.terms * size
        panel.first, panel.last, panel.ending = True, True, 0

    @serial
    def multiply_rows(context, a, scratch, windows, grads, rows, target):
        panel, t = carray(pointer(scratch + a.panel_at), 1, PANEL)[0], 0
        while t < a.terms:
            vectors = min(MAX_VECTORS, -(-(a.terms - t) // lanes))
            panel.channels = min(a.terms - t, vectors * lanes)
            tiles = -(-rows // COLUMNS[vectors - 1])
            for tile in range(tiles):
                k = tile * rows // tiles
                count, place = (tile + 1) * rows // tiles - k, target + k * a.terms * size + t * size
                x, w = grads + k * size, windows + t * size
                call(word(context, vectors - 1), count, scratch + a.panel_at, x, w, scratch + a.sums_at, place)
            t += vectors * lanes

    return open_panel, multiply_rows


def _give_grads(dtype: str):
    """Gradients to the target, in one run: added to those of the images before, or past the caches."""
    size, real = np.dtype(dtype).itemsize, getattr(numba, dtype)

    @serial
    def give_grads(a, found, target, nbytes, adds):
        if adds:
            count = nbytes // size
            values, sums = carray(pointer(found), count, real), carray(pointer(target), count, real)
            for i in range(count):
                sums[i] += values[i]
        elif a.streams:
            lead = min(nbytes, -target % VECTOR_BYTES)
            copy_bytes(target, found, lead)
            stream_bytes(target + lead, found + lead, nbytes - lead)
        else:
            copy_bytes(target, found, nbytes)

    return give_grads
