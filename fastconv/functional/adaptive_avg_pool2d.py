"""Two-dimensional adaptive average-pooling and its gradient."""

from __future__ import annotations

from fastconv import arrays, dtypes
from fastconv.autograd import Function
from fastconv.geometry import AdaptiveAxis, Axis, Pool2dGeometry, batched_shape


def adaptive_avg_pool2d(x, output_size):
    """Average the inputs of each of ``output_size`` = OH or (OH, OW) parts of the plane; None keeps the size.

    Output (oh, ow) is the mean of rows floor(oh·H / OH) .. ceil((oh + 1)·H / OH) − 1 and of the same columns.

    Shapes: (N, C, H, W) -> (N, C, OH, OW); (C, H, W) -> (C, OH, OW). Raises ShapeError, ValueError or TypeError.

    >>> import numpy as np
    >>> adaptive_avg_pool2d(np.arange(15.0).reshape(1, 1, 3, 5), (1, 2))[0, 0].tolist()
    [[6.0, 8.0]]
    """
    return AdaptiveAvgPool2d.apply(x, output_size)


class AdaptiveAvgPool2d(Function):
    """Needs no saved array: the gradient depends on the geometry alone."""

    @staticmethod
    def forward(ctx, x, output_size):
        x = arrays.as_array(x, "input")
        accumulator = dtypes.common_float_type(input=x).accumulator
        g = ctx.geometry = Pool2dGeometry.adaptive(batched_shape("adaptive_avg_pool2d", x.shape), output_size)
        ctx.batched = x.ndim == 4
        x, ctx.format = arrays.dense_4d(x if ctx.batched else x[None])
        rows, cols = windows(g.rows), windows(g.cols)
        sums = [x[:, :, row].sum(axis=2, dtype=accumulator) for row in rows]
        out = arrays.zeros(g.out_shape, x.dtype, ctx.format)
        for (oh, total), (ow, col) in ((row, col) for row in enumerate(sums) for col in enumerate(cols)):
            out[:, :, oh, ow] = total[:, :, col].sum(axis=2) / (_width(rows[oh]) * _width(col))
        return out if ctx.batched else out[0]

    @staticmethod
    def backward(ctx, grad_out):
        g = ctx.geometry
        grad_out = grad_out.reshape(g.out_shape)
        grad_input = arrays.zeros(g.x_shape, grad_out.dtype, ctx.format)
        for oh, row in enumerate(windows(g.rows)):
            for ow, col in enumerate(windows(g.cols)):
                share = grad_out[:, :, oh, ow] / grad_out.dtype.type(_width(row) * _width(col))
                grad_input[:, :, row, col] += share[:, :, None, None]
        return grad_input if ctx.batched else grad_input[0], None


def windows(axis: Axis | AdaptiveAxis) -> list[slice]:
    """The positions under each output of an axis of ``Pool2dGeometry.adaptive``."""
    bounds = AdaptiveAxis(axis.size, axis.out)
    return [slice(bounds.begin(output), bounds.end(output)) for output in range(axis.out)]


def _width(window):
    return window.stop - window.start
