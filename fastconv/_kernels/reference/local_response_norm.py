"""Normalisation across channels as it is written in papers, in the accumulator's precision."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastconv._kernels.contract import OK, RESPONSE_SETTINGS, Kernel, Variant
from fastconv.dtypes import FLOAT_TYPES


def forward(x, settings, out, *, geometry):
    """x / (k + alpha * the sum of the squares that a channel sees) ** beta."""
    with np.errstate(all="ignore"):
        wide, s, scale = _scale(x, settings, geometry)
        out[...] = wide / scale ** s["beta"]
    return OK


def grad_input(grad_out, x, settings, result, *, geometry):
    """grad / scale ** beta - 2 alpha beta x * the sum of grad x / scale ** (beta + 1) over those who see a channel."""
    with np.errstate(all="ignore"):
        wide, s, scale = _scale(x, settings, geometry)
        divided = grad_out / scale ** s["beta"]
        seen = _sums(divided * wide / scale, geometry.behind, geometry.before)
        result[...] = divided - 2 * s["alpha"] * s["beta"] * wide * seen
    return OK


def _scale(x, settings, geometry):
    wide = x.astype(FLOAT_TYPES[x.dtype.name].accumulator)
    s = dict(zip(RESPONSE_SETTINGS, settings, strict=True))
    return wide, s, s["k"] + s["alpha"] * _sums(wide**2, geometry.before, geometry.behind)


def _sums(values, before, behind):
    """Of every channel, over those from so many before it to so many behind it."""
    C = values.shape[1]
    seen = [values[:, max(c - before, 0) : c + behind + 1].sum(axis=1) for c in range(C)]
    return np.stack(seen, axis=1)


def _table(function):
    def prepare(problem):
        return Kernel("direct", partial(function, geometry=problem.geometry))

    return (Variant("direct", prepare),)


VARIANTS = {
    "local_response_norm_forward": _table(forward),
    "local_response_norm_grad_input": _table(grad_input),
}
