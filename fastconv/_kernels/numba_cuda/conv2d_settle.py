"""The end of a run of terms: sums join what earlier runs left, and the last adds the bias and writes the target.

Runs are left in ``kept``, in the type of the sums: the target itself where that is its type.
"""

from functools import cache

from fastconv._kernels.contract import ACTIVATIONS, RELU6
from fastconv._kernels.numba_cuda.conv2d_taps import summed_inside
from fastconv._kernels.numba_cuda.products import COL_STEP, ROW_STEP
from fastconv._kernels.numba_cuda.settings import FLOATS, inlined, int64, uint32
from fastconv._kernels.numba_cuda.storage import stored, wide
from fastconv._kernels.numba_cuda.tiles import CHANNELS, ELEMENTS, PIXELS, Tile
from fastconv._kernels.numba_cuda.vectors import load4, store4


@cache
def settled(dtype: str, into: str, tile: Tile, stores: str):
    """For targets of dtype ``into`` whose CHANNELS or PIXELS are written by vectors of four, or ELEMENTS one by one."""
    make = {CHANNELS: _by_channels, PIXELS: _by_pixels, ELEMENTS: _by_elements}[stores]
    store, repair = _unrolled(*make(dtype, into, tile)), _repair(dtype, into, tile)

    @inlined
    def settle(
        total, kept, target, bias, source, packed, at, ends, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to
    ):
        is_nan = store(total, kept, target, bias, at, ends, sizes, to_y, to_x, to)
        if is_nan and ends[1]:
            repair(target, bias, source, packed, at, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to)

    return settle


@cache
def finished(dtype: str):
    """The end of a sum; activations are numbered as in the contract."""
    zero, six, capped = FLOATS[dtype](0), FLOATS[dtype](6), ACTIVATIONS.index(RELU6)

    @inlined
    def finish(value, bias_value, ends, activation):
        """What is stored: the last run adds the bias and applies the activation; NaN and -0.0 stay."""
        if ends[1]:
            value += bias_value
            value = zero if activation and value < zero else value
            value = six if activation == capped and value > six else value
        return value

    return finish


