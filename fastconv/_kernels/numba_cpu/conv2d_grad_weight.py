"""grad_weight: tiles of output channels x input channels, summed over pixels; and grad_bias."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import pointer
from fastconv._kernels.numba_cpu.conv2d_arguments import BLOCK_COLUMNS, GRAD_BIAS, GRAD_WEIGHT, lanes
from fastconv._kernels.numba_cpu.conv2d_sum import block_count, block_vectors
from fastconv._kernels.numba_cpu.settings import MAX_VECTORS, serial
from fastconv._kernels.numba_cpu.vectors import add_panel


def grad_weight_kernel(dtype: str):
    """One item per (group, block of output channels, block of input channels, block of tap rows)."""
    real = getattr(numba, dtype)
    itemsize = np.dtype(dtype).itemsize
    width_of_vector = lanes(itemsize)
    sum_image, store_block = _sum_image(real, itemsize), _store_block(real)

    def grad_weight(context, lo, hi, slot):
        a = carray(pointer(context), 1, GRAD_WEIGHT)[0]
        in_all = (a.K + width_of_vector - 1) // width_of_vector
        k_blocks = block_count(in_all)
        c_blocks, row_blocks = -(-a.C // a.c_block), -(-a.tap_rows // a.row_block)
        size = a.row_block * a.tap_cols * a.c_block * MAX_VECTORS * width_of_vector
        scratch = a.scratch + slot * a.scratch_step
        sums, total = carray(pointer(scratch), size, real), carray(pointer(scratch + size * itemsize), size, real)
        row_size = BLOCK_COLUMNS * MAX_VECTORS * width_of_vector
        grad_row = carray(pointer(scratch + 2 * size * itemsize), row_size, real)
        for item in range(lo, hi):
            outer, kh0 = item // row_blocks, item % row_blocks * a.row_block
            first, vectors = block_vectors(outer // c_blocks % k_blocks, in_all)
            c0, k0, g = outer % c_blocks * a.c_block, first * width_of_vector, outer // c_blocks // k_blocks
            total[:] = 0
            for n in range(a.N):
                # Sums of sums: errors stay small over many images.
                sums[:] = 0
                sum_image(a, n, g, k0, c0, kh0, vectors, grad_row, sums)
                for i in range(size):
                    total[i] += sums[i]
            store_block(a, g, k0, c0, kh0, vectors * width_of_vector, total)

    return grad_weight


def _sum_image(real, itemsize):
    width_of_vector = lanes(itemsize)

    @serial
    def row_pair(a, begin, end, x, vectors, channels, grad_row, sums):
        segments = carray(pointer(a.cols_segments), 3 * a.segment_count, numba.int64)
        first = carray(pointer(a.cols_first), a.tap_cols + 1, numba.int64)
        width_bytes = vectors * width_of_vector * itemsize
        for kw in range(a.tap_cols):
            for s in range(first[kw], first[kw + 1]):
                target, source, count = segments[3 * s], segments[3 * s + 1], segments[3 * s + 2]
                ow, last = max(target, begin), min(target + count, end)
                if ow >= last:
                    continue
                iw = source + (ow - target) * a.col_step
                c = 0
                while c < channels:
                    left = channels - c
                    columns = 6 if left >= 6 else 4 if left >= 4 else 2 if left >= 2 else 1
                    column = x + (iw * a.x_w + c * a.x_c) * itemsize
                    row = grad_row + (ow - begin) * width_bytes
                    tile = sums + (kw * a.c_block + c) * width_bytes
                    step, shift = a.col_step * a.x_w * itemsize, a.x_c * itemsize
                    add_panel(real, vectors, columns, last - ow, row, column, step, shift, tile)
                    c += columns

    @serial
    def pack_row(a, grad_out, at, columns, valid, width, grad_row):
        """Some columns of a row of grad_out as [ow][lane], zero beyond the valid channels."""
        for ow in range(columns):
            for k in range(width):
                value = grad_out[at + ow * a.grad_out_w + k * a.grad_out_c] if k < valid else 0
                grad_row[ow * width + k] = value

    @serial
    def sum_image(a, n, g, k0, c0, kh0, vectors, grad_row, sums):
        grad_out = carray(pointer(a.grad_out), a.N * a.grad_out_n, real)
        row_first = carray(pointer(a.rows_first), a.rows_targets + 1, numba.int64)
        row_taps = carray(pointer(a.rows_taps), row_first[a.rows_targets], numba.int64)
        row_sources = carray(pointer(a.rows_sources), row_first[a.rows_targets], numba.int64)
        width, valid = vectors * width_of_vector, min(a.K - k0, vectors * width_of_vector)
        channels, tap_rows = min(a.C - c0, a.c_block), min(a.tap_rows - kh0, a.row_block)
        x = a.x + (n * a.x_n + (g * a.C + c0) * a.x_c) * itemsize
        for oh in range(a.rows_targets):
            at = n * a.grad_out_n + (g * a.K + k0) * a.grad_out_c + oh * a.grad_out_h
            for begin in range(0, a.out_cols, BLOCK_COLUMNS):
                end, packed = min(a.out_cols, begin + BLOCK_COLUMNS), False
                for r in range(row_first[oh], row_first[oh + 1]):
                    kh = row_taps[r] - kh0
                    if kh < 0 or kh >= tap_rows:
                        continue
                    if not packed:
                        pack_row(a, grad_out, at + begin * a.grad_out_w, end - begin, valid, width, grad_row)
                        packed = True
                    target = sums.ctypes.data + kh * a.tap_cols * a.c_block * width * itemsize
                    source = x + row_sources[r] * a.x_h * itemsize
                    row_pair(a, begin, end, source, vectors, channels, grad_row.ctypes.data, target)

    return sum_image


def _store_block(real):
    @serial
    def store_block(a, g, k0, c0, kh0, width, total):
        taps = a.tap_rows * a.tap_cols
        target = carray(pointer(a.grad_weight), a.groups * a.K * a.C * taps, real)
        base = ((g * a.K + k0) * a.C + c0) * taps + kh0 * a.tap_cols
        for tap in range(min(a.tap_rows - kh0, a.row_block) * a.tap_cols):
            for c in range(min(a.C - c0, a.c_block)):
                for k in range(min(a.K - k0, width)):
                    target[base + (k * a.C + c) * taps + tap] = total[(tap * a.c_block + c) * width + k]

    return store_block


def grad_bias_kernel(dtype: str):
    """One item per output channel: sums of rows, of images, of all, in float64."""
    real = getattr(numba, dtype)

    def grad_bias(context, lo, hi, slot):
        a = carray(pointer(context), 1, GRAD_BIAS)[0]
        grad_out = carray(pointer(a.grad_out), a.N * a.grad_out_n, real)
        target = carray(pointer(a.grad_bias), a.K, real)
        for k in range(lo, hi):
            total = 0.0
            for n in range(a.N):
                image = 0.0
                for h in range(a.rows):
                    at = n * a.grad_out_n + k * a.grad_out_c + h * a.grad_out_h
                    row = 0.0
                    for w in range(a.cols):
                        row += grad_out[at + w * a.grad_out_w]
                    image += row
                total += image
            target[k] = total

    return grad_bias
