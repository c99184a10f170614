"""Padding."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fastconv import arrays, backends, parameters
from fastconv.autograd import Function
from fastconv.geometry import PadGeometry

_CONSTANT = "constant"
_MODES = (_CONSTANT, "reflect", "replicate", "circular")


def pad(x, pad, mode="constant", value=None):
    """Grow the last axes of an array by ``pad``: (left, right), (left, right, top, bottom) and so on, the last first.

    Where ``mode`` is "constant" the new values are ``value``, without one 0. Else they are values of the input: what
    is as far on the other side of the edge ("reflect"), the edge ("replicate"), or what would come next if the input
    were repeated ("circular"); for 1 axis of 2 or 3, 2 of 3 or 4, or 3 of 4 or 5. Negative numbers cut. The result has
    the memory format of the input. Raises ShapeError, ValueError or TypeError.

    Shapes: (..., H, W) -> (..., H + top + bottom, W + left + right)

    >>> import numpy as np
    >>> pad(np.array([[1.0, 2.0, 3.0]]), (2, 1), "reflect").tolist()
    [[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]]
    """
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
    if value is not None and mode != _CONSTANT:
        raise ValueError(f"mode {mode!r} takes no value, got {value!r}")
    # A list: the tape looks for Tensors in tuples.
    ends = [*parameters.pad_ends(pad)]
    if mode == _CONSTANT:
        return Pad.apply(x, ends, 0.0 if value is None else parameters.number("value", value))
    return PadFromInside.apply(x, ends, mode)


class Pad(Function):
    """The gradient is that of what was not filled."""

    @staticmethod
    def forward(ctx, x, ends, value):
        x = arrays.as_array(x, "input", anywhere=True)
        ctx.geometry = g = PadGeometry.of(x.shape, tuple(ends), _CONSTANT)
        out = arrays.empty(g.out_shape, x.dtype, arrays.nearest_format(x), near=x)
        fill = _filling(g, value)
        fill(x, out)
        backends.filled(fill, (x,), out)
        return out

    @staticmethod
    def backward(ctx, grad):
        g = ctx.geometry
        inside = grad[g.kept]
        if inside.shape == g.x_shape:
            return inside, None, None
        grad_input = arrays.zeros(g.x_shape, grad.dtype, arrays.nearest_format(grad), near=grad)
        grad_input[g.seen] = inside
        return grad_input, None, None


class PadFromInside(Function):
    """The gradient of a value is the sum of those of its copies; axis by axis, so that corners come by themselves."""

    @staticmethod
    def forward(ctx, x, ends, mode):
        x = arrays.as_array(x, "input", anywhere=True)
        ctx.geometry = g = PadGeometry.of(x.shape, tuple(ends), mode)
        layout = arrays.nearest_format(x)
        for number, axis in enumerate(g.axes, len(g.outer)):
            before: tuple[Any, ...] = (slice(None),) * number
            out = arrays.empty((*x.shape[:number], axis.out, *x.shape[number + 1 :]), x.dtype, layout, near=x)
            out[(*before, axis.kept)] = x[(*before, axis.seen)]
            for target, source in axis.added(mode):
                out[(*before, target)] = x[(*before, source)]
            x = out
        return x

    @staticmethod
    def backward(ctx, grad):
        g, layout = ctx.geometry, arrays.nearest_format(grad)
        for number, axis in reversed(list(enumerate(g.axes, len(g.outer)))):
            before = (slice(None),) * number
            shape = (*grad.shape[:number], axis.size, *grad.shape[number + 1 :])
            back = arrays.zeros(shape, grad.dtype, layout, near=grad)
            back[(*before, axis.seen)] = grad[(*before, axis.kept)]
            for target, source in axis.added(g.mode):
                back[(*before, source)] += grad[(*before, target)]
            grad = back
        return grad, None, None


@lru_cache(maxsize=64)
def _filling(geometry, value):
    """What surrounds an array with a value."""

    def surround(x, out):
        out[...] = value
        out[geometry.kept] = x[geometry.seen]

    return surround
