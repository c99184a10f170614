"""Values cut at two ends, as by a hyperbolic tangent that is drawn with a ruler."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function
from fastconv.parameters import number


def hardtanh(x, min_val=-1.0, max_val=1.0):
    """min(max(x, min_val), max_val), elementwise, with NaN -> NaN; any shape.

    Raises TypeError, DTypeError for integers, and ValueError where min_val is above max_val.

    >>> import numpy as np
    >>> hardtanh(np.array([-3.0, 0.5, 3.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    return Hardtanh.apply(x, *checked_ends(min_val, max_val))


def relu6(x):
    """min(max(x, 0), 6), elementwise, with NaN -> NaN and −0.0 -> −0.0; any shape. Raises TypeError, DTypeError.

    >>> import numpy as np
    >>> relu6(np.array([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return Hardtanh.apply(x, 0.0, 6.0)


class Hardtanh(Function):
    """The gradient passes where the input was between the ends."""

    @staticmethod
    def forward(ctx, x, min_val, max_val):
        x = arrays.as_array(x, "input", anywhere=True)
        storage = dtypes.common_float_type(input=x).storage
        ctx.low, ctx.high = storage.type(min_val), storage.type(max_val)
        out = np.where(x < ctx.low, ctx.low, np.where(x > ctx.high, ctx.high, x))
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved
        return np.where((out > ctx.low) & (out < ctx.high), grad, grad.dtype.type(0)), None, None


def checked_ends(min_val, max_val) -> tuple[float, float]:
    """Two numbers in order; raises TypeError or ValueError."""
    low, high = number("min_val", min_val), number("max_val", max_val)
    if low > high:
        raise ValueError(f"min_val must not be above max_val, got {min_val} and {max_val}")
    return low, high
