"""What one thread does in a convolution of single channels: a few outputs below each other, line by line of the input.

Memory is the limit, not arithmetic. Neighbouring threads take neighbouring elements of memory, whichever axis that is,
so that each line is read in whole sectors; an input that several taps meet is read once a column by its thread, and
otherwise found in the cache. No vectors are needed for that, and no alignment.
"""

from functools import cache

from fastconv._kernels.numba_cuda.settings import FLOATS, inlined, int64, uint32
from fastconv._kernels.numba_cuda.storage import stored


def lines(edge: int, stride: int, own: int, transposed: bool) -> list[tuple[int, int, int, int]]:
    """For each line under ``own`` rows: (line, first row, past the last row, tap of the first row).

    Forward, row r meets line ``r*stride + tap``. Transposed, row ``line*stride + tap`` meets the line.
    """
    found = []
    for line in range(-((edge - 1) // stride), (own - 1) // stride + 1) if transposed else range(own * stride + edge):
        taps = [(r, r - line * stride if transposed else line - r * stride) for r in range(own)]
        met = [(r, tap) for r, tap in taps if 0 <= tap < edge]
        if met:
            found.append((line, met[0][0], met[-1][0] + 1, met[0][1]))
    return found


@cache
def met_lines(dtype: str, edge: int, stride: int, own: int, transposed: bool, by_taps: bool):
    """All products of a thread's inputs with its ``factors``: weights, or, where sums are ``by_taps``, gradients."""
    return _chained(dtype, lines(edge, stride, own, transposed), edge, 1 if transposed else -stride, by_taps)


def _chained(dtype, found, edge, tap_step, by_taps):
    """One function for each line, as sums stay in registers where no index is a variable."""
    (line, first, end, first_tap), *others = found
    rest = _chained(dtype, others, edge, tap_step, by_taps) if others else None
    zero, get = FLOATS[dtype](0), stored(dtype).get

    @inlined
    def add_line(total, factors, source, at, row, size, columns, strides):
        is_inside = 0 <= row + line < size
        line_at = at + (row + line) * strides[2]
        for u in range(edge):
            value = get(source, line_at + columns[u] * strides[3]) if is_inside and columns[u] >= 0 else zero
            for r in range(first, end):
                tap = (first_tap + (r - first) * tap_step) * edge + u
                if by_taps:
                    total[tap] += factors[r] * value
                else:
                    total[r] += factors[tap] * value

    @inlined
    def add_lines(total, factors, source, at, row, size, columns, strides):
        add_line(total, factors, source, at, row, size, columns, strides)
        rest(total, factors, source, at, row, size, columns, strides)

    return add_lines if rest else add_line


@cache
def position_under(stride: int, transposed: bool):
    """The position under a tap of a target's position, or -1."""

    @inlined
    def forward(target, tap, low, size):
        position = target * stride - low + tap
        return position if 0 <= position < size else -1

    @inlined
    def backward(target, tap, low, size):
        reach = target + low - tap
        return reach // stride if reach >= 0 and reach % stride == 0 and reach // stride < size else -1

    return backward if transposed else forward


@inlined
def place(item, C, blocks, W, is_last):
    """(n, c, block, column) of a thread by its place in memory; there are fewer than 2^31 of them."""
    item, C, blocks, W = uint32(item), uint32(C), uint32(blocks), uint32(W)
    if is_last:
        c, rest = item % C, item // C
        column, rest = rest % W, rest // W
        return int64(rest // blocks), int64(c), int64(rest % blocks), int64(column)
    column, rest = item % W, item // W
    block, rest = rest % blocks, rest // blocks
    return int64(rest // C), int64(rest % C), int64(block), int64(column)