@inlined
def target_at(p, to_y, to_x, image_stride):
    """Where a pixel lies in the target."""
    line = uint32(p) // uint32(to_x[0])
    i, j = int64(line % uint32(to_y[0])), int64(uint32(p) % uint32(to_x[0]))
    return int64(line // uint32(to_y[0])) * image_stride + to_y[1] + i * to_y[2] + to_x[1] + j * to_x[2]


def _by_elements(dtype, into, tile):
    own_rows, zero, finish = 4 * tile.row_quads, FLOATS[dtype](0), finished(dtype)
    get, put = stored(dtype).get, stored(into).put

    @inlined
    def store(s, total, kept, target, bias, at, ends, sizes, to_y, to_x, to):
        group, m0, p = at[0], at[1], at[2] + s % 4 + s // 4 * COL_STEP
        M, pixels, is_nan = sizes[2], sizes[4], False
        if p < pixels:
            pixel_at = target_at(p, to_y, to_x, to[0]) + group * M * to[1]
            for r in range(own_rows):
                m = m0 + r % 4 + r // 4 * ROW_STEP
                if m < M:
                    value, element = total[r, s], pixel_at + m * to[1]
                    if not ends[0]:
                        value += kept[element]
                    value = finish(value, get(bias, group * M + m) if sizes[6] else zero, ends, sizes[7])
                    if ends[1]:
                        put(target, element, value)
                    else:
                        kept[element] = value
                    is_nan = is_nan or value != value
        return is_nan

    return store, 4 * tile.col_quads


def _by_pixels(dtype, into, tile):
    zero, put_quad, quads = FLOATS[dtype](0), _quads_put(dtype, into), tile.col_quads
    get = stored(dtype).get

    @inlined
    def store(r, total, kept, target, bias, at, ends, sizes, to_y, to_x, to):
        group, m, p0 = at[0], at[1] + r % 4 + r // 4 * ROW_STEP, at[2]
        M, pixels, is_nan = sizes[2], sizes[4], False
        if m < M:
            added = get(bias, group * M + m) if sizes[6] else zero
            for q in range(quads):
                p = p0 + q * COL_STEP
                if p < pixels:
                    element = target_at(p, to_y, to_x, to[0]) + (group * M + m) * to[1]
                    sums = total[r, 4 * q], total[r, 4 * q + 1], total[r, 4 * q + 2], total[r, 4 * q + 3]
                    four = added, added, added, added
                    is_nan = put_quad(sums, kept, target, element, four, ends, sizes[7]) or is_nan
        return is_nan

    return store, 4 * tile.row_quads


def _by_channels(dtype, into, tile):
    zero, put_quad, quads = FLOATS[dtype](0), _quads_put(dtype, into), tile.row_quads
    get = stored(dtype).get

    @inlined
    def store(s, total, kept, target, bias, at, ends, sizes, to_y, to_x, to):
        group, m0, p = at[0], at[1], at[2] + s % 4 + s // 4 * COL_STEP
        M, pixels, is_nan = sizes[2], sizes[4], False
        if p < pixels:
            pixel_at = target_at(p, to_y, to_x, to[0])
            for q in range(quads):
                m, k, added = m0 + q * ROW_STEP, group * M + m0 + q * ROW_STEP, (zero, zero, zero, zero)
                if m < M:
                    if sizes[6]:
                        added = get(bias, k), get(bias, k + 1), get(bias, k + 2), get(bias, k + 3)
                    sums = total[4 * q, s], total[4 * q + 1, s], total[4 * q + 2, s], total[4 * q + 3, s]
                    is_nan = put_quad(sums, kept, target, pixel_at + k, added, ends, sizes[7]) or is_nan
        return is_nan

    return store, 4 * tile.col_quads


@cache
def _quads_put(dtype, into):
    zero, finish, put4 = FLOATS[dtype](0), finished(dtype), stored(into).put4

    @inlined
    def put_same(kept, target, element, values, ends):
        store4(kept, element, values)

    @inlined
    def put_other(kept, target, element, values, ends):
        if ends[1]:
            put4(target, element, values)
        else:
            store4(kept, element, values)

    put_four = put_same if into == wide(dtype) else put_other

    @inlined
    def put_quad(sums, kept, target, element, added, ends, relu):
        """Four neighbours; whether the end of one of them is NaN."""
        v = zero, zero, zero, zero
        if not ends[0]:
            v = load4(kept, element)
        v0 = finish(sums[0] + v[0], added[0], ends, relu)
        v1 = finish(sums[1] + v[1], added[1], ends, relu)
        v2 = finish(sums[2] + v[2], added[2], ends, relu)
        v3 = finish(sums[3] + v[3], added[3], ends, relu)
        put_four(kept, target, element, (v0, v1, v2, v3), ends)
        return v0 != v0 or v1 != v1 or v2 != v2 or v3 != v3

    return put_quad


def _unrolled(store, count, item=0):
    """``store`` for each of ``count`` items, as many copies of it: sums stay in registers where no index is a variable.

    A loop of so much code is not unrolled by the compiler.
    """
    rest = _unrolled(store, count, item + 1) if item + 1 < count else None

    @inlined
    def store_last(total, kept, target, bias, at, ends, sizes, to_y, to_x, to):
        return store(item, total, kept, target, bias, at, ends, sizes, to_y, to_x, to)

    @inlined
    def store_all(total, kept, target, bias, at, ends, sizes, to_y, to_x, to):
        is_nan = store(item, total, kept, target, bias, at, ends, sizes, to_y, to_x, to)
        return rest(total, kept, target, bias, at, ends, sizes, to_y, to_x, to) or is_nan

    return store_all if rest else store_last


def _repair(dtype, into, tile):
    own_rows, own_cols, zero = 4 * tile.row_quads, 4 * tile.col_quads, FLOATS[dtype](0)
    finish, sum_inside, get_bias = finished(dtype), summed_inside(dtype), stored(dtype).get
    get, put = stored(into).get, stored(into).put

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
                found = get(target, element)
                if found != found:
                    source_at, packed_at = n * strides[0] + group * C * strides[1], group * sizes[5] + m
                    value = sum_inside(
                        source, source_at, packed, packed_at, i, j, C, pitch, y, x, taps_y, taps_x, strides
                    )
                    added = get_bias(bias, group * M + m) if sizes[6] else zero
                    put(target, element, finish(value, added, (True, True), sizes[7]))
            item += 1

    return repair
