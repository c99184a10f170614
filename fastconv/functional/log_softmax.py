"""Logarithm of the softmax."""

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function


def log_softmax(x, axis=-1):
    """x − log Σ exp(x) along an axis, without overflow; any shape.

    >>> import numpy as np
    >>> bool(np.isclose(np.exp(log_softmax(np.array([1.0, 2.0]))).sum(), 1))
    True
    """
    return LogSoftmax.apply(x, axis)


class LogSoftmax(Function):
    """The gradient is grad − softmax · Σ grad."""

    @staticmethod
    def forward(ctx, x, axis):
        x = arrays.as_array(x, "input")
        dtypes.common_float_type(input=x)
        out = stable_log_softmax(x, axis)
        ctx.axis = axis
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved
        return grad - np.exp(out) * grad.sum(axis=ctx.axis, keepdims=True), None


def stable_log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """On plain arrays: shifted by the maximum, so that no exponential overflows."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
