"""Dropout."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes, rng
from fastconv._kernels.contract import DROPOUT_SETTINGS
from fastconv.autograd import Function
from fastconv.functional import passes
from fastconv.parameters import flag, number

_WORD = 1 << 32


def dropout(x, p=0.5, training=True):
    """Zero each element with probability p and scale the rest by 1 / (1 − p); the identity when not training.

    Whether an element stays depends on its position and on numbers drawn from the process's generator
    (``fastconv.manual_seed``) alone: nothing is kept for the gradient, and all backends, threads and memory formats
    agree. Raises ValueError for p outside [0, 1], TypeError, and DTypeError where it has to drop what is no float.
    """
    p = number("p", p)
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not flag("training", training) or p == 0.0:
        return x
    return Dropout.apply(x, p)


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
