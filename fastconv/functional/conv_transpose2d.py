"""Transposed convolution: the gradient of a convolution with respect to its input, as an operation of its own."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv._kernels.contract import NORM_COEFFICIENTS
from fastconv.autograd import Function, unwrap
from fastconv.functional.calls import Call, Calls
from fastconv.functional.conv2d import checked_format, grad_weight_of
from fastconv.geometry import ChannelsGeometry, Conv2dGeometry, batched_shape


def conv_transpose2d(
    x,
    weight,
    bias=None,
    stride=1,
    padding=0,
    output_padding=0,
    groups=1,
    dilation=1,
    *,
    memory_format: str | None = None,
    backend: str | None = None,
):
    """Add, for every value of the input, a filter times this value to a window of the output.

    out[n, k, h·sH − pH + kh·dH, w·sW − pW + kw·dW] += weight[c, k, kh, kw] · x[n, c, h, w], beginning with bias[k]

    Shapes: (N, C, H, W), (C, K/groups, kH, kW), (K,) -> (N, K, OH, OW); (C, H, W) -> (K, OH, OW), with
    OH = (H − 1)·sH − 2·pH + dH·(kH − 1) + oH + 1, where oH of ``output_padding``, below the stride or the dilation,
    says which of the sizes is meant that a convolution takes to H. What falls into the ``padding``, an int, a pair or
    ((top, bottom), (left, right)), is cut off. The result has the input's memory format, or that of ``memory_format``.

    Raises ShapeError, ValueError, TypeError or DTypeError naming the argument; BackendUnavailableError for ``backend``.

    >>> import numpy as np
    >>> image = np.array([[[[1.0, 2.0]]]], np.float32)
    >>> conv_transpose2d(image, np.ones((1, 1, 1, 3), np.float32), stride=2)[0, 0].tolist()
    [[1.0, 1.0, 3.0, 2.0, 2.0]]
    """
    # A list, as for a convolution.
    options = [stride, padding, output_padding, groups, dilation]
    return ConvTranspose2d.apply(x, weight, bias, options, memory_format, backend)


class ConvTranspose2d(Function):
    """Runs the kernels of the convolution from the output to the input, each in the place of another one."""

    @staticmethod
    def forward(ctx, x, weight, bias, parameters, memory_format, backend):
        x, weight = (arrays.as_array(item, name, anywhere=True) for item, name in ((x, "input"), (weight, "weight")))
        bias = None if bias is None else arrays.as_array(bias, "bias", anywhere=True)
        given = {"input": x, "weight": weight} | ({} if bias is None else {"bias": bias})
        device = arrays.common_device(**given)
        key = (*[(item.shape, item.dtype) for item in given.values()], *map(id, parameters))
        call = _known.get(key)
        if call is None:
            call = _TransposedCall(given, *unwrap(tuple(parameters)))
            _known.keep(key, parameters, call)
        ctx.call = call
        ctx.kernels = backends.select(backend, device)
        x, ctx.x_format = arrays.dense_4d(x if call.batched else x[None])
        ctx.out_format = ctx.x_format if memory_format is None else checked_format(memory_format)
        weight = arrays.dense(weight)
        out = _summed(ctx, x, weight)
        if bias is not None and out.size:
            out = _with_bias(ctx, out, bias)
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        ctx.save(x if needs_weight else None, weight if needs_x else None)
        return out if call.batched else out[0]

    @staticmethod
    def backward(ctx, grad_out):
        x, weight = ctx.saved
        batched = ctx.call.batched
        grad_out, grad_format = arrays.dense_4d(grad_out if batched else grad_out[None])
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_input = None
        if needs_x:
            grad_input = _grad_input(ctx, grad_out, grad_format, weight)
            grad_input = grad_input if batched else grad_input[0]
        # Of the convolution that this one transposes, x is the gradient of the results.
        grad_weight = grad_weight_of(ctx, x, grad_out, (ctx.x_format, grad_format)) if needs_weight else None
        grad_bias = _grad_bias(ctx, grad_out, grad_format) if needs_bias else None
        return grad_input, grad_weight, grad_bias, None, None, None


class _TransposedCall(Call):
    """``geometry`` is that of the convolution, ``out`` and ``biased`` those of calls that see the output alone."""

    __slots__ = ("biased", "out")

    def __init__(self, given, stride, padding, output_padding, groups, dilation):
        dtype = dtypes.common_float_type(**given)
        x, weight = given["input"], given["weight"]
        geometry = Conv2dGeometry.transposed(
            batched_shape("conv_transpose2d", x.shape),
            weight.shape,
            given["bias"].shape if "bias" in given else None,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
        )
        super().__init__(geometry, dtype, x.ndim == 4)
        g = geometry.x_shape
        self.out = Call(Conv2dGeometry.of(g, (g[1], 1, 1, 1), groups=g[1]), dtype, True)
        self.biased = Call(ChannelsGeometry.of(g), dtype, True)


_known: Calls[_TransposedCall] = Calls()


def _summed(ctx, x, weight):
    g = ctx.call.geometry
    out = arrays.empty(g.x_shape, ctx.call.dtype.storage, ctx.out_format, near=x)
    if g.N:
        task = ctx.call.task("conv2d_grad_input", (ctx.x_format, ctx.out_format))
        ctx.kernels.run(task, x, weight, out, version=ctx.version(1))
    return out


def _with_bias(ctx, values, bias):
    """(value − 0) · 1 + bias is what the pass of a normalisation computes."""
    coefficients = arrays.zeros((len(NORM_COEFFICIENTS), len(bias)), values.dtype, near=values)
    coefficients[NORM_COEFFICIENTS.index("scale")] = 1
    coefficients[NORM_COEFFICIENTS.index("shift")] = bias
    out = arrays.empty(values.shape, values.dtype, ctx.out_format, near=values)
    ctx.kernels.run(ctx.call.biased.task("batch_norm_forward", (ctx.out_format,) * 2), values, coefficients, out)
    return out


def _grad_input(ctx, grad_out, grad_format, weight):
    g = ctx.call.geometry
    grad_input = arrays.empty(g.out_shape, ctx.call.dtype.storage, ctx.x_format, near=grad_out)
    if g.N:
        task = ctx.call.task("conv2d_forward", (grad_format, ctx.x_format))
        ctx.kernels.run(task, grad_out, weight, grad_input, version=ctx.version(1))
    return grad_input


def _grad_bias(ctx, grad_out, grad_format) -> np.ndarray:
    g, storage = ctx.call.geometry, ctx.call.dtype.storage
    if not g.N:
        return arrays.zeros((g.C,), storage, near=grad_out)
    grad_bias = arrays.empty((g.C,), storage, near=grad_out)
    ctx.kernels.run(ctx.call.out.task("conv2d_grad_bias", (grad_format,)), grad_out, grad_bias)
    return grad_bias
