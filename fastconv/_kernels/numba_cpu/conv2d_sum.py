"""Forward and grad_input: tiles of output pixels x output channels, summed over taps and channels."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu import conv2d_arguments
from fastconv._kernels.numba_cpu.addresses import pointer
from fastconv._kernels.numba_cpu.conv2d_arguments import PACK, SUM, TILE_COLUMNS, lanes
from fastconv._kernels.numba_cpu.settings import MAX_VECTORS, serial
from fastconv._kernels.numba_cpu.vectors import add_panel

# Products in one block of a sum: long sums are cut into blocks, which keeps their rounding error small.
BLOCK_TERMS = 128

block_count = serial(conv2d_arguments.block_count)


@serial
def block_vectors(block, vectors_in_all):
    """First vector and number of vectors of a block: MAX_VECTORS each, then 2 and 1 as the rest needs."""
    whole = vectors_in_all // MAX_VECTORS
    if block < whole:
        return block * MAX_VECTORS, MAX_VECTORS
    begin, rest, wanted = whole * MAX_VECTORS, vectors_in_all % MAX_VECTORS, block - whole
    if rest == 3 and wanted == 1:
        return begin + 2, 1
    return begin, 1 if rest == 1 else 2


def pack_kernel(dtype: str):
    """packed[g][block][tap][c][lane] = weight, zero beyond K; one item per (group, block)."""
    real = getattr(numba, dtype)
    itemsize = np.dtype(dtype).itemsize
    width_of_vector = lanes(itemsize)

    def pack(context, lo, hi, slot):
        a = carray(pointer(context), 1, PACK)[0]
        in_all = (a.K + width_of_vector - 1) // width_of_vector
        count = block_count(in_all)
        weight = carray(pointer(a.weight), a.groups * a.group_stride, real)
        packed = carray(pointer(a.packed), a.groups * in_all * width_of_vector * a.taps * a.C, real)
        for item in range(lo, hi):
            g, block = item // count, item % count
            first, vectors = block_vectors(block, in_all)
            k0, width = first * width_of_vector, vectors * width_of_vector
            at = (g * in_all * width_of_vector + k0) * a.taps * a.C
            for tap in range(a.taps):
                for c in range(a.C):
                    origin = g * a.group_stride + k0 * a.k_stride + c * a.c_stride + tap
                    for k in range(width):
                        packed[at + k] = weight[origin + k * a.k_stride] if k0 + k < a.K else 0
                    at += width

    return pack


def sum_kernel(dtype: str):
    """target = bias + sum of weight * source; one item per (image, group, block of channels, target row)."""
    real = getattr(numba, dtype)
    itemsize = np.dtype(dtype).itemsize
    width_of_vector = lanes(itemsize)
    sum_tile, store_tile = _sum_tile(real, itemsize), _store_tile()

    def sum_rows(context, lo, hi, slot):
        a = carray(pointer(context), 1, SUM)[0]
        in_all = (a.K + width_of_vector - 1) // width_of_vector
        count = block_count(in_all)
        runs = carray(pointer(a.cols_runs), 4 * a.cols_run_count, numba.int64)
        bias = carray(pointer(a.bias), a.groups * a.K, real)
        target = carray(pointer(a.target), a.N * a.target_n, real)
        scratch, size = a.scratch + slot * a.scratch_step, TILE_COLUMNS * MAX_VECTORS * width_of_vector
        sums, total = carray(pointer(scratch), size, real), carray(pointer(scratch + size * itemsize), size, real)
        for item in range(lo, hi):
            row, outer = item % a.rows_targets, item // a.rows_targets
            block, n, g = outer % count, outer // count // a.groups, outer // count % a.groups
            first, vectors = block_vectors(block, in_all)
            k0 = first * width_of_vector
            channels = min(a.K - k0, vectors * width_of_vector)
            taps = a.tap_rows * a.tap_cols
            packed = a.packed + (g * in_all * width_of_vector + k0) * taps * a.C * itemsize
            source = a.source + (n * a.source_n + g * a.C * a.source_c) * itemsize
            base = n * a.target_n + (g * a.K + k0) * a.target_c + row * a.target_h
            for r in range(a.cols_run_count):
                start, length, target_step, source_step = runs[4 * r : 4 * r + 4]
                done = 0
                while done < length:
                    left = length - done
                    columns = 6 if left >= 6 else 4 if left >= 4 else 2 if left >= 2 else 1
                    total[:] = 0
                    shifted = source + done * source_step * a.source_w * itemsize
                    sum_tile(a, row, start, shifted, source_step, packed, vectors, columns, sums, total)
                    at = base + (start + done * target_step) * a.target_w
                    bias_at = g * a.K + k0 if a.bias != 0 else -1
                    pixel_step, width = target_step * a.target_w, vectors * width_of_vector
                    store_tile(target, at, pixel_step, a.target_c, total, width, columns, channels, bias, bias_at)
                    done += columns

    return sum_rows


def _sum_tile(real, itemsize):
    width_of_vector = lanes(itemsize)

    @serial
    def flush(sums, total, size):
        for i in range(size):
            total[i] += sums[i]
            sums[i] = 0

    @serial
    def sum_tile(a, row, start, source, source_step, packed, vectors, columns, sums, total):
        row_first = carray(pointer(a.rows_first), a.rows_targets + 1, numba.int64)
        col_first = carray(pointer(a.cols_first), a.cols_targets + 1, numba.int64)
        row_taps = carray(pointer(a.rows_taps), row_first[a.rows_targets], numba.int64)
        row_sources = carray(pointer(a.rows_sources), row_first[a.rows_targets], numba.int64)
        col_taps = carray(pointer(a.cols_taps), col_first[a.cols_targets], numba.int64)
        col_sources = carray(pointer(a.cols_sources), col_first[a.cols_targets], numba.int64)
        shift = source_step * a.source_w * itemsize
        size, terms = columns * vectors * width_of_vector, 0
        sums[:size] = 0
        for r in range(row_first[row], row_first[row + 1]):
            for e in range(col_first[start], col_first[start + 1]):
                tap = row_taps[r] * a.tap_cols + col_taps[e]
                pixel = source + (row_sources[r] * a.source_h + col_sources[e] * a.source_w) * itemsize
                for c in range(0, a.C, BLOCK_TERMS):
                    count = min(a.C - c, BLOCK_TERMS)
                    if terms + count > BLOCK_TERMS:
                        flush(sums, total, size)
                        terms = 0
                    terms += count
                    weight = packed + (tap * a.C + c) * vectors * width_of_vector * itemsize
                    x = pixel + c * a.source_c * itemsize
                    add_panel(real, vectors, columns, count, weight, x, a.source_c * itemsize, shift, sums.ctypes.data)
        flush(sums, total, size)

    return sum_tile


def _store_tile():
    @serial
    def store_tile(target, at, pixel_step, channel_step, sums, width, columns, channels, bias, bias_at):
        for p in range(columns):
            for k in range(channels):
                offset = bias[bias_at + k] if bias_at >= 0 else sums.dtype.type(0)
                target[at + p * pixel_step + k * channel_step] = sums[p * width + k] + offset

    return store_tile
