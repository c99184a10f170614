"""Logarithms of probabilities, the loss that they give, and both gradients, in the accumulator's precision."""

from __future__ import annotations

import numpy as np

from fastconv._kernels.contract import CROSS_ENTROPY_SETTINGS, OK, Kernel, Variant
from fastconv.dtypes import FLOAT_TYPES


def log_softmax(x, out):
    """x - log(sum over the classes of exp(x)), shifted by the maximum so that nothing overflows."""
    wide = _wide(x)
    shifted = wide - wide.max(axis=1, keepdims=True)
    out[...] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return OK


def log_softmax_grad_input(grad_out, out, grad_input):
    """grad - softmax * (sum over the classes of grad)."""
    wide = _wide(grad_out)
    grad_input[...] = wide - np.exp(_wide(out)) * wide.sum(axis=1, keepdims=True)
    return OK


def cross_entropy(x, target, class_weight, settings, out, losses):
    """out as log_softmax gives it; a sample's loss is -(sum over the classes of share * out)."""
    log_softmax(x, out)
    shares = _shares(target, class_weight, settings)
    # 0 times an infinite logarithm is nothing.
    terms = np.multiply(_wide(out), shares, out=np.zeros(shares.shape), where=shares != 0)
    losses[...] = -terms.sum(axis=1)
    return OK


def cross_entropy_grad_input(grad_losses, out, target, class_weight, settings, grad_input):
    """(softmax * sum over the classes of share - share) * grad of the loss; zero where the target is ignored."""
    shares = _shares(target, class_weight, settings)
    slope = np.exp(_wide(out)) * shares.sum(axis=1, keepdims=True) - shares
    grad_input[...] = np.where(_is_class(target, shares), slope * _wide(grad_losses)[:, None], 0)
    return OK


def _shares(target, class_weight, settings):
    """How much every class of every sample counts: (N, C, pixels)."""
    smoothing = settings[CROSS_ENTROPY_SETTINGS.index("smoothing")]
    classes = np.arange(len(class_weight))[:, None]
    one_hot = target[:, None] == classes
    shares = ((1 - smoothing) * one_hot + smoothing / len(class_weight)) * _wide(class_weight)[:, None]
    return np.where(_is_class(target, shares), shares, 0)


def _is_class(target, shares):
    """Whether a sample counts at all."""
    return ((target >= 0) & (target < shares.shape[1]))[:, None]


def _wide(array):
    return array.astype(FLOAT_TYPES[array.dtype.name].accumulator)


def _table(function):
    return (Variant("direct", lambda problem: Kernel("direct", function)),)


VARIANTS = {
    "log_softmax_forward": _table(log_softmax),
    "log_softmax_grad_input": _table(log_softmax_grad_input),
    "cross_entropy_forward": _table(cross_entropy),
    "cross_entropy_grad_input": _table(cross_entropy_grad_input),
}
