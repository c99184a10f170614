"""Reductions over axes: sum, mean; argmax without a gradient."""

import math

import numpy as np

from fastconv import arrays
from fastconv.autograd import Function


def sum(x, axis=None, keepdims=False):
    """The sum over the given axes, or over all."""
    return Sum.apply(x, axis, keepdims)


def mean(x, axis=None, keepdims=False):
    """The arithmetic mean over the given axes, or over all."""
    return Mean.apply(x, axis, keepdims)


def argmax(x, axis=None):
    """The position of the first maximum along an axis, or in the flattened array."""
    return Argmax.apply(x, axis)


class Sum(Function):
    """The gradient is grad, repeated."""

    @staticmethod
    def forward(ctx, x, axis, keepdims):
        x = arrays.as_array(x, "input", anywhere=True)
        ctx.shape, ctx.axis, ctx.keepdims = x.shape, axis, keepdims
        return x.sum(axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(ctx, grad):
        return _spread(ctx, grad).copy(), None, None


class Mean(Function):
    """The gradient is grad / count, repeated."""

    @staticmethod
    def forward(ctx, x, axis, keepdims):
        x = arrays.as_array(x, "input", anywhere=True)
        ctx.shape, ctx.axis, ctx.keepdims = x.shape, axis, keepdims
        return x.mean(axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(ctx, grad):
        count = math.prod(ctx.shape) // max(1, grad.size)
        return (_spread(ctx, grad) / grad.dtype.type(count)), None, None


class Argmax(Function):
    """Positions carry no gradient."""

    @staticmethod
    def forward(ctx, x, axis):
        return arrays.as_array(x, "input", anywhere=True).argmax(axis=axis)


def _spread(ctx, grad):
    if ctx.axis is not None and not ctx.keepdims:
        grad = np.expand_dims(grad, ctx.axis)
    return np.broadcast_to(grad, ctx.shape)
