"""Dropout of elements and of whole channels."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, device_arrays, dtypes, rng
from fastconv._kernels.contract import DROPOUT_SETTINGS
from fastconv.autograd import Function, unwrap
from fastconv.functional import passes
from fastconv.geometry import batched_shape
from fastconv.parameters import flag, number

_WORD = 1 << 32


def dropout(x, p=0.5, training=True):
    """Zero each element with probability p and scale the rest by 1 / (1 − p); the identity when not training.

    Whether an element stays depends on its position and on numbers drawn from the process's generator
    (``fastconv.manual_seed``) alone: nothing is kept for the gradient, and all backends, threads and memory formats
    agree. Raises ValueError for p outside [0, 1], TypeError, and DTypeError where it has to drop what is no float.
    """
    return Dropout.apply(x, p) if _drops(p, training) else x


def dropout2d(x, p=0.5, training=True):
    """Zero each channel of each image with probability p, scale the rest by 1 / (1 − p); else ``dropout``.

    Shapes: (N, C, H, W) or (C, H, W), all others raise ShapeError.

    >>> import numpy as np
    >>> out = dropout2d(np.ones((8, 4, 5, 5), np.float32))
    >>> np.ptp(out, axis=(2, 3)).max(), sorted({0.0, 2.0} | set(out.ravel().tolist()))
    (np.float32(0.0), [0.0, 2.0])
    """
    batched_shape("dropout2d", arrays.as_array(unwrap(x), "input", anywhere=True).shape)
    return DropoutChannels.apply(x, p) if _drops(p, training) else x


def _drops(p, training) -> bool:
    """Whether anything is done at all; raises ValueError and TypeError."""
    if not 0.0 <= number("p", p) <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return flag("training", training) and p != 0.0


class Dropout(Function):
    """The gradient passes where the input did."""

    @staticmethod
    def forward(ctx, x, p):
        x = arrays.as_array(x, "input", anywhere=True)
        dtypes.common_float_type(input=x)
        ctx.settings = _settings(p)
        ctx.kernels = backends.select(device=arrays.device_of(x))
        return _dropped(ctx, x)

    @staticmethod
    def backward(ctx, grad):
        return _dropped(ctx, grad), None


class DropoutChannels(Function):
    """The gradient passes where the input did."""

    @staticmethod
    def forward(ctx, x, p):
        x = arrays.as_array(x, "input", anywhere=True)
        dtypes.common_float_type(input=x)
        ctx.settings = _settings(p)
        ctx.kernels = backends.select(device=arrays.device_of(x))
        with device_arrays.beside(x):
            ctx.factors = _dropped(ctx, np.ones_like(x, order="C", shape=x.shape[:-2]))[..., None, None]
        return _scaled(x, ctx.factors)

    @staticmethod
    def backward(ctx, grad):
        return _scaled(grad, ctx.factors), None


def _scaled(x, factors):
    """Zeros where a factor is zero, also of infinite values."""
    with np.errstate(invalid="ignore"):
        return np.where(factors == 0, factors, x * factors)


def _dropped(ctx, x):
    """Positions are those of C order in every memory format."""
    x, layout = arrays.dense_any(x)
    if ctx.settings is None:
        return arrays.zeros(x.shape, x.dtype, layout, near=x)
    out = passes.run(ctx.kernels, "dropout", arrays.dense(x), settings=ctx.settings)
    return arrays.to_format(out, layout)


def _settings(p):
    """Those of contract.DROPOUT_SETTINGS; None where nothing stays."""
    if p == 1.0:
        return None
    low, high = (int(word) for word in rng.generator().integers(0, _WORD, 2))
    threshold = min(round(p * _WORD), _WORD - 1)
    values = {"threshold": threshold, "scale": 1.0 / (1.0 - p), "seed_low": low, "seed_high": high}
    return np.array([values[name] for name in DROPOUT_SETTINGS], np.float64)
