"""Cross-entropy between logits and class indices."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv.autograd import Function
from fastconv.errors import DTypeError, ShapeError
from fastconv.functional.calls import Call, Calls
from fastconv.geometry import ClassesGeometry
from fastconv.parameters import integer, number

_REDUCTIONS = ("mean", "sum", "none")
_known: Calls[Call] = Calls()


def cross_entropy(x, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """−weight[target] · log softmax(x)[target], averaged (by weight) over the batch.

    Shapes: logits (N, C) or (N, C, d1, ...), integer classes (N,) or (N, d1, ...) -> (), or the shape of ``target``
    with ``reduction="none"``; one sample: (C,) and (). Targets equal to ``ignore_index`` count nothing. With
    ``label_smoothing`` s the target distribution is (1 − s) · one-hot + s / C.

    Raises ShapeError, DTypeError, ValueError, DeviceError, and IndexError for a class outside 0..C−1. On a GPU such a
    class gives the loss NaN instead, and its sample no gradient, so that nothing waits for the check.

    >>> import numpy as np
    >>> round(float(cross_entropy(np.zeros((1, 4)), np.array([2]))), 4)
    1.3863
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(_REDUCTIONS)}, got {reduction!r}")
    smoothing, ignored = number("label_smoothing", label_smoothing), integer("ignore_index", ignore_index)
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie between 0 and 1, got {smoothing}")
    return CrossEntropy.apply(x, target, weight, ignored, reduction, smoothing)


class CrossEntropy(Function):
    """Keeps the log-probabilities and what says how much each class of each sample counts."""

    @staticmethod
    def forward(ctx, x, target, weight, ignore_index, reduction, label_smoothing):
        x, target = _checked(x, target)
        device = arrays.device_of(x)
        ctx.shape, ctx.reduction, ctx.call = x.shape, reduction, _call_of(x)
        g = ctx.call.geometry
        class_weight = _class_weight(weight, g.C, x)
        ctx.kernels = backends.select(device=device)
        counts = target != ignore_index
        if device == arrays.HOST:
            _check_classes(target[counts], g.C)
        settings = np.array([label_smoothing], np.float64)
        # A copy, whatever the dtype: what is no class any more at the time of backward must not be read as one.
        classes = np.where(counts, target, -1).astype(np.int64).reshape(g.N, g.pixels)
        ctx.scale = _scale(class_weight, classes) if reduction == "mean" else None
        out, losses = arrays.empty(g.x_shape, x.dtype, near=x), arrays.empty(classes.shape, x.dtype, near=x)
        _run(
            ctx,
            "cross_entropy_forward",
            arrays.dense(x).reshape(g.x_shape),
            classes,
            class_weight,
            settings,
            out,
            losses,
        )
        ctx.save(out, classes, class_weight, settings)
        if device != arrays.HOST:
            outside = counts.reshape(classes.shape) & ((classes < 0) | (classes >= g.C))
            losses = np.where(outside, x.dtype.type(np.nan), losses)
        if reduction == "none":
            return losses.reshape(target.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            total = losses.sum(dtype=x.dtype)
            return arrays.plain(total if ctx.scale is None else total / ctx.scale)

    @staticmethod
    def backward(ctx, grad):
        out, classes, class_weight, settings = ctx.saved
        incoming = grad.reshape(classes.shape if ctx.reduction == "none" else (1, 1))
        if ctx.scale is not None:
            # The scale is zero where no sample counts: the loss is NaN then, the gradient zero.
            incoming = incoming / np.where(ctx.scale == 0, grad.dtype.type(1), ctx.scale)
        grad_losses = arrays.dense(np.broadcast_to(incoming.astype(out.dtype, copy=False), classes.shape))
        grad_input = arrays.empty(out.shape, out.dtype, near=out)
        _run(ctx, "cross_entropy_grad_input", grad_losses, out, classes, class_weight, settings, grad_input)
        return grad_input.reshape(ctx.shape), None, None, None, None, None


def _call_of(x):
    key = (x.shape, x.dtype)
    call = _known.get(key)
    if call is None:
        call = Call(ClassesGeometry.of(x.shape, 0 if x.ndim == 1 else 1), dtypes.common_float_type(input=x), True)
        _known.keep(key, [], call)
    return call


def _run(ctx, op, *operands):
    if ctx.call.geometry.flops:
        ctx.kernels.run(ctx.call.task(op, (arrays.CONTIGUOUS,) * 2), *operands)


def _checked(x, target):
    x, target = (arrays.as_array(item, name, anywhere=True) for item, name in ((x, "input"), (target, "target")))
    dtypes.common_float_type(input=x)
    if target.dtype.kind not in "iu":
        raise DTypeError(f"target must hold integer class indices, got dtype {target.dtype}")
    expected = x.shape[:1] + x.shape[2:] if x.ndim > 1 else ()
    if x.ndim < 1 or target.shape != expected:
        raise ShapeError(f"input of shape {x.shape} expects target of shape {expected}, got {target.shape}")
    arrays.common_device(input=x, target=target)
    return x, target


def _class_weight(weight, C, x):
    if weight is None:
        # CuPy has no ``np.ones(..., like=x)``.
        return np.ones_like(x, shape=(C,))
    weight = arrays.as_array(weight, "weight", anywhere=True)
    dtypes.common_float_type(input=x, weight=weight)
    arrays.common_device(input=x, weight=weight)
    if weight.shape != (C,):
        raise ShapeError(f"weight must have shape ({C},), one value per class, got {weight.shape}")
    return weight.copy()


def _scale(class_weight, classes):
    """The weights of all samples that count, added up; every position that is read is that of a class."""
    chosen = class_weight[np.clip(classes, 0, len(class_weight) - 1)]
    return np.where(classes < 0, chosen.dtype.type(0), chosen).sum(dtype=chosen.dtype)


def _check_classes(classes, C):
    if classes.size and not (classes.min() >= 0 and classes.max() < C):
        raise IndexError(f"target {classes.min()} to {classes.max()} is out of bounds for {C} classes")
