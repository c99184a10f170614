"""Logarithm of the softmax."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv.autograd import Function
from fastconv.functional.calls import Call, Calls
from fastconv.geometry import ClassesGeometry
from fastconv.parameters import integer

_known: Calls[Call] = Calls()


def log_softmax(x, dim=None):
    """x − log Σ exp(x) along the axis ``dim``, without overflow; any shape.

    Without ``dim`` it is torch's choice: axis 0 of inputs with 1 or 3 axes, axis 1 of all others. Raises TypeError,
    DTypeError, and ShapeError for an axis that is not there or has no element.

    >>> import numpy as np
    >>> bool(np.isclose(np.exp(log_softmax(np.array([1.0, 2.0]))).sum(), 1))
    True
    """
    return LogSoftmax.apply(x, checked_dim(dim))


class LogSoftmax(Function):
    """The gradient is grad − softmax · Σ grad."""

    @staticmethod
    def forward(ctx, x, dim):
        x = arrays.as_array(x, "input", anywhere=True)
        x, ctx.format = arrays.dense_any(x)
        ctx.call = _call_of(x, axis_of(x, dim), ctx.format)
        ctx.kernels = backends.select(device=arrays.device_of(x))
        out = arrays.empty(x.shape, x.dtype, ctx.format, near=x)
        _run(ctx, "log_softmax_forward", x, out)
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved
        grad = arrays.to_format(grad, ctx.format)
        grad_input = arrays.empty(grad.shape, grad.dtype, ctx.format, near=grad)
        _run(ctx, "log_softmax_grad_input", grad, out, grad_input)
        return grad_input, None


def checked_dim(dim) -> int | None:
    """An int or None; raises TypeError."""
    return None if dim is None else integer("dim", dim)


def axis_of(x: np.ndarray, dim: int | None) -> int:
    """Along which axis classes lie: ``dim``, without which it is torch's choice."""
    if dim is not None:
        return dim
    return 0 if x.ndim in (1, 3) else 1


def _call_of(x, axis, layout):
    key = (x.shape, x.dtype, axis, layout)
    call = _known.get(key)
    if call is None:
        dtype = dtypes.common_float_type(input=x)
        ClassesGeometry.of(x.shape, axis)
        axes = arrays.stored_axes(x.ndim, layout)
        # What the kernel sees is in C order, whatever the memory format.
        geometry = ClassesGeometry.of(tuple([x.shape[at] for at in axes]), axes.index(axis % x.ndim))
        call = Call(geometry, dtype, True)
        _known.keep(key, [], call)
    return call


def _run(ctx, op, *operands):
    g = ctx.call.geometry
    if g.flops:
        task = ctx.call.task(op, (arrays.CONTIGUOUS,) * len(operands))
        ctx.kernels.run(task, *[arrays.stored(array, ctx.format).reshape(g.x_shape) for array in operands])
