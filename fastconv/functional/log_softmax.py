"""Logarithm of the softmax."""

from __future__ import annotations

from fastconv import arrays, backends, dtypes
from fastconv._kernels.contract import Problem
from fastconv.autograd import Function
from fastconv.backends import Task
from fastconv.geometry import ClassesGeometry
from fastconv.parameters import integer


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
        ctx.dtype = dtypes.common_float_type(input=x)
        ClassesGeometry.of(x.shape, axis)
        x, ctx.format = arrays.dense_any(x)
        in_memory = arrays.stored(x, ctx.format)
        ctx.geometry = ClassesGeometry.of(in_memory.shape, arrays.stored_axes(x.ndim, ctx.format).index(axis % x.ndim))
        ctx.kernels = backends.select()
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


def _run(ctx, op, *operands):
    """What the kernel sees is in C order, whatever the memory format."""
    g = ctx.geometry
    if g.flops:
        task = Task(op, Problem(g, ctx.dtype.name, (arrays.CONTIGUOUS,) * len(operands)))
        ctx.kernels.run(task, *(arrays.stored(array, ctx.format).reshape(g.x_shape) for array in operands))
