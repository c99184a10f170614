"""Matrix products."""

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function
from fastconv.errors import ShapeError
from fastconv.functional.broadcasting import reduce_to


def matmul(a, b):
    """a @ b with NumPy's rules for one, two and more axes; raises ShapeError where they do not fit."""
    return Matmul.apply(a, b)


class Matmul(Function):
    """The gradient is grad @ bᵀ and aᵀ @ grad."""

    @staticmethod
    def forward(ctx, a, b):
        a, b = arrays.as_array(a, "a", anywhere=True), arrays.as_array(b, "b", anywhere=True)
        dtypes.common_float_type(a=a, b=b)
        arrays.common_device(a=a, b=b)
        ctx.save(a, b)
        try:
            return a @ b
        except ValueError:
            raise ShapeError(f"shapes {a.shape} and {b.shape} do not fit a matrix product") from None

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved
        rows = a[None, :] if a.ndim == 1 else a
        cols = b[:, None] if b.ndim == 1 else b
        grad = np.expand_dims(grad, -1) if b.ndim == 1 else grad
        grad = np.expand_dims(grad, -2) if a.ndim == 1 else grad
        needs_a, needs_b = ctx.needs_input_grad
        grad_a = reduce_to(grad @ cols.swapaxes(-1, -2), rows) if needs_a else None
        grad_b = reduce_to(rows.swapaxes(-1, -2) @ grad, cols) if needs_b else None
        return None if grad_a is None else grad_a.reshape(a.shape), None if grad_b is None else grad_b.reshape(b.shape)
