"""Batch normalisation element by element: the channel of an element is that of its run of neighbours in memory.

Runs are planes of pixels, or, with channels last, single elements.
"""

from functools import cache

from fastconv._kernels.contract import NORM_COEFFICIENTS
from fastconv._kernels.numba_cuda.quads import quad_kernel
from fastconv._kernels.numba_cuda.settings import FLOATS, address, inlined, int64, uint32

_MEAN, _SCALE, _SHIFT, _OFFSET, _SLOPE = range(len(NORM_COEFFICIENTS))
_MOST_NARROW = 2**32 - 1


@inlined
def _begin(item, settings):
    """The channel of an element, and its place in a run."""
    _, C, run, _ = settings
    if item <= _MOST_NARROW:
        number = uint32(item) // uint32(run)
        return int64(number % uint32(C)), item - int64(number) * run
    return item // run % C, item % run


@inlined
def _channel(first, j, settings):
    """The channel of the element that is j further."""
    c, place = first[0], first[1] + j
    while place >= settings[2]:
        place -= settings[2]
        c += 1
    while c >= settings[1]:
        c -= settings[1]
    return c


@cache
def forward_kernel(dtype: str, with_residual: bool):
    """(x[, residual]) -> (x - mean) * scale + shift [+ residual], rectified where the settings say so."""
    zero = FLOATS[dtype](0)

    @inlined
    def normalise(values, first, j, settings):
        rows, C, _, relu = settings
        c = _channel(first, j, settings)
        value = (values[0] - rows[c]) * rows[_SCALE * C + c] + rows[_SHIFT * C + c]
        if with_residual:
            value += values[-1]
        return (zero if relu and value < zero else value,)

    return quad_kernel(dtype, normalise, 1 + with_residual, 1, _settings(dtype), _begin)


@cache
def grad_input_kernel(dtype: str, with_x: bool):
    """(grad_out, x) -> grad * scale - offset - (x - mean) * slope, or (grad_out) -> grad * scale.

    Where the settings say so, a gradient passes where the output was above zero, or NaN.
    """
    zero = FLOATS[dtype](0)

    @inlined
    def grad_input(values, first, j, settings):
        rows, C, _, masks = settings
        c = _channel(first, j, settings)
        grad, scale = values[0], rows[_SCALE * C + c]
        if with_x:
            distance = values[-1] - rows[c]
            if masks and distance * scale + rows[_SHIFT * C + c] <= zero:
                grad = zero
            return (grad * scale - rows[_OFFSET * C + c] - distance * rows[_SLOPE * C + c],)
        return (grad * scale,)

    return quad_kernel(dtype, grad_input, 1 + with_x, 1, _settings(dtype), _begin)


def _settings(dtype):
    """The coefficients, C, the length of a run, and whether there is a rectifier."""
    return address(FLOATS[dtype]), int64, int64, int64
