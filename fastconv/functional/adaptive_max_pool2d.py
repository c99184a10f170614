"""Two-dimensional adaptive max-pooling and its gradient."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function
from fastconv.functional.adaptive_avg_pool2d import windows
from fastconv.geometry import Pool2dGeometry, batched_shape
from fastconv.parameters import flag


def adaptive_max_pool2d(x, output_size, return_indices=False):
    """Take the largest input of each of ``output_size`` = OH or (OH, OW) parts of the plane; None keeps the size.

    Output (oh, ow) has rows floor(oh·H / OH) .. ceil((oh + 1)·H / OH) − 1 and the same columns. ``return_indices`` adds
    the int64 positions of the winners in the flattened (H, W) plane. NaN wins (the last), else the first.

    Shapes: (N, C, H, W) -> (N, C, OH, OW); (C, H, W) -> (C, OH, OW). Raises ShapeError, ValueError or TypeError.

    >>> import numpy as np
    >>> adaptive_max_pool2d(np.arange(15.0).reshape(1, 1, 3, 5), (1, 2))[0, 0].tolist()
    [[12.0, 14.0]]
    """
    return AdaptiveMaxPool2d.apply(x, output_size, flag("return_indices", return_indices))


class AdaptiveMaxPool2d(Function):
    """Keeps the position of each winner in its plane."""

    @staticmethod
    def forward(ctx, x, output_size, return_indices):
        x = arrays.as_array(x, "input")
        dtypes.common_float_type(input=x)
        g = ctx.geometry = Pool2dGeometry.adaptive(batched_shape("adaptive_max_pool2d", x.shape), output_size)
        ctx.batched = x.ndim == 4
        x, ctx.format = arrays.dense_4d(x if ctx.batched else x[None])
        positions = np.arange(g.rows.size * g.cols.size).reshape(g.rows.size, g.cols.size)
        out = arrays.zeros(g.out_shape, x.dtype, ctx.format)
        indices = arrays.zeros(g.out_shape, positions.dtype, ctx.format)
        for oh, row in enumerate(windows(g.rows)):
            for ow, col in enumerate(windows(g.cols)):
                window = _flat(x[:, :, row, col])
                winner = _winner(window)
                out[:, :, oh, ow] = np.take_along_axis(window, winner[..., None], axis=2)[..., 0]
                indices[:, :, oh, ow] = positions[row, col].reshape(-1)[winner]
        ctx.save(indices if ctx.needs_input_grad[0] else None)
        results = (out, indices) if return_indices else (out,)
        results = results if ctx.batched else tuple(array[0] for array in results)
        return results if return_indices else results[0]

    @staticmethod
    def backward(ctx, grad_out, grad_indices=None):
        (indices,) = ctx.saved
        g = ctx.geometry
        total = np.zeros((g.N, g.C, g.rows.size * g.cols.size), grad_out.dtype)
        images, channels = np.ogrid[: g.N, : g.C]
        np.add.at(total, (images[..., None], channels[..., None], _flat(indices)), _flat(grad_out.reshape(g.out_shape)))
        grad_input = arrays.to_format(total.reshape(g.x_shape), ctx.format)
        return grad_input if ctx.batched else grad_input[0], None, None


def _winner(window):
    """The last NaN, else the first maximum, along the last axis."""
    is_nan = np.isnan(window)
    last_nan = window.shape[2] - 1 - np.argmax(is_nan[..., ::-1], axis=2)
    return np.where(is_nan.any(axis=2), last_nan, np.argmax(window, axis=2))


def _flat(array):
    N, C, H, W = array.shape
    return array.reshape(N, C, H * W)
