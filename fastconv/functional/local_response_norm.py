"""Normalisation by what other channels have at the same place."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import arrays, backends, dtypes, parameters
from fastconv._kernels.contract import RESPONSE_SETTINGS
from fastconv.autograd import Function
from fastconv.errors import ShapeError
from fastconv.functional.calls import Call, Calls
from fastconv.geometry import ResponseGeometry

_known: Calls[Call] = Calls()


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
        x, ctx.format = arrays.dense_any(arrays.as_array(x, "input", anywhere=True))
        ctx.call, ctx.settings = _call_of(x, size, ctx.format), _settings(alpha / size, beta, k)
        ctx.kernels = backends.select(device=arrays.device_of(x))
        ctx.save(x)
        return _run(ctx, "local_response_norm_forward", x)

    @staticmethod
    def backward(ctx, grad):
        grad_input = _run(ctx, "local_response_norm_grad_input", arrays.to_format(grad, ctx.format), *ctx.saved)
        return grad_input, None, None, None, None


def _call_of(x, size, layout):
    key = (x.shape, x.dtype, size, layout)
    call = _known.get(key)
    if call is None:
        dtype = dtypes.common_float_type(input=x)
        if x.ndim < 3:
            raise ShapeError(f"expected 3D or higher dimensionality input to local_response_norm, got shape {x.shape}")
        # What the kernel sees is in C order, whatever the memory format.
        axes = arrays.stored_axes(x.ndim, layout)
        geometry = ResponseGeometry.of(tuple([x.shape[at] for at in axes]), axes.index(1), size)
        call = Call(geometry, dtype, True)
        _known.keep(key, [], call)
    return call


def _run(ctx, op, *inputs):
    out = arrays.empty(inputs[0].shape, inputs[0].dtype, ctx.format, near=inputs[0])
    if out.size:
        shape = ctx.call.geometry.x_shape
        *given, target = (arrays.stored(array, ctx.format).reshape(shape) for array in (*inputs, out))
        task = ctx.call.task(op, (arrays.CONTIGUOUS,) * (len(given) + 1))
        ctx.kernels.run(task, *given, ctx.settings, target)
    return out


@lru_cache(maxsize=64)
def _settings(alpha, beta, k):
    """Those of contract.RESPONSE_SETTINGS, at one place for all calls."""
    values = {"alpha": alpha, "beta": beta, "k": k}
    return np.array([values[name] for name in RESPONSE_SETTINGS], np.float64)


def checked_settings(size, alpha, beta, k) -> tuple[int, float, float, float]:
    """Raises TypeError or ValueError."""
    size = parameters.positive_int("size", size)
    alpha, beta, k = (parameters.number(*item) for item in (("alpha", alpha), ("beta", beta), ("k", k)))
    return size, alpha, beta, k
