"""Batch normalisation as it is written in books, in the accumulator's precision."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastconv._kernels.contract import OK, RELU, Kernel, Problem, Variant
from fastconv.dtypes import FLOAT_TYPES

_ALL_BUT_CHANNELS = (0, 2, 3)


def statistics(x, mean, variance):
    """Mean and variance of every channel: the sum of squares over their number, not one less."""
    wide = _wide(x)
    with np.errstate(invalid="ignore"):
        mean[...] = wide.mean(axis=_ALL_BUT_CHANNELS)
        variance[...] = wide.var(axis=_ALL_BUT_CHANNELS)
    return OK


def forward(x, coefficients, *others, activation=None):
    """out = (x - mean) * scale + shift, plus the residual where there is one, rectified where that is asked for."""
    *residual, out = others
    mean, scale, shift = _per_channel(coefficients)[:3]
    result = (_wide(x) - mean) * scale + shift
    for addend in residual:
        result = result + addend
    out[...] = np.where(result < 0, 0, result) if activation == RELU else result
    return OK


def grad_sums(grad_out, x, coefficients, sums, activation=None):
    """The sums of the gradients and of gradient * (x - mean), of every channel."""
    mean = _per_channel(coefficients)[0]
    passed = _passed(grad_out, x, coefficients, activation)
    sums[0] = passed.sum(axis=_ALL_BUT_CHANNELS)
    sums[1] = (passed * (_wide(x) - mean)).sum(axis=_ALL_BUT_CHANNELS)
    return OK


def grad_input(grad_out, *others, activation=None):
    """grad * scale - offset - (x - mean) * slope; without x the statistics are constants, and grad * scale is all."""
    *x, coefficients, result = others
    mean, scale, _, *rest = _per_channel(coefficients)
    if not x:
        result[...] = _wide(grad_out) * scale
        return OK
    offset, slope = rest
    passed = _passed(grad_out, x[0], coefficients, activation)
    result[...] = passed * scale - offset - (_wide(x[0]) - mean) * slope
    return OK


def _passed(grad_out, x, coefficients, activation):
    """What a rectifier lets through: the gradient where the output was neither negative nor zero."""
    if activation != RELU:
        return _wide(grad_out)
    mean, scale, shift = _per_channel(coefficients)[:3]
    return np.where((_wide(x) - mean) * scale + shift <= 0, 0, _wide(grad_out))


def _wide(array):
    return array.astype(FLOAT_TYPES[array.dtype.name].accumulator)


def _per_channel(coefficients):
    return [_wide(row)[:, None, None] for row in coefficients]


def _table(function):
    return (Variant("direct", lambda problem: Kernel("direct", partial(function, activation=problem.activation))),)


def _prepare_statistics(problem: Problem) -> Kernel:
    return Kernel("direct", statistics)


VARIANTS = {
    "batch_norm_statistics": (Variant("direct", _prepare_statistics),),
    "batch_norm_forward": _table(forward),
    "batch_norm_grad_sums": _table(grad_sums),
    "batch_norm_grad_input": _table(grad_input),
}
