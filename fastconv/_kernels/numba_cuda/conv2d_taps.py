"""Which input lies under a tap of an output, and sums over the taps that are inside."""

from functools import cache

from fastconv._kernels.numba_cuda.settings import FLOATS, inlined
from fastconv._kernels.numba_cuda.storage import stored

# How a position outside the input is read; MODES are those that wrap it into the input.
ZEROS, REFLECT, REPLICATE, CIRCULAR = range(4)
MODES = {"zeros": ZEROS, "reflect": REFLECT, "replicate": REPLICATE, "circular": CIRCULAR}


@inlined
def source_position(output, tap, axis):
    """The position under a tap of an output, or -1; ``axis`` is (step, first, tap_step, size, mode)."""
    step, first, tap_step, size, mode = axis
    position = output * step + first + tap * tap_step
    if mode == REFLECT:
        position = abs(position)
        position = 2 * size - 2 - position if position >= size else position
    elif mode == REPLICATE:
        position = min(max(position, 0), size - 1)
    elif mode == CIRCULAR:
        position = position + size if position < 0 else position - size if position >= size else position
    return position if 0 <= position < size else -1


@cache
def summed_inside(dtype: str):
    """The sum over the taps of one output that are inside.

    The tiled product multiplies by zeros where a tap is outside, which of an infinite weight gives NaN.
    """
    zero, get = FLOATS[dtype](0), stored(dtype).get

    @inlined
    def sum_inside(source, source_at, packed, packed_at, i, j, C, pitch, y, x, taps_y, taps_x, strides):
        total, t = zero, 0
        while t < taps_y[0]:
            h = source_position(i, t, y)
            u = 0
            while u < taps_x[0]:
                w = source_position(j, u, x)
                c = 0
                while h >= 0 and w >= 0 and c < C:
                    value = get(source, source_at + h * strides[2] + w * strides[3] + c * strides[1])
                    weight = packed[packed_at + taps_y[1] + t * taps_y[2] + taps_x[1] + u * taps_x[2] + c * pitch]
                    total += value * weight
                    c += 1
                u += 1
            t += 1
        return total

    return sum_inside
