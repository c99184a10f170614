"""Normalisation by what other channels have at the same place."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes, parameters
from fastconv.autograd import Function
from fastconv.errors import ShapeError


def local_response_norm(x, size, alpha=0.0001, beta=0.75, k=1.0):
    """Each value divided by (k + alpha / size · Σ squares)^beta, over ``size`` channels at its place.

    These are its own, ⌊size/2⌋ before it and ⌊(size − 1)/2⌋ behind it, as far as they exist. (In A. Krizhevsky's paper
    alpha is not divided by size.) Raises ShapeError, ValueError, TypeError or DTypeError.

    Shapes: (N, C, ...) -> (N, C, ...)

    >>> import numpy as np
    >>> local_response_norm(np.full((1, 3, 1, 1), 2.0), 3, alpha=0.75, beta=1.0).ravel().tolist()
    [0.6666666666666666, 0.5, 0.6666666666666666]
    """
    return LocalResponseNorm.apply(x, *checked_settings(size, alpha, beta, k))


class LocalResponseNorm(Function):
    """With s = k + alpha/size · Σ x² it is grad · s^−beta − 2 · alpha/size · beta · x · Σ grad · x · s^(−beta−1)."""

    @staticmethod
    def forward(ctx, x, size, alpha, beta, k):
        x = arrays.as_array(x, "input", anywhere=True)
        dtypes.common_float_type(input=x)
        if x.ndim < 3:
            raise ShapeError(f"expected 3D or higher dimensionality input to local_response_norm, got shape {x.shape}")
        ctx.size, ctx.settings = size, (alpha, beta, k)
        with np.errstate(all="ignore"):
            scale = k + alpha / size * _summed(x * x, size // 2, (size - 1) // 2)
            out = x * scale**-beta
        ctx.save(x, scale)
        return out

    @staticmethod
    def backward(ctx, grad):
        x, scale = ctx.saved
        size, (alpha, beta, _) = ctx.size, ctx.settings
        power = scale**-beta
        # Who is seen by a channel lies the other way round.
        seen = _summed(grad * x * power / scale, (size - 1) // 2, size // 2)
        return grad * power - 2 * alpha * beta / size * x * seen, None, None, None, None


def _summed(x, before, behind):
    """Sums over the channels from so many before each to so many behind it."""
    channels = x.shape[1]
    total = x.copy(order="K")
    for step in range(1, max(before, behind) + 1):
        if step <= before and step < channels:
            total[:, step:] += x[:, :-step]
        if step <= behind and step < channels:
            total[:, :-step] += x[:, step:]
    return total


def checked_settings(size, alpha, beta, k) -> tuple[int, float, float, float]:
    """Raises TypeError or ValueError."""
    size = parameters.positive_int("size", size)
    alpha, beta, k = (parameters.number(*item) for item in (("alpha", alpha), ("beta", beta), ("k", k)))
    return size, alpha, beta, k
