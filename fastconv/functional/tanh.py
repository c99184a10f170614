"""The hyperbolic tangent."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function


def tanh(x):
    """The hyperbolic tangent, elementwise, with NaN -> NaN; any shape. Raises TypeError, and DTypeError for integers.

    >>> import numpy as np
    >>> tanh(np.array([0.0, np.inf])).tolist()
    [0.0, 1.0]
    """
    return Tanh.apply(x)


class Tanh(Function):
    """The gradient is grad · (1 − out²)."""

    @staticmethod
    def forward(ctx, x):
        x = arrays.as_array(x, "input", anywhere=True)
        dtypes.common_float_type(input=x)
        out = np.tanh(x)
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved
        with np.errstate(invalid="ignore"):
            return grad * (1 - out * out)
