"""In which order a thread meets the terms of a sum, eight at a time.

Tap by tap, and channel by channel within a tap: addresses change once a tap. With few channels that leaves most of the
eight empty, and TERMS count through taps and channels alike; a table in shared memory says which is which.
"""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_loads import fetched, fetches_of, gathered, loads_of, term_of_fetch
from fastconv._kernels.numba_cuda.conv2d_taps import source_position
from fastconv._kernels.numba_cuda.settings import FLOATS, cuda, inlined, int32, int64
from fastconv._kernels.numba_cuda.storage import stored
from fastconv._kernels.numba_cuda.tiles import DEPTH, RUN_TERMS, TERMS, Tile

# The bits of a term's channel and of its tap's column in the table.
_C_BITS, _U_BITS = 4, 12


def walk(dtype: str, tile: Tile, gathers: str):
    """(start, take): the state before eight terms, and what loads them and leads to the state before the next ones."""
    return (_by_terms if gathers == TERMS else _by_taps)(dtype, tile, gathers)


@cache
def _by_taps(dtype, tile, gathers):
    fetches, fetch, fetched_term = fetches_of(tile), fetched(dtype, tile), term_of_fetch(tile)
    gather = gathered(dtype, tile, gathers)

    @inlined
    def start(first, thread, sizes, taps_y, taps_x):
        of_tap = (sizes[1] + DEPTH - 1) // DEPTH
        tap = first // of_tap
        # No weight has an address below zero: the taps's addresses are not known yet.
        return tap // max(taps_x[0], 1), tap % max(taps_x[0], 1), first % of_tap * DEPTH, 0, 0, -1

    @inlined
    def take(next_left, next_right, source, packed, own, state, sizes, y, x, taps_y, taps_x, strides):
        thread, m0, is_pixel, i, j, term, source_at, packed_at = own
        t, u, c, known, tap_at, weight_at = state
        C, pitch = sizes[1], sizes[3]
        if c == 0 or weight_at < 0:
            h, w = source_position(i, t, y), source_position(j, u, x)
            known = C - term if is_pixel and h >= 0 and w >= 0 else 0
            tap_at = source_at + term * strides[1] + h * strides[2] + w * strides[3]
            weight_at = packed_at + taps_y[1] + t * taps_y[2] + taps_x[1] + u * taps_x[2]
        gather(next_right, source, tap_at + c * strides[1], strides[1], known - c)
        for q in range(fetches):
            k = c + fetched_term(thread, q)
            fetch(next_left, q, packed, weight_at + k * pitch, pitch, m0, k < C, thread)
        c += DEPTH
        if c >= C:
            c, u = 0, u + 1
            if u == taps_x[0]:
                t, u = t + 1, 0
        return t, u, c, known, tap_at, weight_at

    return start, take


@cache
def _by_terms(dtype, tile, gathers):
    fetches, fetch, fetched_term = fetches_of(tile), fetched(dtype, tile), term_of_fetch(tile)
    loads, threads, zero, get = loads_of(tile), tile.threads, FLOATS[dtype](0), stored(dtype).get

    @inlined
    def start(first, thread, sizes, taps_y, taps_x):
        table, C = cuda.shared.array(RUN_TERMS, int32), sizes[1]
        f = thread
        while f < taps_y[0] * taps_x[0] * C:
            tap = f // C
            table[f] = (tap // taps_x[0] << _U_BITS | tap % taps_x[0]) << _C_BITS | f % C
            f += threads
        cuda.syncthreads()
        return table, first * DEPTH

    @inlined
    def take(next_left, next_right, source, packed, own, state, sizes, y, x, taps_y, taps_x, strides):
        thread, m0, is_pixel, i, j, term, source_at, packed_at = own
        (table, f), C, pitch = state, sizes[1], sizes[3]
        terms = taps_y[0] * taps_x[0] * C
        for q in range(loads):
            t, u, c = _decoded(table[min(f + term + q, terms - 1)])
            h, w = source_position(i, t, y), source_position(j, u, x)
            known = is_pixel and f + term + q < terms and h >= 0 and w >= 0
            at = source_at + h * strides[2] + w * strides[3] + c * strides[1]
            next_right[q] = get(source, at) if known else zero
        for q in range(fetches):
            k = f + fetched_term(thread, q)
            t, u, c = _decoded(table[min(k, terms - 1)])
            at = packed_at + taps_y[1] + t * taps_y[2] + taps_x[1] + u * taps_x[2] + c * pitch
            fetch(next_left, q, packed, at, pitch, m0, k < terms, thread)
        return table, f + DEPTH

    return start, take


@inlined
def _decoded(term):
    """Row and column of a term's tap, and its channel."""
    columns, channels = (1 << _U_BITS) - 1, (1 << _C_BITS) - 1
    return int64(term >> (_U_BITS + _C_BITS)), int64(term >> _C_BITS & columns), int64(term & channels)
