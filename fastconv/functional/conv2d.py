"""Two-dimensional convolution (cross-correlation, as in every network library) and its three gradients."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv._kernels.contract import RELU, RELU6
from fastconv.autograd import Function, unwrap
from fastconv.functional.calls import Call, Calls
from fastconv.functional.hardtanh import relu6_gradient
from fastconv.functional.relu import checked_activation, rectified_gradient
from fastconv.geometry import Conv2dGeometry, batched_shape

_BIAS = frozenset({"bias"})
# What may follow a convolution in the same pass, and its gradient.
_ACTIVATIONS = {RELU: rectified_gradient, RELU6: relu6_gradient}


def conv2d(
    x,
    weight,
    bias=None,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    *,
    padding_mode="zeros",
    activation: str | None = None,
    memory_format: str | None = None,
    backend: str | None = None,
):
    """Slide each of K filters over the input and sum products.

    out[n, k, oh, ow] = bias[k] + Σ weight[k, c, kh, kw] · x[n, c, oh·sH − pH + kh·dH, ow·sW − pW + kw·dW]

    Shapes: (N, C, H, W), (K, C/groups, kH, kW), (K,) -> (N, K, OH, OW); (C, H, W) -> (K, OH, OW), with
    OH = floor((H + 2·pH − dH·(kH − 1) − 1) / sH) + 1. ``padding`` is an int, a pair, ``"valid"``, ``"same"`` (stride 1)
    or ``((top, bottom), (left, right))``; ``padding_mode`` is zeros, reflect, replicate or circular. Padded zeros are
    not summed, so that an infinite or NaN weight has no effect over them. ``activation``, "relu" or "relu6", is applied
    to the result while it is written. The result has the input's memory format, or that of ``memory_format``:
    "contiguous" (NCHW) or "channels_last" (NHWC); its shape is the same in both.

    Raises ShapeError, ValueError, TypeError or DTypeError naming the argument; BackendUnavailableError for ``backend``.

    >>> import numpy as np
    >>> image = np.arange(9.0, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> conv2d(image, np.ones((1, 1, 2, 2), np.float32))[0, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    # A list: the tape looks for Tensors in tuples, and would hand on a copy of one, which no call is known by.
    options = [stride, padding, dilation, groups, padding_mode]
    return Conv2d.apply(x, weight, bias, options, activation, memory_format, backend)


class Conv2d(Function):
    """Records the checked call and the kernel set, and only those arrays that the wanted gradients read.

    ``owner`` is the array that ``weight`` is a view of, made for this call; None where it is none.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, parameters, activation, memory_format, backend, owner=None):
        x = arrays.as_array(x, "input", anywhere=True)
        weight = arrays.as_array(weight, "weight", anywhere=True)
        bias_key, is_on_host = None, type(x) is type(weight) is np.ndarray
        if bias is not None:
            bias = arrays.as_array(bias, "bias", anywhere=True)
            bias_key, is_on_host = (bias.shape, bias.dtype), is_on_host and type(bias) is np.ndarray
        device = arrays.HOST if is_on_host else _common_device(x, weight, bias)
        key = (x.shape, x.dtype, weight.shape, weight.dtype, bias_key, is_on_host, *map(id, parameters))
        call = _known.get(key)
        if call is None:
            call = _checked(is_on_host, x, weight, bias, *unwrap(tuple(parameters)))
            _known.keep(key, parameters, call)
        ctx.call = call
        ctx.kernels = backends.select(backend, device)
        x, ctx.x_format = arrays.dense_4d(x if call.batched else x[None])
        weight, bias = arrays.dense(weight), None if bias is None else arrays.dense(bias)
        needs_grad = ctx.needs_input_grad
        ctx.activation = checked_activation(activation, _ACTIVATIONS)
        out_format = ctx.x_format if memory_format is None else checked_format(memory_format)
        out = _forward(ctx, x, weight, bias, out_format, owner)
        rectified = out if activation and True in needs_grad else None
        ctx.save(x if needs_grad[1] else None, weight if needs_grad[0] else None, rectified)
        return out if call.batched else out[0]

    @staticmethod
    def backward(ctx, grad_out):
        x, weight, rectified = ctx.saved
        batched = ctx.call.batched
        grad_out = grad_out if batched else grad_out[None]
        if rectified is not None:
            grad_out = _ACTIVATIONS[ctx.activation](ctx.kernels, grad_out, rectified)
        grad_out, grad_format = arrays.dense_4d(grad_out)
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_input = None
        if needs_x:
            grad_input = _grad_input(ctx, grad_out, grad_format, weight)
            grad_input = grad_input if batched else grad_input[0]
        grad_weight = grad_weight_of(ctx, grad_out, x, (grad_format, ctx.x_format)) if needs_weight else None
        grad_bias = _grad_bias(ctx, grad_out, grad_format) if needs_bias else None
        return grad_input, grad_weight, grad_bias, None, None, None, None


_known: Calls[Call] = Calls()


def _common_device(x, weight, bias) -> str:
    operands = {"input": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    return arrays.common_device(**operands)


def _checked(is_on_host, x, weight, bias, stride, padding, dilation, groups, padding_mode) -> Call:
    operands = {"input": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    dtype = dtypes.common_float_type(not is_on_host, **operands)
    geometry = Conv2dGeometry.of(
        batched_shape("conv2d", x.shape),
        weight.shape,
        None if bias is None else bias.shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=padding_mode,
    )
    return Call(geometry, dtype, x.ndim == 4)


def _forward(ctx, x, weight, bias, out_format, owner):
    call = ctx.call
    out = arrays.empty(call.out_shape, call.dtype.storage, out_format, near=x)
    if not call.geometry.N:
        return out
    version, formats, activation = ctx.version(1), (ctx.x_format, out_format), ctx.activation
    if bias is None:
        task = call.task("conv2d_forward", formats, activation=activation)
        ctx.kernels.run(task, x, weight, out, version=version, owner=owner)
    else:
        task = call.task("conv2d_forward", formats, _BIAS, activation)
        ctx.kernels.run(task, x, weight, bias, out, version=version, owner=owner)
    return out


def checked_format(memory_format: str) -> str:
    """One of the two memory formats; raises ValueError."""
    if memory_format not in arrays.FORMATS:
        known = " or ".join(map(repr, arrays.FORMATS))
        raise ValueError(f"memory_format must be None, {known}, got {memory_format!r}")
    return memory_format


def _grad_input(ctx, grad_out, grad_format, weight):
    g = ctx.call.geometry
    grad_input = arrays.empty(g.x_shape, ctx.call.dtype.storage, ctx.x_format, near=grad_out)
    if g.N:
        task = ctx.call.task("conv2d_grad_input", (grad_format, ctx.x_format))
        ctx.kernels.run(task, grad_out, weight, grad_input, version=ctx.version(1))
    return grad_input


def grad_weight_of(ctx, grad_out, x, formats: tuple[str, str]):
    """The gradient of the weight of the call in ``ctx``, whose ``x`` and results lie in memory as ``formats`` say."""
    g, storage = ctx.call.geometry, ctx.call.dtype.storage
    if not g.N:
        return arrays.zeros(g.weight_shape, storage, near=grad_out)
    grad_weight = arrays.empty(g.weight_shape, storage, near=grad_out)
    ctx.kernels.run(ctx.call.task("conv2d_grad_weight", formats), grad_out, x, grad_weight)
    return grad_weight


def _grad_bias(ctx, grad_out, grad_format) -> np.ndarray:
    g, storage = ctx.call.geometry, ctx.call.dtype.storage
    if not g.N:
        return arrays.zeros((g.K,), storage, near=grad_out)
    grad_bias = arrays.empty((g.K,), storage, near=grad_out)
    ctx.kernels.run(ctx.call.task("conv2d_grad_bias", (grad_format,)), grad_out, grad_bias)
    return grad_bias
