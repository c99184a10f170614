"""The sum of grad_weight as a tiled matrix product for each tap, in parts that a second kernel adds up in their order.

    part[s, g, tap, m, c] = Σ grad_out[n, g*M + m, i, j] * x[n, g*C + c, position(i, tap), position(j, tap)]

over the pixels (n, i, j) of part s. No sum depends on which thread comes first. The columns of a tile are the channels
of one tap or, ``flattened``, all (tap, c) in their order, which leaves fewer of them empty; the part is then
part[s, g, m, tap, c].

A pixel whose input is outside counts for neither factor: an infinite gradient over padding does nothing. A tile of
several taps sees to that afterwards, in those sums that became NaN.
"""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_sum import pixel_of
from fastconv._kernels.numba_cuda.conv2d_taps import source_position
from fastconv._kernels.numba_cuda.products import COL_STEP, ROW_STEP, cleared, multiplied, own_origin, pitches
from fastconv._kernels.numba_cuda.settings import (
    ALIGNMENT,
    FLOATS,
    address,
    compiled,
    cuda,
    inlined,
    int64,
    integers,
    uint32,
)
from fastconv._kernels.numba_cuda.storage import stored
from fastconv._kernels.numba_cuda.tiles import DEPTH, RUN_TERMS, Tile

# (groups, C, M, pixels, pixels of a part, kH, kW, OH, OW); axes of x; strides of grad_out and of x.
ARGUMENTS = {"sizes": 9, "y": 5, "x_axis": 5, "grad_strides": 4, "strides": 4}


@cache
def weight_sum_kernel(dtype: str, tile: Tile, flattened: bool):
    """The parts; neighbouring threads read neighbouring pixels of one channel."""
    kernel, operand = _kernel(dtype, tile, flattened), stored(dtype).address
    return compiled(kernel, operand, operand, address(FLOATS[dtype]), *map(integers, ARGUMENTS.values()))


