"""Cross-entropy between logits and class indices."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Function
from fastconv.errors import DTypeError, ShapeError
from fastconv.functional.log_softmax import stable_log_softmax

_REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(x, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """−weight[target] · log softmax(x)[target], averaged (by weight) over the batch.

    Shapes: logits (N, C) or (N, C, d1, ...), integer classes (N,) or (N, d1, ...) -> (), or the shape of ``target``
    with ``reduction="none"``; one sample: (C,) and (). Targets equal to ``ignore_index`` count nothing. With
    ``label_smoothing`` s the target distribution is (1 − s) · one-hot + s / C.

    Raises ShapeError, DTypeError, ValueError, and IndexError for a class outside 0..C−1.

    >>> import numpy as np
    >>> round(float(cross_entropy(np.zeros((1, 4)), np.array([2]))), 4)
    1.3863
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(_REDUCTIONS)}, got {reduction!r}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie between 0 and 1, got {label_smoothing}")
    return CrossEntropy.apply(x, target, weight, ignore_index, reduction, label_smoothing)


class CrossEntropy(Function):
    """Keeps the log-probabilities and ``share``: how much each class of each sample counts."""

    @staticmethod
    def forward(ctx, x, target, weight, ignore_index, reduction, label_smoothing):
        x, target = _checked(x, target)
        ctx.shape, ctx.reduction = x.shape, reduction
        logits, classes = (x[None], target[None]) if x.ndim == 1 else (x, target)
        C = logits.shape[1]
        classes_first = (C,) + (1,) * (logits.ndim - 2)
        class_weight = _class_weight(weight, C, x.dtype).reshape(classes_first)
        counted = classes != ignore_index
        _check_classes(classes[counted], C)
        one_hot = (classes[:, None] == np.arange(C).reshape(classes_first)) & counted[:, None]
        smooth = x.dtype.type(label_smoothing)
        share = (one_hot * (1 - smooth) + counted[:, None] * (smooth / C)) * class_weight
        total_weight = (one_hot * class_weight).sum(dtype=x.dtype)
        ctx.scale = total_weight if reduction == "mean" else x.dtype.type(1)
        log_probability = stable_log_softmax(logits, 1)
        ctx.save(log_probability, share)
        # Where nothing counts, 0 * -inf must not become NaN.
        with np.errstate(invalid="ignore"):
            losses = -np.where(share == 0, x.dtype.type(0), log_probability * share).sum(axis=1)
        if reduction == "none":
            return losses.reshape(target.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(losses.sum(dtype=x.dtype) / ctx.scale)

    @staticmethod
    def backward(ctx, grad):
        log_probability, share = ctx.saved
        per_sample = share.sum(axis=1, keepdims=True)
        incoming = grad.reshape(per_sample.shape) if ctx.reduction == "none" else grad
        # The scale is zero where no sample counts: the loss is NaN then, the gradient zero.
        grad_input = (np.exp(log_probability) * per_sample - share) * incoming / (ctx.scale or 1)
        return grad_input.reshape(ctx.shape), None, None, None, None, None


def _checked(x, target):
    x, target = arrays.as_array(x, "input"), arrays.as_array(target, "target")
    dtypes.common_float_type(input=x)
    if target.dtype.kind not in "iu":
        raise DTypeError(f"target must hold integer class indices, got dtype {target.dtype}")
    expected = x.shape[:1] + x.shape[2:] if x.ndim > 1 else ()
    if x.ndim < 1 or target.shape != expected:
        raise ShapeError(f"input of shape {x.shape} expects target of shape {expected}, got {target.shape}")
    return x, target


def _class_weight(weight, C, dtype):
    if weight is None:
        return np.ones(C, dtype)
    weight = arrays.as_array(weight, "weight")
    if weight.shape != (C,):
        raise ShapeError(f"weight must have shape ({C},), one value per class, got {weight.shape}")
    return weight.astype(dtype)


def _check_classes(classes, C):
    if classes.size and not (classes.min() >= 0 and classes.max() < C):
        raise IndexError(f"target {classes.min()} to {classes.max()} is out of bounds for {C} classes")
