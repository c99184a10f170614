"""Values cut at two ends, as by a hyperbolic tangent that is drawn with a ruler."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv._kernels.contract import HARDTANH_SETTINGS
from fastconv.autograd import Function
from fastconv.functional import passes
from fastconv.parameters import number


def hardtanh(x, min_val=-1.0, max_val=1.0):
    """min(max(x, min_val), max_val), elementwise, with NaN -> NaN; any shape.

    Raises TypeError, DTypeError for integers, and ValueError where min_val is above max_val.

    >>> import numpy as np
    >>> hardtanh(np.array([-3.0, 0.5, 3.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    return Hardtanh.apply(x, *checked_ends(min_val, max_val))


def relu6(x):
    """min(max(x, 0), 6), elementwise, with NaN -> NaN and −0.0 -> −0.0; any shape. Raises TypeError, DTypeError.

    >>> import numpy as np
    >>> relu6(np.array([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return Hardtanh.apply(x, 0.0, 6.0)


class Hardtanh(Function):
    """The gradient passes where the input was between the ends."""

    @staticmethod
    def forward(ctx, x, min_val, max_val):
        x = arrays.as_array(x, "input", anywhere=True)
        dtypes.common_float_type(input=x)
        ctx.settings, ctx.kernels = _settings(min_val, max_val), backends.select(device=arrays.device_of(x))
        out = passes.run(ctx.kernels, "hardtanh_forward", x, settings=ctx.settings)
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved
        return _passed(ctx.kernels, grad, out, ctx.settings), None, None


def relu6_gradient(kernels: backends.KernelSet, grad: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The gradient where the output is between zero and six, in the output's memory format."""
    return _passed(kernels, grad, out, _settings(0.0, 6.0))


def _passed(kernels, grad, out, settings):
    out, layout = arrays.dense_any(out)
    return passes.run(kernels, "hardtanh_grad_input", arrays.to_format(grad, layout), out, settings=settings)


@lru_cache(maxsize=64)
def _settings(min_val, max_val):
    """Those of contract.HARDTANH_SETTINGS, at one place for all calls."""
    values = {"min_val": min_val, "max_val": max_val}
    return np.array([values[name] for name in HARDTANH_SETTINGS], np.float64)


def checked_ends(min_val, max_val) -> tuple[float, float]:
    """Two numbers in order; raises TypeError or ValueError."""
    low, high = number("min_val", min_val), number("max_val", max_val)
    if low > high:
        raise ValueError(f"min_val must not be above max_val, got {min_val} and {max_val}")
    return low, high
