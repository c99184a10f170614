"""The sum of grad_weight as a tiled matrix product for each tap, in parts that a second kernel adds up in their order.

    part[s, g, tap, m, c] = Σ grad_out[n, g*M + m, i, j] * x[n, g*C + c, position(i, tap), position(j, tap)]

over the pixels (n, i, j) of part s. A pixel whose input is outside counts for neither factor: an infinite gradient over
padding does nothing. No sum depends on which thread comes first.
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
from fastconv._kernels.numba_cuda.tiles import DEPTH, RUN_TERMS, Tile

# (groups, C, M, pixels, pixels of a part, kH, kW, OH, OW); axes of x; strides of grad_out and of x.
ARGUMENTS = {"sizes": 9, "y": 5, "x_axis": 5, "grad_strides": 4, "strides": 4}


@cache
def weight_sum_kernel(dtype: str, tile: Tile):
    """The parts; neighbouring threads read neighbouring pixels of one channel."""
    kernel = _kernel(dtype, tile)
    return compiled(kernel, *(address(FLOATS[dtype]),) * 3, *map(integers, ARGUMENTS.values()))


def _kernel(dtype, tile):
    (left_pitch, right_pitch), threads, run_tiles = pitches(tile), tile.threads, RUN_TERMS // DEPTH
    left_size, right_size = 2 * DEPTH * left_pitch, 2 * DEPTH * right_pitch
    rows, cols, sums = tile.rows, tile.cols, (4 * tile.row_quads, 4 * tile.col_quads)
    left_loads, right_loads = DEPTH * rows // threads, DEPTH * cols // threads
    number, clear, origin, multiply = FLOATS[dtype], cleared(dtype, tile), own_origin(tile), multiplied(dtype, tile)
    load_left, put_left = _load(dtype, left_loads, rows), _put(left_loads, rows, left_pitch)
    load_right, put_right = _load(dtype, right_loads, cols), _put(right_loads, cols, right_pitch)
    keep = _keep(tile)

    def conv2d_weight_sum(grad_out, x, part, sizes, y, x_axis, grad_strides, strides):
        groups, C, M, pixels, own_pixels, kH, kW = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]
        left = cuda.shared.array(left_size, number, ALIGNMENT)
        right = cuda.shared.array(right_size, number, ALIGNMENT)
        total = cuda.local.array(sums, number)
        next_left = cuda.local.array(left_loads, number)
        next_right = cuda.local.array(right_loads, number)
        thread, rest = cuda.threadIdx.x, uint32(cuda.blockIdx.x)
        row_blocks, col_blocks = uint32((M + rows - 1) // rows), uint32((C + cols - 1) // cols)
        m0, rest = int64(rest % row_blocks) * rows, rest // row_blocks
        c0, rest = int64(rest % col_blocks) * cols, rest // col_blocks
        tap, rest = int64(rest % uint32(kH * kW)), rest // uint32(kH * kW)
        group, own_part = int64(rest % uint32(groups)), int64(rest // uint32(groups))
        row, col = origin(thread)
        clear(total)
        p = own_part * own_pixels
        end = min(p + own_pixels, pixels)
        tiles = (end - p + DEPTH - 1) // DEPTH
        part_at = ((own_part * groups + group) * kH * kW + tap) * M * C
        tile, half = 0, 0
        while tile <= tiles:
            if tile < tiles:
                grad_at = (group * M + m0) * grad_strides[1], M - m0, grad_strides
                x_at = (group * C + c0) * strides[1], C - c0, strides
                load_left(next_left, grad_out, grad_at, False, thread, p, end, tap, kW, sizes, y, x_axis)
                load_right(next_right, x, x_at, True, thread, p, end, tap, kW, sizes, y, x_axis)
                p += DEPTH
            if tile > 0:
                multiply(total, left, right, half, row, col)
            if tile == tiles or (tile > 0 and tile % run_tiles == 0):
                keep(total, part, part_at, m0 + row, c0 + col, M, C, tile <= run_tiles)
                clear(total)
            if tile < tiles:
                half = 1 - half
                put_left(left, next_left, half, thread)
                put_right(right, next_right, half, thread)
            cuda.syncthreads()
            tile += 1

    return conv2d_weight_sum


def _load(dtype, loads, span):
    zero = FLOATS[dtype](0)

    @inlined
    def load(loaded, array, at, is_input, thread, p, end, tap, kW, sizes, y, x_axis):
        origin, channels, strides = at
        own = p + thread % DEPTH
        n, i, j = pixel_of(min(own, end - 1), sizes[7], sizes[8])
        h, w = source_position(i, tap // kW, y), source_position(j, tap % kW, x_axis)
        known = own < end and h >= 0 and w >= 0
        i, j = (h, w) if is_input else (i, j)
        pixel_at = origin + n * strides[0] + i * strides[2] + j * strides[3]
        for q in range(loads):
            channel = thread // DEPTH + q * (span // loads)
            loaded[q] = array[pixel_at + channel * strides[1]] if known and channel < channels else zero

    return load


def _put(loads, span, pitch):
    @inlined
    def put(tile, loaded, half, thread):
        for q in range(loads):
            tile[(half * DEPTH + thread % DEPTH) * pitch + thread // DEPTH + q * (span // loads)] = loaded[q]

    return put


def _keep(tile):
    own_rows, own_cols = 4 * tile.row_quads, 4 * tile.col_quads

    @inlined
    def keep(total, part, at, m0, c0, M, C, begins):
        """A run of terms is at its end: it becomes the part, or joins what is there."""
        for r in range(own_rows):
            m = m0 + r % 4 + r // 4 * ROW_STEP
            for s in range(own_cols):
                c = c0 + s % 4 + s // 4 * COL_STEP
                if m < M and c < C:
                    element = at + m * C + c
                    part[element] = total[r, s] if begins else part[element] + total[r, s]

    return keep


@cache
def add_parts_kernel(dtype: str):
    """grad_weight[g*M + m, c, tap] = Σ part[s, g, tap, m, c] over s, in ascending order."""
    zero = FLOATS[dtype](0)

    def conv2d_add_parts(part, grad_weight, sizes):
        parts, groups, taps, M, C = sizes
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        count = groups * taps * M * C
        if item < count:
            c, rest = item % C, item // C
            m, rest = rest % M, rest // M
            tap, group = rest % taps, rest // taps
            total, s = zero, 0
            while s < parts:
                total += part[s * count + item]
                s += 1
            grad_weight[((group * M + m) * C + c) * taps + tap] = total

    operand = address(FLOATS[dtype])
    return compiled(conv2d_add_parts, operand, operand, integers(5))
