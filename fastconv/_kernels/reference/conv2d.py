"""Convolution (cross-correlation) and its gradients, tap by tap.

out[n, k, oh, ow] = bias[k] + Σ weight[k, c, kh, kw] * x[n, c, oh*sH - pH + kh*dH, ow*sW - pW + kw*dW] over c, kh, kw

Padded zeros are not summed. Sums run in the accumulator dtype and are rounded once.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fastconv._kernels.contract import OK, RELU6, Kernel, Problem, Variant
from fastconv._kernels.reference.windows import taps
from fastconv.dtypes import FLOAT_TYPES

_NUMPY_MODE: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def forward(geometry, x, weight, bias, out, activation=None):
    """``bias`` and ``activation`` are None where there is none."""
    g, x = _padded(geometry, x)
    x, weight = _grouped(g, x), _grouped_weight(g, weight)
    total = np.zeros((g.N, g.groups, g.K_g, g.rows.out, g.cols.out), _accumulator(out))
    for tap in taps(g.rows, g.cols):
        window = x[..., *tap.source].astype(total.dtype)
        total[..., *tap.target] += np.einsum("ngchw,gkc->ngkhw", window, weight[..., tap.kh, tap.kw])
    if bias is not None:
        total += bias.reshape(g.groups, g.K_g, 1, 1)
    if activation is not None:
        total[total < 0] = 0
    if activation == RELU6:
        total[total > 6] = 6
    out[...] = total.reshape(out.shape)
    return OK


def grad_input(geometry, grad_out, weight, grad_input):
    """The transpose of forward: every product goes back to where its input came from."""
    g, positions = _padded(
        geometry, np.arange(geometry.rows.size * geometry.cols.size).reshape(1, 1, *geometry.x_shape[2:])
    )
    grad_out, weight = _grouped(g, grad_out), _grouped_weight(g, weight)
    total = np.zeros((g.N, g.groups, g.C_g, g.rows.size, g.cols.size), _accumulator(grad_input))
    for tap in taps(g.rows, g.cols):
        window = grad_out[..., *tap.target].astype(total.dtype)
        total[..., *tap.source] += np.einsum("ngkhw,gkc->ngchw", window, weight[..., tap.kh, tap.kw])
    grad_input[...] = _fold(total.reshape(g.x_shape), positions[0, 0], grad_input.shape)
    return OK


def grad_weight(geometry, grad_out, x, grad_weight):
    """Correlate the inputs under each tap with the gradient of the outputs."""
    g, x = _padded(geometry, x)
    x, grad_out = _grouped(g, x), _grouped(g, grad_out)
    total = np.zeros((g.groups, g.K_g, g.C_g, g.rows.kernel, g.cols.kernel), _accumulator(grad_weight))
    for tap in taps(g.rows, g.cols):
        window = x[..., *tap.source].astype(total.dtype)
        total[..., tap.kh, tap.kw] = np.einsum("ngkhw,ngchw->gkc", grad_out[..., *tap.target], window)
    grad_weight[...] = total.reshape(grad_weight.shape)
    return OK


def grad_bias(geometry, grad_out, grad_bias):
    """Sum over images and positions."""
    grad_bias[...] = grad_out.sum(axis=(0, 2, 3), dtype=_accumulator(grad_bias))
    return OK


def _padded(geometry, x):
    """For other modes than zeros: the padded array and the geometry that needs no padding any more."""
    if geometry.padding_mode == "zeros":
        return geometry, x
    rows, cols = geometry.rows, geometry.cols
    width = [(0, 0), (0, 0), (rows.low, rows.high), (cols.low, cols.high)]
    grown = replace(
        geometry,
        rows=replace(rows, size=rows.padded, low=0, high=0),
        cols=replace(cols, size=cols.padded, low=0, high=0),
        padding_mode="zeros",
    )
    return grown, np.pad(x, width, mode=_NUMPY_MODE[geometry.padding_mode])


def _fold(padded, positions, shape):
    """Add every padded position to the input position that it shows."""
    if padded.shape == shape:
        return padded
    folded = np.zeros((shape[2] * shape[3], shape[0], shape[1]), padded.dtype)
    np.add.at(folded, positions, padded.transpose(2, 3, 0, 1))
    return folded.transpose(1, 2, 0).reshape(shape)


def _accumulator(array):
    return FLOAT_TYPES[array.dtype.name].accumulator


def _grouped(g, array):
    N, channels, H, W = array.shape
    return array.reshape(N, g.groups, channels // g.groups, H, W)


def _grouped_weight(g, weight):
    return weight.reshape(g.groups, g.K_g, g.C_g, g.rows.kernel, g.cols.kernel).astype(_accumulator(weight))


def _prepare_forward(problem: Problem) -> Kernel:
    run = partial(forward, problem.geometry, activation=problem.activation)
    if "bias" in problem.optional:
        return Kernel("direct", run)
    return Kernel("direct", lambda x, weight, out: run(x, weight, None, out))


def _prepare(function):
    return lambda problem: Kernel("direct", partial(function, problem.geometry))


VARIANTS = {
    "conv2d_forward": (Variant("direct", _prepare_forward),),
    "conv2d_grad_input": (Variant("direct", _prepare(grad_input)),),
    "conv2d_grad_weight": (Variant("direct", _prepare(grad_weight)),),
    "conv2d_grad_bias": (Variant("direct", _prepare(grad_bias)),),
}
