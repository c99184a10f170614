"""The end of a run of terms: sums go to the target, or join what earlier runs left there; the last adds the bias."""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_taps import sum_inside
from fastconv._kernels.numba_cuda.products import COL_STEP, ROW_STEP
from fastconv._kernels.numba_cuda.settings import FLOATS, inlined, int64, uint32
from fastconv._kernels.numba_cuda.tiles import CHANNELS, ELEMENTS, PIXELS, Tile
from fastconv._kernels.numba_cuda.vectors import load4, store4


@cache
def settled(dtype: str, tile: Tile, stores: str):
    """For targets whose CHANNELS or PIXELS are written by vectors of four, or whose ELEMENTS one by one."""
    make = {CHANNELS: _by_channels, PIXELS: _by_pixels, ELEMENTS: _by_elements}[stores]
    store, repair = _unrolled(*make(dtype, tile)), _repair(dtype, tile)

    @inlined
    def settle(total, target, bias, source, packed, at, ends, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to):
        is_nan = store(total, target, bias, at, ends, sizes, to_y, to_x, to)
        if is_nan and ends[1]:
            repair(target, bias, source, packed, at, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to)

    return settle


@cache
def finished(dtype: str):
    """The end of a sum."""
    zero = FLOATS[dtype](0)

    @inlined
    def finish(value, bias_value, ends, relu):
        """What is stored: the last run adds the bias and rectifies; NaN and -0.0 stay."""
        if ends[1]:
            value += bias_value
            value = zero if relu and value < zero else value
        return value

    return finish


