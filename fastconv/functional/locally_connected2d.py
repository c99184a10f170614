"""Convolution whose weights are not shared between places, and its three gradients."""

from __future__ import annotations

import math

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv.autograd import Function, unwrap
from fastconv.functional.calls import Call, Calls
from fastconv.functional.conv2d import checked_format
from fastconv.functional.relu import checked_activation, rectified_gradient
from fastconv.geometry import Conv2dGeometry, LocalConv2dGeometry, batched_shape

_BIAS = frozenset({"bias"})


def locally_connected2d(
    x,
    weight,
    bias=None,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    *,
    activation: str | None = None,
    memory_format: str | None = None,
    backend: str | None = None,
):
    """A convolution with K filters of its own for every place of the output.

    out[n, k, oh, ow] = bias[oh, ow, k]
        + Σ weight[oh, ow, k, c, kh, kw] · x[n, c, oh·sH − pH + kh·dH, ow·sW − pW + kw·dW]

    so that ``weight[oh, ow]`` and ``bias[oh, ow]`` are those that ``conv2d`` would have at (oh, ow). Shapes:
    (N, C, H, W), (OH, OW, K, C/groups, kH, kW), (OH, OW, K) -> (N, K, OH, OW); (C, H, W) -> (K, OH, OW).
    ``stride``, ``padding`` with zeros, ``dilation``, ``groups`` and ``memory_format`` are those of ``conv2d``;
    ``activation="relu"`` rectifies the result while it is written. Padded zeros are not summed, so that an infinite or
    NaN weight has no effect over them, and gets no gradient there.

    Raises ShapeError, ValueError, TypeError or DTypeError naming the argument; BackendUnavailableError for ``backend``.

    >>> import numpy as np
    >>> weight = np.arange(4.0).reshape(2, 2, 1, 1, 1, 1)
    >>> locally_connected2d(np.full((1, 2, 2), 10.0), weight).tolist()
    [[[0.0, 10.0], [20.0, 30.0]]]
    """
    options = [stride, padding, dilation, groups]
    return LocallyConnected2d.apply(x, weight, bias, options, activation, memory_format, backend)


class LocallyConnected2d(Function):
    """Records the checked call and the kernel set, and only those arrays that the wanted gradients read."""

    @staticmethod
    def forward(ctx, x, weight, bias, parameters, activation, memory_format, backend):
        given = {"input": x, "weight": weight} | ({} if bias is None else {"bias": bias})
        given = {name: arrays.as_array(array, name, anywhere=True) for name, array in given.items()}
        device = arrays.common_device(**given)
        kinds = tuple((name, array.shape, array.dtype) for name, array in given.items())
        key = (kinds, *map(id, parameters))
        call = _known.get(key)
        if call is None:
            call = _LocalCall(given, *unwrap(tuple(parameters)))
            _known.keep(key, parameters, call)
        ctx.call, ctx.kernels = call, backends.select(backend, device)
        x, ctx.x_format = arrays.dense_4d(given["input"] if call.batched else given["input"][None])
        weight, *rest = (arrays.dense(array) for name, array in given.items() if name != "input")
        checked_activation(activation)
        out_format = ctx.x_format if memory_format is None else checked_format(memory_format)
        out = arrays.empty(call.out_shape, call.dtype.storage, out_format, near=x)
        if call.geometry.N:
            present = _BIAS if rest else frozenset()
            task = call.task("locally_connected2d_forward", (ctx.x_format, out_format), present, activation)
            ctx.kernels.run(task, x, weight, *rest, out)
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        rectified = out if activation and True in ctx.needs_input_grad else None
        ctx.save(x if needs_weight else None, weight if needs_x else None, rectified)
        return out if call.batched else out[0]

    @staticmethod
    def backward(ctx, grad_out):
        x, weight, rectified = ctx.saved
        batched = ctx.call.batched
        grad_out = grad_out if batched else grad_out[None]
        if rectified is not None:
            grad_out = rectified_gradient(ctx.kernels, grad_out, rectified)
        grad_out, grad_format = arrays.dense_4d(grad_out)
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_input = None
        if needs_x:
            grad_input = _grad_input(ctx, grad_out, grad_format, weight)
            grad_input = grad_input if batched else grad_input[0]
        grad_weight = _grad_weight(ctx, grad_out, x, (grad_format, ctx.x_format)) if needs_weight else None
        grad_bias = _grad_bias(ctx, grad_out) if needs_bias else None
        return grad_input, grad_weight, grad_bias, None, None, None, None


class _LocalCall(Call):
    """``sums`` is the call that adds up gradients of the bias: one channel for each of its values, and one pixel."""

    __slots__ = ("sums",)

    def __init__(self, given, stride, padding, dilation, groups):
        dtype, x = dtypes.common_float_type(**given), given["input"]
        geometry = LocalConv2dGeometry.of(
            batched_shape("locally_connected2d", x.shape),
            given["weight"].shape,
            given["bias"].shape if "bias" in given else None,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
        super().__init__(geometry, dtype, x.ndim == 4)
        values = math.prod(geometry.bias_shape)
        self.sums = Call(Conv2dGeometry.of((geometry.N, 1, 1, 1), (values, 1, 1, 1)), dtype, True)


_known: Calls[_LocalCall] = Calls()


def _grad_input(ctx, grad_out, grad_format, weight) -> np.ndarray:
    call = ctx.call
    grad_input = arrays.empty(call.geometry.x_shape, call.dtype.storage, ctx.x_format, near=grad_out)
    if call.geometry.N:
        task = call.task("locally_connected2d_grad_input", (grad_format, ctx.x_format))
        ctx.kernels.run(task, grad_out, weight, grad_input)
    return grad_input


def _grad_weight(ctx, grad_out, x, formats) -> np.ndarray:
    g, storage = ctx.call.geometry, ctx.call.dtype.storage
    if not g.N:
        return arrays.zeros(g.weight_shape, storage, near=grad_out)
    grad_weight = arrays.empty(g.weight_shape, storage, near=grad_out)
    ctx.kernels.run(ctx.call.task("locally_connected2d_grad_weight", formats), grad_out, x, grad_weight)
    return grad_weight


def _grad_bias(ctx, grad_out) -> np.ndarray:
    """The sum over images, whose values lie as those of the bias where channels lie together."""
    call, shape = ctx.call, ctx.call.geometry.bias_shape
    if not call.geometry.N:
        return arrays.zeros(shape, call.dtype.storage, near=grad_out)
    rows = arrays.stored(arrays.to_format(grad_out, arrays.CHANNELS_LAST), arrays.CHANNELS_LAST)
    grad_bias = arrays.empty(shape, call.dtype.storage, near=grad_out)
    task = call.sums.task("conv2d_grad_bias", (arrays.CONTIGUOUS,))
    ctx.kernels.run(task, rows.reshape(call.sums.out_shape), grad_bias.reshape(-1))
    return grad_bias
