"""The fully connected layer and its three gradients: a pointwise convolution whose pixels are the rows of the input."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv.autograd import Function
from fastconv.errors import ShapeError
from fastconv.functional.calls import Call, Calls
from fastconv.functional.relu import checked_activation, rectified_gradient
from fastconv.geometry import Conv2dGeometry

_BIAS = frozenset({"bias"})
# In memory, rows of features are the pixels of an image whose channels lie together.
_ROWS = arrays.CHANNELS_LAST


def linear(x, weight, bias=None, *, activation: str | None = None, backend: str | None = None):
    """x · weightᵀ + bias: every output sees every input; ``activation="relu"`` rectifies it while it is written.

    Shapes: (..., in), (out, in), (out,) -> (..., out). A row's result is the same bits wherever it stands and however
    many rows there are, and for any number of threads; that of ``matmul`` need not be.

    Raises ShapeError, TypeError, DTypeError or DeviceError naming the argument; BackendUnavailableError for
    ``backend``.

    >>> import numpy as np
    >>> linear(np.ones((2, 3)), np.ones((4, 3))).shape
    (2, 4)
    """
    return Linear.apply(x, weight, bias, activation, backend)


class Linear(Function):
    """Records the checked call and the kernel set, and only those arrays that the wanted gradients read."""

    @staticmethod
    def forward(ctx, x, weight, bias, activation, backend):
        x = arrays.as_array(x, "input", anywhere=True)
        weight = arrays.as_array(weight, "weight", anywhere=True)
        bias_key = None
        if bias is not None:
            bias = arrays.as_array(bias, "bias", anywhere=True)
            bias_key = bias.shape, bias.dtype, arrays.device_of(bias)
        device = arrays.device_of(x)
        key = (x.shape, x.dtype, weight.shape, weight.dtype, device, arrays.device_of(weight), bias_key)
        call = _known.get(key)
        if call is None:
            call = _checked(x, weight, bias)
            _known.keep(key, [], call)
        ctx.call, ctx.x_shape = call, x.shape
        ctx.kernels = backends.select(backend, device)
        x, weight = arrays.dense(x.reshape(-1, weight.shape[1])), arrays.dense(weight)
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        ctx.activation = checked_activation(activation)
        out = _forward(ctx, x, weight, None if bias is None else arrays.dense(bias))
        rectified = out if activation and True in ctx.needs_input_grad else None
        ctx.save(x if needs_weight else None, weight if needs_x else None, rectified)
        return out.reshape(*ctx.x_shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx, grad_out):
        x, weight, rectified = ctx.saved
        g = ctx.call.geometry
        grad_out = arrays.dense(grad_out.reshape(-1, g.K))
        if rectified is not None:
            grad_out = rectified_gradient(ctx.kernels, grad_out, rectified)
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_input = _grad_input(ctx, grad_out, weight).reshape(ctx.x_shape) if needs_x else None
        grad_weight = _grad_weight(ctx, grad_out, x) if needs_weight else None
        grad_bias = _grad_bias(ctx, grad_out) if needs_bias else None
        return grad_input, grad_weight, grad_bias, None, None


_known: Calls[Call] = Calls()


def _checked(x, weight, bias) -> Call:
    operands = {"input": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    dtype = dtypes.common_float_type(**operands)
    arrays.common_device(**operands)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"linear expects (..., in) and (out, in), got input {x.shape} and weight {weight.shape}")
    if 0 in weight.shape:
        raise ShapeError(f"weight of shape {weight.shape} has a zero extent; only the input's other axes may be empty")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"bias must have shape ({weight.shape[0]},), got {bias.shape}")
    (K, C), rows = weight.shape, x.size // weight.shape[1]
    # No row at all is no image: an image has pixels.
    image = (1, C, rows, 1) if rows else (0, C, 1, 1)
    return Call(Conv2dGeometry.of(image, (K, C, 1, 1)), dtype, x.ndim > 1)


def _image(rows: np.ndarray) -> np.ndarray:
    """(rows, features) as one image (1, features, rows, 1), whose memory it is."""
    return rows.T[None, ..., None]


def _filters(weight: np.ndarray) -> np.ndarray:
    """(out, in) as filters (out, in, 1, 1)."""
    return weight[..., None, None]


def _forward(ctx, x, weight, bias) -> np.ndarray:
    call, g = ctx.call, ctx.call.geometry
    out = arrays.empty((len(x), g.K), call.dtype.storage, near=x)
    if not g.N:
        return out
    given = (_image(x), _filters(weight), *(() if bias is None else (bias,)), _image(out))
    present = frozenset() if bias is None else _BIAS
    task = call.task("conv2d_forward", (_ROWS, _ROWS), present, ctx.activation)
    ctx.kernels.run(task, *given, version=ctx.version(1), owner=weight)
    return out


def _grad_input(ctx, grad_out, weight) -> np.ndarray:
    call, g = ctx.call, ctx.call.geometry
    grad_input = arrays.empty((len(grad_out), g.C), call.dtype.storage, near=grad_out)
    if g.N:
        task = call.task("conv2d_grad_input", (_ROWS, _ROWS))
        given = _image(grad_out), _filters(weight), _image(grad_input)
        ctx.kernels.run(task, *given, version=ctx.version(1), owner=weight)
    return grad_input


def _grad_weight(ctx, grad_out, x) -> np.ndarray:
    call, g = ctx.call, ctx.call.geometry
    if not g.N:
        return arrays.zeros((g.K, g.C), call.dtype.storage, near=grad_out)
    grad_weight = arrays.empty((g.K, g.C), call.dtype.storage, near=grad_out)
    task = call.task("conv2d_grad_weight", (_ROWS, _ROWS))
    ctx.kernels.run(task, _image(grad_out), _image(x), _filters(grad_weight))
    return grad_weight


def _grad_bias(ctx, grad_out) -> np.ndarray:
    call, g = ctx.call, ctx.call.geometry
    if not g.N:
        return arrays.zeros((g.K,), call.dtype.storage, near=grad_out)
    grad_bias = arrays.empty((g.K,), call.dtype.storage, near=grad_out)
    ctx.kernels.run(call.task("conv2d_grad_bias", (_ROWS,)), _image(grad_out), grad_bias)
    return grad_bias
