"""Two-dimensional convolution (cross-correlation, as in every network library) and its three gradients."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv._kernels.contract import Problem
from fastconv.autograd import Function
from fastconv.geometry import Conv2dGeometry, batched_shape

_NO_BIAS: frozenset[str] = frozenset()
_BIAS = frozenset({"bias"})


def conv2d(
    x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, padding_mode="zeros", backend: str | None = None
):
    """Slide each of K filters over the input and sum products.

    out[n, k, oh, ow] = bias[k] + Σ weight[k, c, kh, kw] · x[n, c, oh·sH − pH + kh·dH, ow·sW − pW + kw·dW]

    Shapes: (N, C, H, W), (K, C/groups, kH, kW), (K,) -> (N, K, OH, OW); (C, H, W) -> (K, OH, OW), with
    OH = floor((H + 2·pH − dH·(kH − 1) − 1) / sH) + 1. ``padding`` is an int, a pair, ``"valid"``, ``"same"`` (stride 1)
    or ``((top, bottom), (left, right))``; ``padding_mode`` is zeros, reflect, replicate or circular. Padded zeros are
    not summed, so that an infinite or NaN weight has no effect over them. The result has the input's memory format.

    Raises ShapeError, ValueError, TypeError or DTypeError naming the argument; BackendUnavailableError for ``backend``.

    >>> import numpy as np
    >>> image = np.arange(9.0, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> conv2d(image, np.ones((1, 1, 2, 2), np.float32))[0, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    return Conv2d.apply(x, weight, bias, (stride, padding, dilation, groups, padding_mode), backend)


class Conv2d(Function):
    """Records the geometry and the kernel set, and only those arrays that the wanted gradients read."""

    @staticmethod
    def forward(ctx, x, weight, bias, parameters, backend):
        x = arrays.as_array(x, "input")
        weight = arrays.as_array(weight, "weight")
        bias = None if bias is None else arrays.as_array(bias, "bias")
        operands = {"input": x, "weight": weight} | ({} if bias is None else {"bias": bias})
        ctx.dtype = dtypes.common_float_type(**operands)
        stride, padding, dilation, groups, padding_mode = parameters
        ctx.geometry = Conv2dGeometry.of(
            batched_shape("conv2d", x.shape),
            weight.shape,
            None if bias is None else bias.shape,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
        )
        ctx.kernels = backends.select(backend)
        ctx.batched = x.ndim == 4
        x, ctx.x_format = arrays.dense_4d(x if ctx.batched else x[None])
        weight, bias = arrays.dense(weight), None if bias is None else arrays.dense(bias)
        ctx.save(x if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None)
        return _unbatch(ctx, _forward(ctx, x, weight, bias))

    @staticmethod
    def backward(ctx, grad_out):
        x, weight = ctx.saved
        grad_out, grad_format = arrays.dense_4d(grad_out if ctx.batched else grad_out[None])
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_input = _unbatch(ctx, _grad_input(ctx, grad_out, grad_format, weight)) if needs_x else None
        grad_weight = _grad_weight(ctx, grad_out, grad_format, x) if needs_weight else None
        grad_bias = _grad_bias(ctx, grad_out, grad_format) if needs_bias else None
        return grad_input, grad_weight, grad_bias, None, None


def _unbatch(ctx, array):
    return array if ctx.batched else array[0]


def _problem(ctx, *formats, optional=_NO_BIAS):
    return Problem(ctx.geometry, ctx.dtype.name, formats, optional)


def _forward(ctx, x, weight, bias):
    out = arrays.empty(ctx.geometry.out_shape, ctx.dtype.storage, ctx.x_format)
    if ctx.geometry.N:
        problem = _problem(ctx, ctx.x_format, ctx.x_format, optional=_NO_BIAS if bias is None else _BIAS)
        ctx.kernels.run("conv2d_forward", problem, *(a for a in (x, weight, bias) if a is not None), out)
    return out


def _grad_input(ctx, grad_out, grad_format, weight):
    grad_input = arrays.empty(ctx.geometry.x_shape, ctx.dtype.storage, ctx.x_format)
    if ctx.geometry.N:
        ctx.kernels.run("conv2d_grad_input", _problem(ctx, grad_format, ctx.x_format), grad_out, weight, grad_input)
    return grad_input


def _grad_weight(ctx, grad_out, grad_format, x):
    if not ctx.geometry.N:
        return arrays.zeros(ctx.geometry.weight_shape, ctx.dtype.storage)
    grad_weight = arrays.empty(ctx.geometry.weight_shape, ctx.dtype.storage)
    ctx.kernels.run("conv2d_grad_weight", _problem(ctx, grad_format, ctx.x_format), grad_out, x, grad_weight)
    return grad_weight


def _grad_bias(ctx, grad_out, grad_format) -> np.ndarray:
    if not ctx.geometry.N:
        return arrays.zeros((ctx.geometry.K,), ctx.dtype.storage)
    grad_bias = arrays.empty((ctx.geometry.K,), ctx.dtype.storage)
    ctx.kernels.run("conv2d_grad_bias", _problem(ctx, grad_format), grad_out, grad_bias)
    return grad_bias
