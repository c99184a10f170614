"""Elementwise arithmetic with broadcasting: add, sub, mul, div, neg, pow."""

import numpy as np

from fastconv import backends
from fastconv.autograd import Function, is_grad_enabled
from fastconv.functional.broadcasting import is_number, operands, reduce_to


def add(a, b):
    """a + b, elementwise with NumPy's broadcasting; raises ShapeError where the shapes do not fit."""
    return Add.apply(a, b)


def sub(a, b):
    """a − b, elementwise with NumPy's broadcasting; raises ShapeError where the shapes do not fit."""
    return Sub.apply(a, b)


def mul(a, b):
    """a · b, elementwise with NumPy's broadcasting; raises ShapeError where the shapes do not fit."""
    return Mul.apply(a, b)


def div(a, b):
    """a / b, elementwise with NumPy's broadcasting; raises ShapeError where the shapes do not fit."""
    return Div.apply(a, b)


def neg(a):
    """−a."""
    return Neg.apply(a)


def pow(a, exponent):
    """a to the power of a number (not of an array)."""
    return Pow.apply(a, exponent)


class Add(Function):
    """The gradient of both is grad."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.operands = a, b = operands(a=a, b=b)
        out = np.add(a, b)
        if type(a) is type(b) is type(out) is np.ndarray:
            backends.filled(_add, (a, b), out)
        return out

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.operands
        return reduce_to(grad, a), reduce_to(grad, b)


def _add(a, b, out) -> None:
    np.add(a, b, out)


class Sub(Function):
    """The gradient is grad and −grad."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.operands = a, b = operands(a=a, b=b)
        return np.subtract(a, b)

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.operands
        return reduce_to(grad, a), reduce_to(-grad, b)


class Mul(Function):
    """The gradient is grad · b and grad · a."""

    @staticmethod
    def forward(ctx, a, b):
        a, b = operands(a=a, b=b)
        ctx.save(a, b)
        return np.multiply(a, b)

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved
        needs_a, needs_b = ctx.needs_input_grad
        return reduce_to(grad * b, a) if needs_a else None, reduce_to(grad * a, b) if needs_b else None


class Div(Function):
    """The gradient is grad / b and −grad · a / b²."""

    @staticmethod
    def forward(ctx, a, b):
        a, b = operands(a=a, b=b)
        ctx.save(a, b)
        return np.divide(a, b)

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved
        needs_a, needs_b = ctx.needs_input_grad
        grad_a = reduce_to(grad / b, a) if needs_a else None
        return grad_a, reduce_to(-grad * a / (b * b), b) if needs_b else None


class Neg(Function):
    """The gradient is −grad."""

    @staticmethod
    def forward(ctx, a):
        (a,) = operands(a=a)
        return np.negative(a)

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Pow(Function):
    """The gradient is grad · n · a^(n − 1)."""

    @staticmethod
    def forward(ctx, a, exponent):
        a, exponent = operands(a=a, exponent=exponent)
        if not is_number(exponent):
            raise TypeError("the exponent must be a number")
        ctx.save(a)
        ctx.exponent = exponent
        return np.power(a, exponent)

    @staticmethod
    def backward(ctx, grad):
        (a,) = ctx.saved
        if ctx.exponent == 0:
            return np.zeros_like(a), None
        return reduce_to(grad * ctx.exponent * np.power(a, ctx.exponent - 1), a), None


def in_place(operation):
    """The in-place operator of an operation, such as ``-=`` of ``sub``.

    Where nothing is recorded it writes into the Tensor's memory; where something is, it makes a new Tensor, as for
    ``total += loss``. A leaf that requires grad refuses it while recording, as it refuses every write.
    """

    def operator(self, other):
        records = is_grad_enabled() and (self.requires_grad or getattr(other, "requires_grad", False))
        if records and not (self.is_leaf and self.requires_grad):
            return operation(self, other)
        return self.copy_(operation(self.detach(), other) if not records else other)

    return operator