@inlined
def target_at(p, to_y, to_x, image_stride):
    """Where a pixel lies in the target."""
    line = uint32(p) // uint32(to_x[0])
    i, j = int64(line % uint32(to_y[0])), int64(uint32(p) % uint32(to_x[0]))
    return int64(line // uint32(to_y[0])) * image_stride + to_y[1] + i * to_y[2] + to_x[1] + j * to_x[2]


def _by_elements(dtype, tile):
    own_rows, zero, finish = 4 * tile.row_quads, FLOATS[dtype](0), finished(dtype)

    @inlined
    def store(s, total, target, bias, at, ends, sizes, to_y, to_x, to):
        group, m0, p = at[0], at[1], at[2] + s % 4 + s // 4 * COL_STEP
        M, pixels, is_nan = sizes[2], sizes[4], False
        if p < pixels:
            pixel_at = target_at(p, to_y, to_x, to[0]) + group * M * to[1]
            for r in range(own_rows):
                m = m0 + r % 4 + r // 4 * ROW_STEP
                if m < M:
                    value, element = total[r, s], pixel_at + m * to[1]
                    if not ends[0]:
                        value += target[element]
                    value = finish(value, bias[group * M + m] if sizes[6] else zero, ends, sizes[7])
                    target[element] = value
                    is_nan = is_nan or value != value
        return is_nan

    return store, 4 * tile.col_quads


def _by_pixels(dtype, tile):
    zero, finish, quads = FLOATS[dtype](0), finished(dtype), tile.col_quads

    @inlined
    def store(r, total, target, bias, at, ends, sizes, to_y, to_x, to):
        group, m, p0 = at[0], at[1] + r % 4 + r // 4 * ROW_STEP, at[2]
        M, pixels, relu, is_nan = sizes[2], sizes[4], sizes[7], False
        if m < M:
            added = bias[group * M + m] if sizes[6] else zero
            for q in range(quads):
                p = p0 + q * COL_STEP
                if p < pixels:
                    element, v = target_at(p, to_y, to_x, to[0]) + (group * M + m) * to[1], (zero, zero, zero, zero)
                    if not ends[0]:
                        v = load4(target, element)
                    v0 = finish(total[r, 4 * q] + v[0], added, ends, relu)
                    v1 = finish(total[r, 4 * q + 1] + v[1], added, ends, relu)
                    v2 = finish(total[r, 4 * q + 2] + v[2], added, ends, relu)
                    v3 = finish(total[r, 4 * q + 3] + v[3], added, ends, relu)
                    store4(target, element, (v0, v1, v2, v3))
                    is_nan = is_nan or v0 != v0 or v1 != v1 or v2 != v2 or v3 != v3
        return is_nan

    return store, 4 * tile.row_quads


def _by_channels(dtype, tile):
    zero, finish, quads = FLOATS[dtype](0), finished(dtype), tile.row_quads

    @inlined
    def store(s, total, target, bias, at, ends, sizes, to_y, to_x, to):
        group, m0, p = at[0], at[1], at[2] + s % 4 + s // 4 * COL_STEP
        M, pixels, relu, is_nan = sizes[2], sizes[4], sizes[7], False
        if p < pixels:
            pixel_at = target_at(p, to_y, to_x, to[0])
            for q in range(quads):
                m, k, v = m0 + q * ROW_STEP, group * M + m0 + q * ROW_STEP, (zero, zero, zero, zero)
                if m < M:
                    added = (bias[k], bias[k + 1], bias[k + 2], bias[k + 3]) if sizes[6] else v
                    if not ends[0]:
                        v = load4(target, pixel_at + k)
                    v0 = finish(total[4 * q, s] + v[0], added[0], ends, relu)
                    v1 = finish(total[4 * q + 1, s] + v[1], added[1], ends, relu)
                    v2 = finish(total[4 * q + 2, s] + v[2], added[2], ends, relu)
                    v3 = finish(total[4 * q + 3, s] + v[3], added[3], ends, relu)
                    store4(target, pixel_at + k, (v0, v1, v2, v3))
                    is_nan = is_nan or v0 != v0 or v1 != v1 or v2 != v2 or v3 != v3
        return is_nan

    return store, 4 * tile.col_quads


def _unrolled(store, count, item=0):
    """``store`` for each of ``count`` items, as many copies of it: sums stay in registers where no index is a variable.

    A loop of so much code is not unrolled by the compiler.
    """
    rest = _unrolled(store, count, item + 1) if item + 1 < count else None

    @inlined
    def store_last(total, target, bias, at, ends, sizes, to_y, to_x, to):
        return store(item, total, target, bias, at, ends, sizes, to_y, to_x, to)

    @inlined
    def store_all(total, target, bias, at, ends, sizes, to_y, to_x, to):
        is_nan = store(item, total, target, bias, at, ends, sizes, to_y, to_x, to)
        return rest(total, target, bias, at, ends, sizes, to_y, to_x, to) or is_nan

    return store_all if rest else store_last


def _repair(dtype, tile):
    own_rows, own_cols, zero = 4 * tile.row_quads, 4 * tile.col_quads, FLOATS[dtype](0)
    finish = finished(dtype)

    @inlined
    def repair(target, bias, source, packed, at, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to):
        """Sum what became NaN again, without the taps that are outside."""
        group, m0, p0 = at
        C, M, pitch, pixels = sizes[1], sizes[2], sizes[3], sizes[4]
        item = 0
        while item < own_rows * own_cols:
            r, s = item // own_cols, item % own_cols
            m, p = m0 + r % 4 + r // 4 * ROW_STEP, p0 + s % 4 + s // 4 * COL_STEP
            if m < M and p < pixels:
                line = uint32(p) // uint32(to_x[0])
                n, i, j = int64(line // uint32(to_y[0])), int64(line % uint32(to_y[0])), p % to_x[0]
                element = target_at(p, to_y, to_x, to[0]) + (group * M + m) * to[1]
                if target[element] != target[element]:
                    source_at, packed_at = n * strides[0] + group * C * strides[1], group * sizes[5] + m
                    value = sum_inside(
                        zero, source, source_at, packed, packed_at, i, j, C, pitch, y, x, taps_y, taps_x, strides
                    )
                    added = bias[group * M + m] if sizes[6] else zero
                    target[element] = finish(value, added, (True, True), sizes[7])
            item += 1

    return repair
