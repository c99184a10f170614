"""The rectifier."""

import numpy as np

from fastconv import arrays
from fastconv.autograd import Function


def relu(x):
    """max(x, 0), elementwise, with NaN -> NaN and −0.0 -> −0.0; any shape.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return ReLU.apply(x)


class ReLU(Function):
    """The gradient passes where the output is not zero."""

    @staticmethod
    def forward(ctx, x):
        x = arrays.as_array(x, "input")
        out = np.where(x < 0, x.dtype.type(0), x)
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved
        return np.where(out == 0, grad.dtype.type(0), grad)
