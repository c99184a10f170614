"""grad_input of a convolution without shared weights: gradients of bands of rows, each in memory of its own, then sums.

Bands overlap, and no two threads may add to one value; how they are cut does not depend on the threads.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, copy_bytes, pointer, put_word, word
from fastconv._kernels.numba_cpu.locally_connected2d_arguments import LOCAL
from fastconv._kernels.numba_cpu.locally_connected2d_windows import grads_function
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.settings import COLUMNS, MAX_VECTORS, VECTOR_BYTES, serial


def bands_kernel(dtype: str):
    """One item per (images, band of rows, group, part of its input channels): gradients of padded input rows."""
    size, real, take_grads = np.dtype(dtype).itemsize, getattr(numba, dtype), grads_function(dtype)
    sum_channels = _sum_channels(size)

    @serial
    def add_windows(a, scratch, strips, images, c_begin, c_end, at):
        plane, step, taps = a.band_height * a.band_width, a.rows_dilation * a.band_width, a.rows_kernel * a.cols_kernel
        reach = a.cols_dilation * (a.cols_kernel - 1) + 1
        for i in range(images):
            window = scratch + a.windows_at + i * a.window
            for c in range(c_begin, c_end):
                row = strips + ((i * a.C + c) * plane + at) * size
                for kh in range(a.rows_kernel):
                    sums = carray(pointer(row + kh * step * size), reach, real)
                    values = carray(pointer(window + kh * a.cols_kernel * size), a.cols_kernel, real)
                    for kw in range(a.cols_kernel):
                        sums[kw * a.cols_dilation] += values[kw]
                window += taps * size

    def bands_items(context, lo, hi, slot):
        a = carray(pointer(context), 1, LOCAL)[0]
        scratch, plane = a.scratch + slot * a.scratch_step, a.band_height * a.band_width
        channels, taps, K = a.C // a.groups, a.rows_kernel * a.cols_kernel, a.K // a.groups
        for item in range(lo, hi):
            part, rest = item % a.channel_blocks, item // a.channel_blocks
            group, band, n = rest % a.groups, rest // a.groups % a.bands, rest // a.groups // a.bands * a.images
            images, first = min(a.images, a.N - n), part * channels // a.channel_blocks
            count = (part + 1) * channels // a.channel_blocks - first
            strips, c_begin = a.shared + (band * a.N + n) * a.C * plane * size, group * channels + first
            for i in range(images):
                clear_bytes(strips + (i * a.C + c_begin) * plane * size, count * plane * size)
            begin, end = band * a.rows_out // a.bands, (band + 1) * a.rows_out // a.bands
            for row in range(begin, end):
                for place in range(a.cols_out):
                    take_grads(a, scratch, n, images, row, place)
                    w = ((row * a.cols_out + place) * a.K + group * K) * a.terms + first * taps
                    sum_channels(context, a, scratch, a.weight + w * size, count * taps, group * K, images)
                    at = (row - begin) * a.rows_stride * a.band_width + place * a.cols_stride
                    add_windows(a, scratch, strips, images, c_begin, c_begin + count, at)

    return bands_items


def _sum_channels(size: int):
    """The gradients of the windows of some images over the output channels of a group, some at a time."""
    lanes = VECTOR_BYTES // size

    @serial
    def sum_terms(context, a, scratch, vectors, images, w, grads, windows):
        tiles = -(-images // COLUMNS[vectors - 1])
        for tile in range(tiles):
            n = tile * images // tiles
            count, sums = (tile + 1) * images // tiles - n, scratch + a.sums_at + n * vectors * VECTOR_BYTES
            x, target = grads + n * a.grads, windows + n * a.window
            call(word(context, vectors - 1), count, scratch + a.panel_at, x, w, sums, target)

    @serial
    def copy_rows(a, scratch, w, terms, rows):
        """Rows of less than a vector, which could not be read where the weights end."""
        for r in range(rows):
            copy_bytes(scratch + a.rows_at + r * a.row, w + r * a.terms * size, terms * size)

    @serial
    def sum_channels(context, a, scratch, w, terms, first, images):
        panel, copies, K = carray(pointer(scratch + a.panel_at), 1, PANEL)[0], terms < lanes, a.K // a.groups
        put_word(scratch + a.entries_at, 0, 0)
        put_word(scratch + a.entries_at, 1, 0)
        panel.entries, panel.entry_count, panel.per_chunk, panel.ending = scratch + a.entries_at, 1, 1, 0
        panel.x_step, panel.x_shift, panel.target_step = size, a.grads, a.window
        panel.w_step, most, t = a.row if copies else a.terms * size, lanes if copies else a.block_terms, 0
        while t < terms:
            vectors = min(MAX_VECTORS, -(-(terms - t) // lanes))
            if not copies:
                vectors = min(vectors, terms // lanes)
            # The last vector ends where the terms do: behind them the array may end, too.
            at = t if copies else min(t, terms - vectors * lanes)
            panel.channels = vectors * lanes
            for k in range(0, K, most):
                panel.count, panel.first, panel.last = min(most, K - k), k == 0, k + most >= K
                rows, grads = w + (k * a.terms + at) * size, scratch + a.grads_at + (first + k) * size
                if copies:
                    copy_rows(a, scratch, rows, terms, panel.count)
                    rows = scratch + a.rows_at
                sum_terms(context, a, scratch, vectors, images, rows, grads, scratch + a.windows_at + at * size)
            t += vectors * lanes

    return sum_channels


def sums_kernel(dtype: str):
    """One item per (image, input row): the sums over all bands."""
    size, real = np.dtype(dtype).itemsize, getattr(numba, dtype)

    @serial
    def add_bands(a, n, c, h, place):
        W, plane = a.cols_size, a.band_height * a.band_width
        clear_bytes(place, W * size)
        target = carray(pointer(place), W, real)
        for band in range(a.bands):
            begin, end = band * a.rows_out // a.bands, (band + 1) * a.rows_out // a.bands
            row = h + a.rows_low - begin * a.rows_stride
            if 0 <= row <= (end - 1 - begin) * a.rows_stride + a.rows_dilation * (a.rows_kernel - 1):
                first = ((band * a.N + n) * a.C + c) * plane + row * a.band_width + a.cols_low
                values = carray(pointer(a.shared + first * size), W, real)
                for w in range(W):
                    target[w] += values[w]

    def sums_items(context, lo, hi, slot):
        a = carray(pointer(context), 1, LOCAL)[0]
        scratch, line = a.scratch + slot * a.scratch_step + a.strips_at, a.cols_size * size
        for item in range(lo, hi):
            n, h = item // a.rows_size, item % a.rows_size
            target, is_plane = a.x + n * a.x_n + h * a.x_h, a.x_w == size
            for c in range(a.C):
                add_bands(a, n, c, h, target + c * a.x_c if is_plane else scratch + c * line)
            if not is_plane:
                call(a.transpose, scratch, line, 0, target, a.x_w, 0, a.C, a.cols_size)

    return sums_items
