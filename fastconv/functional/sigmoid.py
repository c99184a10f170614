"""The logistic function."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function


def sigmoid(x):
    """1 / (1 + exp(−x)), elementwise, with NaN -> NaN; any shape. Raises TypeError, and DTypeError for integers.

    >>> import numpy as np
    >>> sigmoid(np.array([0.0, -np.inf])).tolist()
    [0.5, 0.0]
    """
    return Sigmoid.apply(x)


class Sigmoid(Function):
    """The gradient is grad · out · (1 − out)."""

    @staticmethod
    def forward(ctx, x):
        x = arrays.as_array(x, "input", anywhere=True)
        dtypes.common_float_type(input=x)
        # exp(−|x|) does not overflow, and keeps the digits of both small and large results.
        decay = np.exp(-np.abs(x))
        out = np.where(x < 0, decay, x.dtype.type(1)) / (1 + decay)
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved
        with np.errstate(invalid="ignore"):
            return grad * out * (1 - out)
