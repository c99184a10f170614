"""The sum of forward and of grad_input as a tiled matrix product, whose factors are gathered on the way.

    target[n, g*M + m, i, j] = Σ packed[g, t, u, c, m] * source[n, g*C + c, position(i, t), position(j, u)]

Rows of a tile are channels m, its columns pixels (n, i, j); terms are taken tap by tap, channel by channel. While those
in shared memory are multiplied, the next ones are on their way into registers.
"""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_settle import settled
from fastconv._kernels.numba_cuda.conv2d_taps import source_position
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
from fastconv._kernels.numba_cuda.tiles import CHANNELS, DEPTH, RUN_TERMS, Tile
from fastconv._kernels.numba_cuda.vectors import load4, store4

# (groups, C, M, pitch, pixels, group_pitch, has_bias, relu); the source's axes; offsets of taps in the packed weight
# and of positions in the target, (count, first, step) each; strides of the source; those of images and channels of the
# target.
ARGUMENTS = {"sizes": 8, "y": 5, "x": 5, "taps_y": 3, "taps_x": 3, "to_y": 3, "to_x": 3, "strides": 4, "to": 2}


@cache
def sum_kernel(dtype: str, tile: Tile, gathers: str, stores: str):
    """``gathers`` and ``stores`` are one of ACCESSES: what is read and written by vectors."""
    kernel = _kernel(dtype, tile, gathers, stores)
    return compiled(kernel, *(address(FLOATS[dtype]),) * 4, *map(integers, ARGUMENTS.values()))


def _kernel(dtype, tile, gathers, stores):
    left_size, right_size = (2 * DEPTH * pitch for pitch in pitches(tile))
    rows, cols, threads, run_tiles = tile.rows, tile.cols, tile.threads, RUN_TERMS // DEPTH
    sums, quads, loads = (4 * tile.row_quads, 4 * tile.col_quads), (_fetches(tile), 4), DEPTH * cols // threads
    number, clear, origin, multiply = FLOATS[dtype], cleared(dtype, tile), own_origin(tile), multiplied(dtype, tile)
    fetch, put_left = _fetch(dtype, tile), _put_left(tile)
    gather, put_right, slot_of = _gather(dtype, loads, gathers), _put_right(tile, loads), _slot(tile, loads, gathers)
    settle = settled(dtype, tile, stores)

    def conv2d_sum(source, packed, bias, target, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to):
        groups, C, M, pitch, pixels, group_pitch = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
        left = cuda.shared.array(left_size, number, ALIGNMENT)
        right = cuda.shared.array(right_size, number, ALIGNMENT)
        total = cuda.local.array(sums, number)
        next_left = cuda.local.array(quads, number)
        next_right = cuda.local.array(loads, number)
        thread, block = cuda.threadIdx.x, uint32(cuda.blockIdx.x)
        row_blocks = uint32((M + rows - 1) // rows)
        m0, rest = int64(block % row_blocks) * rows, block // row_blocks
        group, p0 = int64(rest % uint32(groups)), int64(rest // uint32(groups)) * cols
        row, col = origin(thread)
        pixel, term = slot_of(thread)
        n, i, j = pixel_of(p0 + pixel, to_y[0], to_x[0])
        source_at = n * strides[0] + (group * C + term) * strides[1]
        packed_at = group * group_pitch
        clear(total)
        tiles = taps_y[0] * taps_x[0] * ((C + DEPTH - 1) // DEPTH)
        tile, half, t, u, c, known, tap_at, weight_at = 0, 0, 0, 0, 0, 0, source_at, packed_at
        while tile <= tiles:
            if tile < tiles:
                if c == 0:
                    h, w = source_position(i, t, y), source_position(j, u, x)
                    known = C - term if p0 + pixel < pixels and h >= 0 and w >= 0 else 0
                    tap_at = source_at + h * strides[2] + w * strides[3]
                    weight_at = packed_at + taps_y[1] + t * taps_y[2] + taps_x[1] + u * taps_x[2]
                gather(next_right, source, tap_at + c * strides[1], strides[1], known - c)
                fetch(next_left, packed, weight_at + c * pitch, pitch, m0, C - c, thread)
                c += DEPTH
                if c >= C:
                    c, u = 0, u + 1
                    if u == taps_x[0]:
                        t, u = t + 1, 0
            if tile > 0:
                multiply(total, left, right, half, row, col)
            if tile == tiles or (tile > 0 and tile % run_tiles == 0):
                ends = tile <= run_tiles, tile == tiles
                settle(total, target, bias, source, packed, (group, m0 + row, p0 + col), ends, sizes, y, x, taps_y,
                       taps_x, to_y, to_x, strides, to)  # fmt: skip
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


def _fetches(tile):
    return -(-DEPTH * tile.rows // (4 * tile.threads))


def _fetch(dtype, tile):
    row_quads, threads, fetches, zero = tile.rows // 4, tile.threads, _fetches(tile), FLOATS[dtype](0)
    partial = DEPTH * row_quads < threads

    @inlined
    def fetch(next_left, packed, at, pitch, m0, left_terms, thread):
        for q in range(fetches):
            k, m = (thread + q * threads) // row_quads, m0 + (thread + q * threads) % row_quads * 4
            if k < left_terms and m < pitch and (not partial or k < DEPTH):
                values = load4(packed, at + k * pitch + m)
            else:
                values = zero, zero, zero, zero
            next_left[q, 0], next_left[q, 1], next_left[q, 2], next_left[q, 3] = values

    return fetch


def _put_left(tile):
    row_quads, threads, fetches, (pitch, _) = tile.rows // 4, tile.threads, _fetches(tile), pitches(tile)

    @inlined
    def put_left(left, next_left, half, thread):
        for q in range(fetches):
            k, m = (thread + q * threads) // row_quads, (thread + q * threads) % row_quads * 4
            if k < DEPTH:
                values = next_left[q, 0], next_left[q, 1], next_left[q, 2], next_left[q, 3]
                store4(left, (half * DEPTH + k) * pitch + m, values)

    return put_left


def _slot(tile, loads, gathers):
    """Pixel and first term that a thread gathers; neighbours in memory are gathered by neighbouring threads."""
    cols, sharers = tile.cols, DEPTH // loads
    along_channels = gathers == CHANNELS

    @inlined
    def slot(thread):
        if along_channels:
            return thread // sharers, thread % sharers * loads
        return thread % cols, thread // cols * loads

    return slot


def _gather(dtype, loads, gathers):
    by_vectors, zero = gathers == CHANNELS, FLOATS[dtype](0)

    @inlined
    def gather_elements(next_right, source, at, stride, known):
        for q in range(loads):
            next_right[q] = source[at + q * stride] if q < known else zero

    @inlined
    def gather_vectors(next_right, source, at, stride, known):
        for q in range(0, loads, 4):
            values = load4(source, at + q) if q < known else (zero, zero, zero, zero)
            next_right[q], next_right[q + 1], next_right[q + 2], next_right[q + 3] = values

    return gather_vectors if by_vectors else gather_elements


def _put_right(tile, loads):
    _, pitch = pitches(tile)

    @inlined
    def put_right(right, next_right, half, pixel, term):
        for q in range(loads):
            right[(half * DEPTH + term + q) * pitch + pixel] = next_right[q]

    return put_right
