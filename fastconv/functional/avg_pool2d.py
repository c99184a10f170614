"""Two-dimensional average-pooling and its gradient."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function
from fastconv.geometry import Pool2dGeometry, batched_shape
from fastconv.parameters import flag, positive_int


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """Average the inputs under each window; ``stride`` defaults to ``kernel_size``.

    out[n, c, oh, ow] = Σ x[n, c, oh·sH − pH + kh, ow·sW − pW + kw] / count, where the count includes padding unless
    ``count_include_pad`` is False, and is ``divisor_override`` where that is given.

    Shapes: (N, C, H, W) -> (N, C, OH, OW); (C, H, W) -> (C, OH, OW). Raises ShapeError, ValueError or TypeError.

    >>> import numpy as np
    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    divisor = None if divisor_override is None else positive_int("divisor_override", divisor_override)
    counting = (flag("count_include_pad", count_include_pad), divisor)
    return AvgPool2d.apply(x, (kernel_size, stride, padding, ceil_mode), counting)


class AvgPool2d(Function):
    """Needs no saved array: the gradient depends on the geometry alone."""

    @staticmethod
    def forward(ctx, x, parameters, counting):
        x = arrays.as_array(x, "input")
        dtypes.common_float_type(input=x)
        kernel_size, stride, padding, ceil_mode = parameters
        shape = batched_shape("avg_pool2d", x.shape)
        g = ctx.geometry = Pool2dGeometry.of(shape, kernel_size, stride, padding, ceil_mode=ceil_mode)
        ctx.counts = _counts(g, *counting).astype(x.dtype)
        ctx.batched = x.ndim == 4
        x, ctx.format = arrays.dense_4d(x if ctx.batched else x[None])
        shape, inner = _padded(g)
        padded = arrays.zeros(shape, x.dtype, ctx.format)
        padded[inner] = x
        total = arrays.zeros(g.out_shape, x.dtype, ctx.format)
        for window in _windows(g):
            total += padded[window]
        total /= ctx.counts
        return total if ctx.batched else total[0]

    @staticmethod
    def backward(ctx, grad_out):
        g = ctx.geometry
        share = grad_out.reshape(g.out_shape) / ctx.counts
        shape, inner = _padded(g)
        padded = arrays.zeros(shape, grad_out.dtype, ctx.format)
        for window in _windows(g):
            padded[window] += share
        grad_input = padded[inner]
        return grad_input if ctx.batched else grad_input[0], None, None


def _windows(g):
    """For each tap, the padded inputs that lie under all outputs at that tap."""
    for kh in range(g.rows.kernel):
        for kw in range(g.cols.kernel):
            yield (..., _under(g.rows, kh), _under(g.cols, kw))


def _under(axis, tap):
    return slice(tap, tap + (axis.out - 1) * axis.stride + 1, axis.stride)


def _padded(g):
    """The shape with padding, and where in it the input lies."""
    (top, bottom), (left, right) = _pads(g.rows), _pads(g.cols)
    height, width = g.rows.size, g.cols.size
    inner = (..., slice(top, top + height), slice(left, left + width))
    return (g.N, g.C, top + height + bottom, left + width + right), inner


def _pads(axis):
    """Low and high padding; with ceil_mode the last window may reach beyond the padding that was asked for."""
    reach = (axis.out - 1) * axis.stride + axis.kernel - axis.low - axis.size
    return axis.low, max(axis.high, reach)


def _counts(g, include_pad, divisor):
    if divisor is not None:
        return np.array(divisor)
    return np.outer(_axis_counts(g.rows, include_pad), _axis_counts(g.cols, include_pad))


def _axis_counts(axis, include_pad):
    starts = np.arange(axis.out) * axis.stride - axis.low
    low, high = (-axis.low, axis.size + axis.high) if include_pad else (0, axis.size)
    return np.minimum(starts + axis.kernel, high) - np.maximum(starts, low)
