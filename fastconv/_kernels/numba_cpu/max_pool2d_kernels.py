"""Max-pooling lane by lane. Lanes are neighbours in memory: output columns in the contiguous format, channels in
channels_last."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import pointer
from fastconv._kernels.numba_cpu.max_pool2d_arguments import POOL, POOL_LANES, UNPOOL
from fastconv._kernels.numba_cpu.settings import serial


def pool_kernel(dtype: str, offsets_dtype: str):
    """One item per (image, channel, output row), or per (image, output row) in channels_last."""
    real, offset = getattr(numba, dtype), getattr(numba, offsets_dtype)
    itemsize = np.dtype(dtype).itemsize
    pool_lanes = _pool_lanes(real)
    store_lanes = _store_lanes(real, offset)

    def pool(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        runs = carray(pointer(a.cols_runs), 4 * a.cols_run_count, numba.int64)
        scratch = a.scratch + slot * a.scratch_step
        best = carray(pointer(scratch), POOL_LANES, real)
        winner = carray(pointer(scratch + POOL_LANES * itemsize), POOL_LANES, numba.uint32)
        for item in range(lo, hi):
            row, outer = item % a.rows_targets, item // a.rows_targets
            if a.channels_last:
                for col in range(a.cols_targets):
                    for c in range(0, a.C, POOL_LANES):
                        count = min(a.C - c, POOL_LANES)
                        pool_lanes(a, outer * a.x_n + c, row, col, 1, count, best, winner)
                        store_lanes(a, outer * a.out_n + row * a.out_h + col * a.out_w + c, count, best, winner)
                continue
            n, c = outer // a.C, outer % a.C
            for r in range(a.cols_run_count):
                start, length, step = runs[4 * r], runs[4 * r + 1], runs[4 * r + 3]
                for j in range(0, length, POOL_LANES):
                    count = min(length - j, POOL_LANES)
                    pool_lanes(a, n * a.x_n + c * a.x_c + j * step, row, start, step, count, best, winner)
                    store_lanes(a, n * a.out_n + c * a.out_c + row * a.out_h + start + j, count, best, winner)

    return pool


def _pool_lanes(real):
    @serial
    def compare(x, at, step, count, tap, best, winner):
        for j in range(count):
            value = x[at + j * step]
            wins = (value > best[j]) | (value != value)
            best[j] = value if wins else best[j]
            winner[j] = tap if wins else winner[j]

    @serial
    def pool_lanes(a, at, row, col, step, count, best, winner):
        x = carray(pointer(a.x), a.N * a.x_n, real)
        row_first = carray(pointer(a.rows_first), a.rows_targets + 1, numba.int64)
        col_first = carray(pointer(a.cols_first), a.cols_targets + 1, numba.int64)
        row_taps = carray(pointer(a.rows_taps), row_first[a.rows_targets], numba.int64)
        row_sources = carray(pointer(a.rows_sources), row_first[a.rows_targets], numba.int64)
        col_taps = carray(pointer(a.cols_taps), col_first[a.cols_targets], numba.int64)
        col_sources = carray(pointer(a.cols_sources), col_first[a.cols_targets], numba.int64)
        # A window without any input gives -inf and offset 0.
        best[:count] = -np.inf
        winner[:count] = 0
        begun = False
        for r in range(row_first[row], row_first[row + 1]):
            for e in range(col_first[col], col_first[col + 1]):
                tap = numba.uint32(row_taps[r] * a.tap_cols + col_taps[e])
                origin = at + row_sources[r] * a.x_h + col_sources[e] * a.x_w
                if begun:
                    compare(x, origin, step, count, tap, best, winner)
                    continue
                begun = True
                for j in range(count):
                    best[j] = x[origin + j * step]
                    winner[j] = tap

    return pool_lanes


def _store_lanes(real, offset):
    @serial
    def store_lanes(a, at, count, best, winner):
        out = carray(pointer(a.out), a.N * a.out_n, real)
        for j in range(count):
            out[at + j] = best[j]
        if a.offsets != 0:
            offsets = carray(pointer(a.offsets), a.N * a.out_n, offset)
            for j in range(count):
                offsets[at + j] = winner[j]

    return store_lanes


def unpool_kernel(dtype: str, offsets_dtype: str):
    """One item per (image, block of channels)."""
    real, offset = getattr(numba, dtype), getattr(numba, offsets_dtype)
    unpool_plane = _unpool_plane(real, offset)

    def unpool(context, lo, hi, slot):
        a = carray(pointer(context), 1, UNPOOL)[0]
        grad_input = carray(pointer(a.x), a.N * a.x_n, real)
        width = a.channels
        blocks = (a.C + width - 1) // width
        for item in range(lo, hi):
            n, c = item // blocks, item % blocks * width
            channels = min(a.C - c, width)
            base = n * a.x_n + c * a.x_c
            for pixel in range(a.H * a.W):
                for j in range(channels):
                    grad_input[base + pixel * a.x_w + j] = 0
            for j in range(channels):
                unpool_plane(a, n * a.out_n + (c + j) * a.out_c, base + j * a.x_c, grad_input)

    return unpool


def _unpool_plane(real, offset):
    @serial
    def unpool_plane(a, at, base, grad_input):
        """Send every gradient to its winner; an offset that leads outside leads nowhere."""
        grad_out = carray(pointer(a.out), a.N * a.out_n, real)
        offsets = carray(pointer(a.offsets), a.N * a.out_n, offset)
        tap_rows = carray(pointer(a.tap_rows), a.taps, numba.int64)
        tap_cols = carray(pointer(a.tap_cols), a.taps, numba.int64)
        for oh in range(a.OH):
            for ow in range(a.OW):
                place = at + oh * a.out_h + ow * a.out_w
                winner = numba.int64(offsets[place])
                if winner >= a.taps:
                    continue
                ih = oh * a.row_stride - a.row_low + tap_rows[winner]
                iw = ow * a.col_stride - a.col_low + tap_cols[winner]
                if 0 <= ih < a.H and 0 <= iw < a.W:
                    grad_input[base + ih * a.x_h + iw * a.x_w] += grad_out[place]

    return unpool_plane