def _kernel(dtype, tile, flattened):
    (left_pitch, right_pitch), threads, run_tiles = pitches(tile), tile.threads, RUN_TERMS // DEPTH
    left_size, right_size = 2 * DEPTH * left_pitch, 2 * DEPTH * right_pitch
    rows, cols, sums = tile.rows, tile.cols, (4 * tile.row_quads, 4 * tile.col_quads)
    left_loads, right_loads = DEPTH * rows // threads, DEPTH * cols // threads
    number, clear, origin, multiply = FLOATS[dtype], cleared(dtype, tile), own_origin(tile), multiplied(dtype, tile)
    load, put_left = _load(dtype, left_loads, right_loads, tile, flattened), _put(left_loads, rows, left_pitch)
    put_right, keep, repair = _put(right_loads, cols, right_pitch), _keep(tile), _repaired(dtype, tile)

    def conv2d_weight_sum(grad_out, x, part, sizes, y, x_axis, grad_strides, strides):
        groups, C, M, pixels, own_pixels, taps = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5] * sizes[6]
        tile_taps = taps if flattened else 1
        left = cuda.shared.array(left_size, number, ALIGNMENT)
        right = cuda.shared.array(right_size, number, ALIGNMENT)
        total = cuda.local.array(sums, number)
        next_left = cuda.local.array(left_loads, number)
        next_right = cuda.local.array(right_loads, number)
        thread, rest = cuda.threadIdx.x, uint32(cuda.blockIdx.x)
        row_blocks, col_blocks = uint32((M + rows - 1) // rows), uint32((tile_taps * C + cols - 1) // cols)
        m0, rest = int64(rest % row_blocks) * rows, rest // row_blocks
        column0, rest = int64(rest % col_blocks) * cols, rest // col_blocks
        tap, rest = int64(rest % uint32(taps // tile_taps)), rest // uint32(taps // tile_taps)
        group, own_part = int64(rest % uint32(groups)), int64(rest // uint32(groups))
        row, col = origin(thread)
        clear(total)
        begin = own_part * own_pixels
        p, end = begin, min(begin + own_pixels, pixels)
        tiles = (end - p + DEPTH - 1) // DEPTH
        part_at = ((own_part * groups + group) * taps + tap) * M * C
        own = thread, group, m0, column0, tap, end
        first = m0 + row, column0 + col
        tile, half = 0, 0
        while tile <= tiles:
            if tile < tiles:
                load(next_left, next_right, grad_out, x, own, p, sizes, y, x_axis, grad_strides, strides)
                p += DEPTH
            if tile > 0:
                multiply(total, left, right, half, row, col)
            if tile == tiles or (tile > 0 and tile % run_tiles == 0):
                keep(total, part, part_at, first, M, tile_taps * C, tile <= run_tiles)
                clear(total)
            if tile < tiles:
                half = 1 - half
                put_left(left, next_left, half, thread)
                put_right(right, next_right, half, thread)
            cuda.syncthreads()
            tile += 1
        if flattened:
            repair(part, part_at, first, grad_out, x, group, begin, end, sizes, y, x_axis, grad_strides, strides)

    return conv2d_weight_sum


def _load(dtype, left_loads, right_loads, tile, flattened):
    zero, left_step, right_step = FLOATS[dtype](0), tile.rows // left_loads, tile.cols // right_loads
    get = stored(dtype).get

    @inlined
    def load_tap(next_left, next_right, grad_out, x, own, p, sizes, y, x_axis, grad_strides, strides):
        thread, group, m0, c0, tap, end = own
        C, M, p, first = sizes[1], sizes[2], p + thread % DEPTH, thread // DEPTH
        n, i, j = pixel_of(min(p, end - 1), sizes[7], sizes[8])
        h, w = source_position(i, tap // sizes[6], y), source_position(j, tap % sizes[6], x_axis)
        known = p < end and h >= 0 and w >= 0
        at = n * grad_strides[0] + (group * M + m0 + first) * grad_strides[1] + i * grad_strides[2]
        at += j * grad_strides[3]
        for q in range(left_loads):
            step = q * left_step
            next_left[q] = get(grad_out, at + step * grad_strides[1]) if known and m0 + first + step < M else zero
        at = n * strides[0] + (group * C + c0 + first) * strides[1] + h * strides[2] + w * strides[3]
        for q in range(right_loads):
            step = q * right_step
            next_right[q] = get(x, at + step * strides[1]) if known and c0 + first + step < C else zero

    @inlined
    def load_taps(next_left, next_right, grad_out, x, own, p, sizes, y, x_axis, grad_strides, strides):
        thread, group, m0, column0, _, end = own
        C, M, p, first = sizes[1], sizes[2], p + thread % DEPTH, thread // DEPTH
        n, i, j = pixel_of(min(p, end - 1), sizes[7], sizes[8])
        at = n * grad_strides[0] + (group * M + m0 + first) * grad_strides[1] + i * grad_strides[2]
        at += j * grad_strides[3]
        for q in range(left_loads):
            step = q * left_step
            next_left[q] = get(grad_out, at + step * grad_strides[1]) if p < end and m0 + first + step < M else zero
        at = n * strides[0] + group * C * strides[1]
        for q in range(right_loads):
            tap, c = _tap_of(column0 + first + q * right_step, C)
            h, w = source_position(i, tap // sizes[6], y), source_position(j, tap % sizes[6], x_axis)
            known = p < end and tap < sizes[5] * sizes[6] and h >= 0 and w >= 0
            x_at = at + c * strides[1] + h * strides[2] + w * strides[3]
            next_right[q] = get(x, x_at) if known else zero

    return load_taps if flattened else load_tap


@inlined
def _tap_of(column, C):
    """The tap and the channel of a column; there are fewer than 2^31 of them."""
    return int64(uint32(column) // uint32(C)), int64(uint32(column) % uint32(C))


def _put(loads, span, pitch):
    @inlined
    def put(tile, loaded, half, thread):
        for q in range(loads):
            tile[(half * DEPTH + thread % DEPTH) * pitch + thread // DEPTH + q * (span // loads)] = loaded[q]

    return put


def _keep(tile):
    own_rows, own_cols = 4 * tile.row_quads, 4 * tile.col_quads

    @inlined
    def keep(total, part, at, first, M, columns, begins):
        """A run of terms is at its end: it becomes the part, or joins what is there."""
        for r in range(own_rows):
            m = first[0] + r % 4 + r // 4 * ROW_STEP
            for s in range(own_cols):
                column = first[1] + s % 4 + s // 4 * COL_STEP
                if m < M and column < columns:
                    element = at + m * columns + column
                    part[element] = total[r, s] if begins else part[element] + total[r, s]

    return keep


def _repaired(dtype: str, tile: Tile):
    """Sums of a thread that are NaN, again, of the pixels whose input is inside."""
    own_rows, own_cols, zero = 4 * tile.row_quads, 4 * tile.col_quads, FLOATS[dtype](0)
    get = stored(dtype).get

    @inlined
    def repair(part, at, first, grad_out, x, group, begin, end, sizes, y, x_axis, grad_strides, strides):
        C, M, item = sizes[1], sizes[2], 0
        while item < own_rows * own_cols:
            r, s = item // own_cols, item % own_cols
            m, column = first[0] + r % 4 + r // 4 * ROW_STEP, first[1] + s % 4 + s // 4 * COL_STEP
            columns, p = sizes[5] * sizes[6] * C, begin
            element, (tap, c) = at + m * columns + column, _tap_of(column, C)
            if m < M and column < columns and part[element] != part[element]:
                total = zero
                while p < end:
                    n, i, j = pixel_of(p, sizes[7], sizes[8])
                    h, w = source_position(i, tap // sizes[6], y), source_position(j, tap % sizes[6], x_axis)
                    if h >= 0 and w >= 0:
                        grad_at = n * grad_strides[0] + (group * M + m) * grad_strides[1] + i * grad_strides[2]
                        x_at = n * strides[0] + (group * C + c) * strides[1] + h * strides[2] + w * strides[3]
                        total += get(grad_out, grad_at + j * grad_strides[3]) * get(x, x_at)
                    p += 1
                part[element] = total
            item += 1

    return repair


@cache
def add_parts_kernel(dtype: str):
    """grad_weight[g*M + m, c, tap] = Σ part[s, g, ..] over s, in ascending order, with strides of a tap and of an m."""
    zero, operand, put = FLOATS[dtype](0), stored(dtype).address, stored(dtype).put

    def conv2d_add_parts(part, grad_weight, sizes):
        parts, groups, taps, M, C, tap_stride, m_stride = sizes
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        count = groups * taps * M * C
        if item < count:
            c, rest = item % C, item // C
            m, rest = rest % M, rest // M
            tap, group = rest % taps, rest // taps
            at = group * taps * M * C + tap * tap_stride + m * m_stride + c
            total, s = zero, 0
            while s < parts:
                total += part[s * count + at]
                s += 1
            put(grad_weight, ((group * M + m) * C + c) * taps + tap, total)

    return compiled(conv2d_add_parts, address(FLOATS[dtype]), operand, integers(7))
