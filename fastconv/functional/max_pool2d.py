"""Two-dimensional max-pooling and its gradient."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv._kernels.contract import Problem, offsets_dtype
from fastconv.autograd import Function
from fastconv.geometry import Pool2dGeometry, batched_shape
from fastconv.parameters import flag

_WITH_OFFSETS = frozenset({"offsets"})
_WITHOUT_OFFSETS: frozenset[str] = frozenset()


def max_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    *,
    ceil_mode=False,
    return_indices=False,
    backend: str | None = None,
):
    """Take the largest input under each window; ``stride`` defaults to ``kernel_size``.

    out[n, c, oh, ow] = max over (kh, kw) of x[n, c, oh·sH − pH + kh·dH, ow·sW − pW + kw·dW], padding excluded.

    Shapes: (N, C, H, W) -> (N, C, OH, OW); (C, H, W) -> (C, OH, OW), with
    OH = floor((H + 2·pH − dH·(kH − 1) − 1) / sH) + 1, rounded up with ``ceil_mode`` as long as the window starts inside
    the input or its low padding. ``return_indices`` adds the int64 positions of the winners in the flattened (H, W)
    plane. NaN wins (the last one); of equal values the first wins.

    Raises ShapeError, ValueError, TypeError or DTypeError naming the argument; BackendUnavailableError for ``backend``.

    >>> import numpy as np
    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    parameters = (kernel_size, stride, padding, dilation, ceil_mode)
    return MaxPool2d.apply(x, parameters, flag("return_indices", return_indices), backend)


class MaxPool2d(Function):
    """Keeps the offset of each winner inside its window: one byte per output for windows of up to 256 taps."""

    @staticmethod
    def forward(ctx, x, parameters, return_indices, backend):
        x = arrays.as_array(x, "input")
        ctx.dtype = dtypes.common_float_type(input=x)
        kernel_size, stride, padding, dilation, ceil_mode = parameters
        shape = batched_shape("max_pool2d", x.shape)
        ctx.geometry = Pool2dGeometry.of(shape, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)
        ctx.kernels = backends.select(backend)
        ctx.batched = x.ndim == 4
        x, ctx.format = arrays.dense_4d(x if ctx.batched else x[None])
        out, offsets = _forward(ctx, x, return_indices or ctx.needs_input_grad[0])
        ctx.save(offsets if ctx.needs_input_grad[0] else None)
        results = (out, _flat_indices(ctx.geometry, offsets)) if return_indices else (out,)
        results = results if ctx.batched else tuple(array[0] for array in results)
        return results if return_indices else results[0]

    @staticmethod
    def backward(ctx, grad_out, grad_indices=None):
        (offsets,) = ctx.saved
        grad_out = arrays.to_format(grad_out if ctx.batched else grad_out[None], ctx.format)
        grad_input = arrays.empty(ctx.geometry.x_shape, ctx.dtype.storage, ctx.format)
        if ctx.geometry.N:
            problem = Problem(ctx.geometry, ctx.dtype.name, (ctx.format, ctx.format))
            ctx.kernels.run("max_pool2d_grad_input", problem, grad_out, offsets, grad_input)
        return grad_input if ctx.batched else grad_input[0], None, None, None


def _forward(ctx, x, wants_offsets):
    g = ctx.geometry
    out = arrays.empty(g.out_shape, ctx.dtype.storage, ctx.format)
    offsets = arrays.empty(g.out_shape, np.dtype(offsets_dtype(g)), ctx.format) if wants_offsets else None
    if g.N:
        optional = _WITH_OFFSETS if wants_offsets else _WITHOUT_OFFSETS
        problem = Problem(g, ctx.dtype.name, (ctx.format, ctx.format), optional)
        ctx.kernels.run("max_pool2d_forward", problem, x, out, *([offsets] if wants_offsets else []))
    return out, offsets


def _flat_indices(g: Pool2dGeometry, offsets: np.ndarray) -> np.ndarray:
    """Offsets inside windows -> positions in the flattened (H, W) plane; never outside it."""
    kh, kw = np.divmod(offsets.astype(np.int64), g.cols.kernel)
    rows = np.arange(g.rows.out)[:, None] * g.rows.stride - g.rows.low + kh * g.rows.dilation
    cols = np.arange(g.cols.out) * g.cols.stride - g.cols.low + kw * g.cols.dilation
    return np.clip(rows, 0, g.rows.size - 1) * g.cols.size + np.clip(cols, 0, g.cols.size - 1)
