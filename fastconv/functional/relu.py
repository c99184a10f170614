"""The rectifier, alone and after a sum."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv._kernels.contract import RELU
from fastconv.autograd import Function
from fastconv.errors import DTypeError, ShapeError
from fastconv.functional import passes


def relu(x):
    """max(x, 0), elementwise, with NaN -> NaN and −0.0 -> −0.0; any shape.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return ReLU.apply(x)


def add_relu(x, residual):
    """max(x + residual, 0) in one pass: the end of a residual block. Raises ShapeError, DTypeError.

    Shapes: both alike, any number of axes.

    >>> import numpy as np
    >>> add_relu(np.array([-1.0, 2.0]), np.array([3.0, -5.0])).tolist()
    [2.0, 0.0]
    """
    return AddReLU.apply(x, residual)


class ReLU(Function):
    """The gradient passes where the output is not zero."""

    @staticmethod
    def forward(ctx, x):
        x = arrays.as_array(x, "input", anywhere=True)
        device = arrays.device_of(x)
        is_supported = dtypes.is_supported(x.dtype, halves=device != arrays.HOST)
        ctx.kernels = backends.select(device=device) if is_supported else None
        out = passes.run(ctx.kernels, "relu_forward", x) if ctx.kernels else np.where(x < 0, x.dtype.type(0), x)
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        if ctx.kernels is None:
            return np.where(ctx.saved[0] == 0, grad.dtype.type(0), grad)
        return rectified_gradient(ctx.kernels, grad, *ctx.saved)


class AddReLU(Function):
    """Both have the gradient of the rectifier."""

    @staticmethod
    def forward(ctx, x, residual):
        x = arrays.as_array(x, "input", anywhere=True)
        device = arrays.device_of(x)
        residual = checked_residual(residual, x, dtypes.common_float_type(device != arrays.HOST, input=x).storage)
        ctx.kernels = backends.select(device=device)
        out = passes.run(ctx.kernels, "add_relu_forward", x, residual)
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        grad_input = rectified_gradient(ctx.kernels, grad, *ctx.saved)
        return grad_input, grad_input


def rectified_gradient(kernels: backends.KernelSet, grad: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The gradient where the output is not zero, in the output's memory format."""
    out, layout = arrays.dense_any(out)
    return passes.run(kernels, "relu_grad_input", arrays.to_format(grad, layout), out)


def checked_residual(residual, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """What is added to an array of this dtype; raises ShapeError, DTypeError, TypeError or DeviceError."""
    residual = arrays.as_array(residual, "residual", anywhere=True)
    if residual.shape != x.shape:
        raise ShapeError(f"residual must have the shape of input, {x.shape}, got {residual.shape}")
    if residual.dtype != dtype:
        raise DTypeError(f"mixed dtypes: input is {dtype} but residual is {residual.dtype}")
    arrays.common_device(input=x, residual=residual)
    return residual


def checked_activation(activation: str | None, known: Collection[str] = (RELU,)) -> str | None:
    """What may follow an operation in the same pass; raises ValueError for anything else."""
    if activation is not None and not (isinstance(activation, str) and activation in known):
        raise ValueError(f"activation must be None or {' or '.join(map(repr, known))}, got {activation!r}")
    return activation
