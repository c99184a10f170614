"""Matrix products: ``matmul`` and the fully connected ``linear``."""

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function
from fastconv.errors import ShapeError
from fastconv.functional.broadcasting import reduce_to


def matmul(a, b):
    """a @ b with NumPy's rules for one, two and more axes; raises ShapeError where they do not fit."""
    return Matmul.apply(a, b)


def linear(x, weight, bias=None):
    """x · weightᵀ + bias: every output sees every input.

    Shapes: (..., in), (out, in), (out,) -> (..., out). Raises ShapeError or DTypeError.

    >>> import numpy as np
    >>> linear(np.ones((2, 3)), np.ones((4, 3))).shape
    (2, 4)
    """
    return Linear.apply(x, weight, bias)


class Matmul(Function):
    """The gradient is grad @ bᵀ and aᵀ @ grad."""

    @staticmethod
    def forward(ctx, a, b):
        a, b = arrays.as_array(a, "a"), arrays.as_array(b, "b")
        dtypes.common_float_type(a=a, b=b)
        ctx.save(a, b)
        try:
            return np.matmul(a, b)
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


class Linear(Function):
    """Saves only what the wanted gradients read."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        x, weight = arrays.as_array(x, "input"), arrays.as_array(weight, "weight")
        bias = None if bias is None else arrays.as_array(bias, "bias")
        dtypes.common_float_type(**{"input": x, "weight": weight} | ({} if bias is None else {"bias": bias}))
        if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
            raise ShapeError(f"linear expects (..., in) and (out, in), got input {x.shape} and weight {weight.shape}")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ShapeError(f"bias must have shape ({weight.shape[0]},), got {bias.shape}")
        needs_x, needs_weight, _ = ctx.needs_input_grad
        ctx.save(x if needs_weight else None, weight if needs_x else None)
        out = x @ weight.T
        return out if bias is None else out + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        flat = grad.reshape(-1, grad.shape[-1])
        grad_x = grad @ weight if needs_x else None
        grad_weight = flat.T @ x.reshape(-1, x.shape[-1]) if needs_weight else None
        return grad_x, grad_weight, flat.sum(axis=0) if needs_bias else None
