"""Dropout."""

import numpy as np

from fastconv import arrays, rng
from fastconv.autograd import Function


def dropout(x, p=0.5, training=True):
    """Zero each element with probability p and scale the rest by 1 / (1 − p); the identity when not training.

    Draws from the process's generator (``fastconv.manual_seed``). Raises ValueError for p outside [0, 1].
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0.0:
        return x
    return Dropout.apply(x, p)


class Dropout(Function):
    """The gradient passes the same mask."""

    @staticmethod
    def forward(ctx, x, p):
        x = arrays.as_array(x, "input")
        keep = rng.generator().random(x.shape, dtype=np.float32) >= p
        # The mask lies in memory as x does, and so does their product.
        mask = np.multiply(keep, x.dtype.type(1.0 / (1.0 - p) if p < 1.0 else 0.0), out=np.empty_like(x))
        ctx.save(mask)
        return x * mask

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved
        return grad * mask, None
