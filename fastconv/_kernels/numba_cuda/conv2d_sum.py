"""The sum of forward and of grad_input as a tiled matrix product, whose factors are gathered on the way.

    target[n, g*M + m, i, j] = Σ packed[g, t, u, c, m] * source[n, g*C + c, position(i, t), position(j, u)]

Rows of a tile are channels m, its columns pixels (n, i, j). While eight terms in shared memory are multiplied, the next
ones are on their way into registers. Runs of terms meet in ``kept``; where a sum is split, a block leaves one there.
"""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_loads import fetches_of, left_put, loads_of, right_put, slot_of
from fastconv._kernels.numba_cuda.conv2d_settle import settled
from fastconv._kernels.numba_cuda.conv2d_walks import walk
from fastconv._kernels.numba_cuda.products import cleared, multiplied, own_origin, pitches
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
from fastconv._kernels.numba_cuda.tiles import DEPTH, RUN_TERMS, TERMS, Tile

# (groups, C, M, pitch, pixels, group_pitch, has_bias, activation, parts, part_size); the source's axes; offsets of taps
# in the packed weight and of positions in the target, (count, first, step) each; strides of the source; those of images
# and channels of the target.
ARGUMENTS = {"sizes": 10, "y": 5, "x": 5, "taps_y": 3, "taps_x": 3, "to_y": 3, "to_x": 3, "strides": 4, "to": 2}


@cache
def sum_kernel(dtype: str, into: str, tile: Tile, gathers: str, stores: str):
    """``gathers`` and ``stores`` are one of ACCESSES: what is read and written by vectors; the target is ``into``."""
    kernel, storage, wide = _kernel(dtype, into, tile, gathers, stores), stored(dtype), address(FLOATS[dtype])
    operands = storage.address, wide, storage.address, wide, stored(into).address
    return compiled(kernel, *operands, *map(integers, ARGUMENTS.values()))


def tiles_of(taps: int, C: int, gathers: str) -> int:
    """How many times eight terms a sum has."""
    return -(-taps * C // DEPTH) if gathers == TERMS else taps * -(-C // DEPTH)


def _kernel(dtype, into, tile, gathers, stores):
    left_size, right_size = (2 * DEPTH * pitch for pitch in pitches(tile))
    rows, cols, run_tiles = tile.rows, tile.cols, RUN_TERMS // DEPTH
    sums, quads, loads = (4 * tile.row_quads, 4 * tile.col_quads), (fetches_of(tile), 4), loads_of(tile)
    number, clear, origin, multiply = FLOATS[dtype], cleared(dtype, tile), own_origin(tile), multiplied(dtype, tile)
    (start, take), slot = walk(dtype, tile, gathers), slot_of(tile, gathers)
    put_left, put_right, settle = left_put(tile), right_put(tile, gathers), settled(dtype, into, tile, stores)
    count_terms, of_tap = (1, DEPTH) if gathers == TERMS else (DEPTH, 1)

    def conv2d_sum(source, packed, bias, kept, target, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to):
        groups, C, M, pixels, parts = sizes[0], sizes[1], sizes[2], sizes[4], sizes[8]
        left = cuda.shared.array(left_size, number, ALIGNMENT)
        right = cuda.shared.array(right_size, number, ALIGNMENT)
        total = cuda.local.array(sums, number)
        next_left = cuda.local.array(quads, number)
        next_right = cuda.local.array(loads, number)
        thread, rest = cuda.threadIdx.x, uint32(cuda.blockIdx.x)
        row_blocks, col_blocks = uint32((M + rows - 1) // rows), uint32((pixels + cols - 1) // cols)
        m0, rest = int64(rest % row_blocks) * rows, rest // row_blocks
        group, rest = int64(rest % uint32(groups)), rest // uint32(groups)
        p0, own_part = int64(rest % col_blocks) * cols, int64(rest // col_blocks)
        row, col = origin(thread)
        pixel, term = slot(thread)
        n, i, j = pixel_of(p0 + pixel, to_y[0], to_x[0])
        source_at = n * strides[0] + group * C * strides[1]
        own = thread, m0, p0 + pixel < pixels, i, j, term, source_at, group * sizes[5]
        clear(total)
        tiles = (taps_y[0] * taps_x[0] * ((C + count_terms - 1) // count_terms) + of_tap - 1) // of_tap
        begin = own_part * run_tiles
        tiles = min(tiles - begin, run_tiles) if parts > 1 else tiles
        to_y = to_y[0], to_y[1] + own_part * sizes[9], to_y[2]
        state = start(begin, thread, sizes, taps_y, taps_x)
        tile, half = 0, 0
        while tile <= tiles:
            if tile < tiles:
                state = take(next_left, next_right, source, packed, own, state, sizes, y, x, taps_y, taps_x, strides)
            if tile > 0:
                multiply(total, left, right, half, row, col)
            if tile == tiles or (tile > 0 and tile % run_tiles == 0):
                ends = tile <= run_tiles, tile == tiles and parts == 1
                settle(total, kept, target, bias, source, packed, (group, m0 + row, p0 + col), ends, sizes, y, x,
                       taps_y, taps_x, to_y, to_x, strides, to)  # fmt: skip
                clear(total)
            if tile < tiles:
                half = 1 - half
                put_left(left, next_left, half, thread)
                put_right(right, next_right, half, pixel, term)
            cuda.syncthreads()
            tile += 1

    return conv2d_sum


@inlined
def pixel_of(p, H, W):
    """Image, row and column of a pixel; there are fewer than 2^31 of them."""
    line = uint32(p) // uint32(W)
    return int64(line // uint32(H)), int64(line % uint32(H)), int64(uint32(p) % uint32(W))
