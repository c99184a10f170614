"""The rectifier that lets a part of negative values through."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function
from fastconv.parameters import number


def leaky_relu(x, negative_slope=0.01):
    """x where x > 0, else negative_slope · x, elementwise, with NaN -> NaN and −0.0 -> −0.0; any shape.

    Raises TypeError, and DTypeError for integers.

    >>> import numpy as np
    >>> leaky_relu(np.array([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    return LeakyReLU.apply(x, number("negative_slope", negative_slope))


class LeakyReLU(Function):
    """The gradient is grad where the input is above zero, else negative_slope · grad."""

    @staticmethod
    def forward(ctx, x, negative_slope):
        x = arrays.as_array(x, "input", anywhere=True)
        ctx.slope = dtypes.common_float_type(input=x).storage.type(negative_slope)
        ctx.save(x)
        return _leaking(x, x, ctx.slope)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved
        return _leaking(x, grad, ctx.slope), None


def _leaking(x, values, slope):
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(x > 0, values, values * slope)
