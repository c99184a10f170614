"""The softmax."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function
from fastconv.functional.log_softmax import axis_of, checked_dim
from fastconv.geometry import ClassesGeometry


def softmax(x, dim=None):
    """exp(x) / Σ exp(x) along the axis ``dim``, without overflow; any shape.

    Without ``dim`` it is torch's choice: axis 0 of inputs with 1 or 3 axes, axis 1 of all others. A NaN, or a largest
    value that is infinite, makes everything along its axis NaN. Raises TypeError, DTypeError, and ShapeError for an
    axis that is not there or has no element.

    >>> import numpy as np
    >>> softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    return Softmax.apply(x, checked_dim(dim))


class Softmax(Function):
    """The gradient is out · (grad − Σ grad · out)."""

    @staticmethod
    def forward(ctx, x, dim):
        x = arrays.as_array(x, "input", anywhere=True)
        wide = dtypes.common_float_type(input=x).accumulator if type(x) is np.ndarray else np.float64
        ctx.axis = axis = axis_of(x, dim)
        ClassesGeometry.of(x.shape, axis)
        with np.errstate(invalid="ignore"):
            out = np.exp(x - x.max(axis=axis, keepdims=True))
            out /= out.sum(axis=axis, keepdims=True, dtype=wide).astype(x.dtype)
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved
        with np.errstate(invalid="ignore"):
            return out * (grad - (grad * out).sum(axis=ctx.axis, keepdims=True)), None
