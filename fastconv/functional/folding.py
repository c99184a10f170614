"""Batch normalisation as part of the convolution before it."""

from __future__ import annotations

import numpy as np


def folded_batch_norm(weight, bias, running_mean, running_var, norm_weight, norm_bias, eps):
    """Weight and bias of a convolution that gives what batch normalisation in evaluation makes of another one's result.

    weight · s and (bias − mean) · s + shift, with s = norm_weight / √(var + eps), in float64, then in weight's dtype.
    ``bias``, ``norm_weight`` and ``norm_bias`` may be None; shapes: (K, C, kH, kW), all others (K,).

    >>> one = np.ones(1)
    >>> [array.tolist() for array in folded_batch_norm(np.ones((1, 1, 1, 1)), None, one, 3 * one, 4 * one, one, 1.0)]
    [[[[[2.0]]]], [-1.0]]
    """
    weight, mean, var = np.asarray(weight), _wide(running_mean), _wide(running_var)
    scale = 1 / np.sqrt(var + eps)
    if norm_weight is not None:
        scale = scale * _wide(norm_weight)
    shift = 0 if norm_bias is None else _wide(norm_bias)
    folded_bias = ((0 if bias is None else _wide(bias)) - mean) * scale + shift
    return (_wide(weight) * scale[:, None, None, None]).astype(weight.dtype), folded_bias.astype(weight.dtype)


def _wide(array):
    return np.asarray(array, np.float64)
