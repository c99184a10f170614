"""The middle of every tiled matrix product: what a block has in shared memory, multiplied into registers.

``left`` holds DEPTH rows of a tile's rows, ``right`` DEPTH rows of its columns, both twice: one half is read while the
other one is filled. A pad keeps vectors aligned and has threads that fill different rows do so in different banks.
"""

from functools import cache

from fastconv._kernels.numba_cuda.settings import FLOATS, cuda, inlined
from fastconv._kernels.numba_cuda.tiles import DEPTH, Tile
from fastconv._kernels.numba_cuda.vectors import load4

PAD = 4
# The first rows of a thread's quads are so far apart, and its columns.
ROW_STEP, COL_STEP = 32, 16


def pitches(tile: Tile) -> tuple[int, int]:
    """Elements from one row of ``left`` to the next, and of ``right``."""
    return tile.rows + PAD, tile.cols + PAD


@cache
def multiplied(dtype: str, tile: Tile):
    """``total += left.T @ right`` for the rows and columns of one thread, term by term."""
    row_quads, col_quads = tile.row_quads, tile.col_quads
    own_rows, own_cols = 4 * row_quads, 4 * col_quads
    row_pitch, col_pitch = pitches(tile)
    number = FLOATS[dtype]

    @inlined
    def multiply(total, left, right, half, row, col):
        a = cuda.local.array(own_rows, number)
        b = cuda.local.array(own_cols, number)
        for k in range(DEPTH):
            left_at, right_at = (half * DEPTH + k) * row_pitch + row, (half * DEPTH + k) * col_pitch + col
            for q in range(row_quads):
                a[4 * q], a[4 * q + 1], a[4 * q + 2], a[4 * q + 3] = load4(left, left_at + q * ROW_STEP)
            for q in range(col_quads):
                b[4 * q], b[4 * q + 1], b[4 * q + 2], b[4 * q + 3] = load4(right, right_at + q * COL_STEP)
            for r in range(own_rows):
                for s in range(own_cols):
                    total[r, s] += a[r] * b[s]

    return multiply


@cache
def cleared(dtype: str, tile: Tile):
    """All sums of one thread begin at zero."""
    own_rows, own_cols, number = 4 * tile.row_quads, 4 * tile.col_quads, FLOATS[dtype]

    @inlined
    def clear(total):
        for r in range(own_rows):
            for s in range(own_cols):
                total[r, s] = number(0)

    return clear


@cache
def own_origin(tile: Tile):
    """The first row and the first column of a thread: lanes are 8 x 4, warps stand below and beside each other."""
    warp_rows, row_span, col_span = tile.warp_rows, ROW_STEP * tile.row_quads, COL_STEP * tile.col_quads

    @inlined
    def origin(thread):
        warp, lane = thread // 32, thread % 32
        return warp % warp_rows * row_span + lane // 4 * 4, warp // warp_rows * col_span + lane % 4 * 4

    return origin
