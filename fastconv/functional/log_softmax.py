"""Logarithm of the softmax."""

from __future__ import annotations

from fastconv import arrays, backends, dtypes
from fastconv.autograd import Function
from fastconv.functional.calls import Call, Calls
from fastconv.geometry import ClassesGeometry
from fastconv.parameters import integer

_known: Calls[Call] = Calls()


def log_softmax(x, axis=-1):
    """x − log Σ exp(x) along an axis, without overflow; any shape.

    Raises TypeError, DTypeError, and ShapeError for an axis that is not there or has no element.

    >>> import numpy as np
    >>> bool(np.isclose(np.exp(log_softmax(np.array([1.0, 2.0]))).sum(), 1))
    True
    """
    return LogSoftmax.apply(x, integer("axis", axis))


class LogSoftmax(Function):
    """The gradient is grad − softmax · Σ grad."""

    @staticmethod
    def forward(ctx, x, axis):
        x = arrays.as_array(x, "input")
        x, ctx.format = arrays.dense_any(x)
        ctx.call, ctx.kernels = _call_of(x, axis, ctx.format), backends.select()
        out = arrays.empty(x.shape, x.dtype, ctx.format)
        _run(ctx, "log_softmax_forward", x, out)
        ctx.save(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved
        grad = arrays.to_format(grad, ctx.format)
        grad_input = arrays.empty(grad.shape, grad.dtype, ctx.format)
        _run(ctx, "log_softmax_grad_input", grad, out, grad_input)
        return grad_input, None


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
