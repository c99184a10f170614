"""How the factors of a sum get from memory to shared memory: which thread loads what, by vectors where it can.

A thread loads ``loads`` terms of one pixel, or, where PIXELS are read by vectors, four pixels for each of some terms.
"""

from functools import cache

from fastconv._kernels.numba_cuda.products import pitches
from fastconv._kernels.numba_cuda.settings import FLOATS, inlined
from fastconv._kernels.numba_cuda.storage import stored
from fastconv._kernels.numba_cuda.tiles import CHANNELS, DEPTH, PIXELS, Tile
from fastconv._kernels.numba_cuda.vectors import load4, store4


def fetches_of(tile: Tile) -> int:
    """Vectors of weights that a thread fetches for eight terms."""
    return -(-DEPTH * tile.rows // (4 * tile.threads))


def loads_of(tile: Tile) -> int:
    """Elements of the source that a thread gathers for eight terms."""
    return DEPTH * tile.cols // tile.threads


@cache
def fetched(dtype: str, tile: Tile):
    """One vector of weights into registers; zeros beyond the last term and the last channel."""
    row_quads, threads, zero = tile.rows // 4, tile.threads, FLOATS[dtype](0)
    partial = DEPTH * row_quads < threads

    @inlined
    def fetch(next_left, q, packed, at, pitch, m0, known, thread):
        k, m = (thread + q * threads) // row_quads, m0 + (thread + q * threads) % row_quads * 4
        values = zero, zero, zero, zero
        if known and m < pitch and (not partial or k < DEPTH):
            values = load4(packed, at + m)
        next_left[q, 0], next_left[q, 1], next_left[q, 2], next_left[q, 3] = values

    return fetch


@cache
def term_of_fetch(tile: Tile):
    """Which of eight terms a thread fetches the weights of."""
    row_quads, threads = tile.rows // 4, tile.threads

    @inlined
    def fetched_term(thread, q):
        return (thread + q * threads) // row_quads

    return fetched_term


@cache
def left_put(tile: Tile):
    """Weights from registers into one half of the shared memory."""
    row_quads, threads, fetches, (pitch, _) = tile.rows // 4, tile.threads, fetches_of(tile), pitches(tile)

    @inlined
    def put_left(left, next_left, half, thread):
        for q in range(fetches):
            k, m = (thread + q * threads) // row_quads, (thread + q * threads) % row_quads * 4
            if k < DEPTH:
                values = next_left[q, 0], next_left[q, 1], next_left[q, 2], next_left[q, 3]
                store4(left, (half * DEPTH + k) * pitch + m, values)

    return put_left


@cache
def slot_of(tile: Tile, gathers: str):
    """First pixel and first term that a thread gathers; neighbours in memory are gathered by neighbouring threads."""
    cols, loads = tile.cols, loads_of(tile)
    sharers, quads, vectors = DEPTH // loads, cols // 4, max(loads // 4, 1)

    @inlined
    def slot_along_channels(thread):
        return thread // sharers, thread % sharers * loads

    @inlined
    def slot_along_pixels(thread):
        return thread % quads * 4, thread // quads * vectors

    @inlined
    def slot(thread):
        return thread % cols, thread // cols * loads

    return {CHANNELS: slot_along_channels, PIXELS: slot_along_pixels}.get(gathers, slot)


@cache
def gathered(dtype: str, tile: Tile, gathers: str):
    """What a thread gathers of one tap into registers; zeros from term ``known`` on."""
    loads, zero, get, get4 = loads_of(tile), FLOATS[dtype](0), stored(dtype).get, stored(dtype).get4

    @inlined
    def gather_elements(next_right, source, at, stride, known):
        for q in range(loads):
            next_right[q] = get(source, at + q * stride) if q < known else zero

    @inlined
    def gather_channels(next_right, source, at, stride, known):
        for q in range(0, loads, 4):
            values = get4(source, at + q) if q < known else (zero, zero, zero, zero)
            next_right[q], next_right[q + 1], next_right[q + 2], next_right[q + 3] = values

    @inlined
    def gather_pixels(next_right, source, at, stride, known):
        for q in range(0, loads, 4):
            values = get4(source, at + q // 4 * stride) if q // 4 < known else (zero, zero, zero, zero)
            next_right[q], next_right[q + 1], next_right[q + 2], next_right[q + 3] = values

    return {CHANNELS: gather_channels, PIXELS: gather_pixels}.get(gathers, gather_elements)


@cache
def right_put(tile: Tile, gathers: str):
    """What was gathered from registers into one half of the shared memory."""
    loads, (_, pitch) = loads_of(tile), pitches(tile)

    @inlined
    def put_elements(right, next_right, half, pixel, term):
        for q in range(loads):
            right[(half * DEPTH + term + q) * pitch + pixel] = next_right[q]

    @inlined
    def put_pixels(right, next_right, half, pixel, term):
        for q in range(0, loads, 4):
            values = next_right[q], next_right[q + 1], next_right[q + 2], next_right[q + 3]
            store4(right, (half * DEPTH + term + q // 4) * pitch + pixel, values)

    return put_pixels if gathers == PIXELS else put_elements
