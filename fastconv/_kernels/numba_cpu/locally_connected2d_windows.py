"""What lies under the windows of an output row: strips of input rows, from which windows are copied one by one."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, copy_bytes, move_vector, pointer, put_word, word
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial

_ALL_BITS = -1


@serial
def run_at(a, item):
    """Row of the output, places, output channels, first input column (it may be padding) and number of columns."""
    k, tile, row = item % a.k_blocks, item // a.k_blocks % a.col_tiles, item // a.k_blocks // a.col_tiles
    begin, end = tile * a.cols_out // a.col_tiles, (tile + 1) * a.cols_out // a.col_tiles
    k_begin, k_end = k * a.K // a.k_blocks, (k + 1) * a.K // a.k_blocks
    count = (end - begin - 1) * a.cols_stride + a.cols_dilation * (a.cols_kernel - 1) + 1
    return row, begin, end, k_begin, k_end, begin * a.cols_stride - a.cols_low, count


@serial
def inside(a, first, count):
    """The columns lo .. hi - 1 of a run are no padding."""
    lo = min(max(-first, 0), count)
    return lo, max(lo, min(a.cols_size - first, count))


@serial
def leaves(a, row, place):
    """Whether a window leaves the input."""
    top, left = row * a.rows_stride - a.rows_low, place * a.cols_stride - a.cols_low
    below, right = top + a.rows_dilation * (a.rows_kernel - 1), left + a.cols_dilation * (a.cols_kernel - 1)
    return top < 0 or left < 0 or below >= a.rows_size or right >= a.cols_size


@serial
def rows_at(a, k, k_end, most):
    """How many output channels from k on belong to one group."""
    group = a.K // a.groups
    return min(most, min((k // group + 1) * group, k_end) - k)


def strips_function(dtype: str):
    """Strips of some images, and that of the mask, in which all bits are set where a tap is no padding."""
    size, bits = np.dtype(dtype).itemsize, _bits(dtype)

    @serial
    def take_strip(a, row, first, count, x, strip):
        lo, hi = inside(a, first, count)
        line, step = a.width * size, a.rows_kernel * a.width * size
        for kh in range(a.rows_kernel):
            h, place = row * a.rows_stride - a.rows_low + kh * a.rows_dilation, strip + kh * line
            is_inside = 0 <= h < a.rows_size and lo < hi
            for c in range(a.C):
                clear_bytes(place + c * step, (lo if is_inside else count) * size)
            if not is_inside:
                continue
            source = x + h * a.x_h + (first + lo) * a.x_w
            for c in range(a.C):
                clear_bytes(place + c * step + hi * size, (count - hi) * size)
                if a.x_w == size:
                    copy_bytes(place + c * step + lo * size, source + c * a.x_c, (hi - lo) * size)
            if a.x_w != size:
                call(a.transpose, source, a.x_w, 0, place + lo * size, step, 0, hi - lo, a.C)

    @serial
    def take_strips(a, scratch, row, first, count, n, images):
        step = a.C * a.rows_kernel * a.width * size
        for i in range(images):
            take_strip(a, row, first, count, a.x + (n + i) * a.x_n, scratch + a.strips_at + i * step)
        lo, hi = inside(a, first, count)
        for kh in range(a.rows_kernel):
            h = row * a.rows_stride - a.rows_low + kh * a.rows_dilation
            mask = carray(pointer(scratch + a.mask_strip_at + kh * a.width * size), count, bits)
            for i in range(count):
                mask[i] = bits(_ALL_BITS) if 0 <= h < a.rows_size and lo <= i < hi else bits(0)

    return take_strips


def windows_function(dtype: str):
    """The windows of some images at a place; where they leave the input, its mask for the channels of a group, too."""
    size, bits = np.dtype(dtype).itemsize, _bits(dtype)

    @serial
    def take_taps(a, strip, step, rows, window):
        # Whole vectors, or words: the next row replaces what is too much.
        nbytes = a.cols_kernel * size
        for r in range(rows):
            place, target = strip + r * step, window + r * nbytes
            if a.cols_dilation > 1:
                taps, found = a.cols_dilation * a.cols_kernel, carray(pointer(target), a.cols_kernel, bits)
                given = carray(pointer(place), taps, bits)
                for kw in range(a.cols_kernel):
                    found[kw] = given[kw * a.cols_dilation]
            elif nbytes <= 16:
                put_word(target, 0, word(place, 0))
                put_word(target, 1, word(place, 1))
            else:
                for at in range(0, nbytes, VECTOR_BYTES):
                    move_vector(target + at, place + at)

    @serial
    def take_windows(a, scratch, row, place, begin, images):
        rows, line, at = a.C * a.rows_kernel, a.width * size, (place - begin) * a.cols_stride * size
        for i in range(images):
            strip = scratch + a.strips_at + i * rows * line + at
            take_taps(a, strip, line, rows, scratch + a.windows_at + i * a.window)
        is_masked = leaves(a, row, place)
        if is_masked:
            taps = a.rows_kernel * a.cols_kernel
            for t in range(0, a.terms, taps):
                mask = scratch + a.mask_at + t * size
                take_taps(a, scratch + a.mask_strip_at + at, line, a.rows_kernel, mask)
        return is_masked

    return take_windows


def grads_function(dtype: str):
    """The gradients of some images at a place: output channel after output channel."""
    real = getattr(numba, dtype)

    @serial
    def take_grads(a, scratch, n, images, row, place):
        for i in range(images):
            source = a.out + (n + i) * a.out_n + row * a.out_h + place * a.out_w
            grads = carray(pointer(scratch + a.grads_at + i * a.grads), a.K, real)
            for k in range(a.K):
                grads[k] = carray(pointer(source + k * a.out_c), 1, real)[0]

    return take_grads


def masked_function(dtype: str):
    """Rows of values that become zero where no bit of the mask is set."""
    bits = _bits(dtype)

    @serial
    def copy_masked(values, step, mask, target, target_step, rows, count):
        kept = carray(pointer(mask), count, bits)
        for r in range(rows):
            given, found = (
                carray(pointer(values + r * step), count, bits),
                carray(pointer(target + r * target_step), count, bits),
            )
            for t in range(count):
                found[t] = given[t] & kept[t]

    return copy_masked


def _bits(dtype: str):
    """The integers of the size of a value."""
    return getattr(numba, f"int{8 * np.dtype(dtype).itemsize}")
