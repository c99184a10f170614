"""Convolution with weights that are not shared, and its gradients, tap by tap.

out[n, k, oh, ow] = bias[oh, ow, k] + Σ weight[oh, ow, k, c, kh, kw] * x[n, c, oh*sH - pH + kh*dH, ow*sW - pW + kw*dW]

Padded zeros are not summed. Sums run in the accumulator dtype and are rounded once. Letters of sums: h and w are rows
and columns of the output, whichever input positions lie under them.
"""

from functools import partial

import numpy as np

from fastconv._kernels.contract import OK, Kernel, Problem, Variant
from fastconv._kernels.reference.windows import taps
from fastconv.dtypes import FLOAT_TYPES


def forward(geometry, x, weight, bias, out, activation=None):
    """``bias`` and ``activation`` are None where there is none."""
    g, dtype = geometry, _accumulator(out)
    x, weight = _grouped(g, x), _grouped_weight(g, weight)
    total = np.zeros((g.N, g.groups, g.K_g, g.rows.out, g.cols.out), dtype)
    for tap in taps(g.rows, g.cols):
        window, factor = x[..., *tap.source].astype(dtype), weight[*tap.target, ..., tap.kh, tap.kw].astype(dtype)
        total[..., *tap.target] += np.einsum("ngchw,hwgkc->ngkhw", window, factor)
    total = total.reshape(out.shape)
    if bias is not None:
        total += bias.transpose(2, 0, 1)
    if activation is not None:
        total[total < 0] = 0
    out[...] = total
    return OK


def grad_input(geometry, grad_out, weight, grad_input):
    """The transpose of forward: every product goes back to where its input came from."""
    g, dtype = geometry, _accumulator(grad_input)
    grad_out, weight = _grouped(g, grad_out), _grouped_weight(g, weight)
    total = np.zeros((g.N, g.groups, g.C_g, g.rows.size, g.cols.size), dtype)
    for tap in taps(g.rows, g.cols):
        above, factor = grad_out[..., *tap.target].astype(dtype), weight[*tap.target, ..., tap.kh, tap.kw].astype(dtype)
        total[..., *tap.source] += np.einsum("ngkhw,hwgkc->ngchw", above, factor)
    grad_input[...] = total.reshape(grad_input.shape)
    return OK


def grad_weight(geometry, grad_out, x, grad_weight):
    """The inputs under every tap times the gradient of the one output that the weight belongs to."""
    g, dtype = geometry, _accumulator(grad_weight)
    x, grad_out = _grouped(g, x), _grouped(g, grad_out)
    grad_weight[...] = 0
    found = _grouped_weight(g, grad_weight)
    for tap in taps(g.rows, g.cols):
        window, above = x[..., *tap.source].astype(dtype), grad_out[..., *tap.target].astype(dtype)
        found[*tap.target, ..., tap.kh, tap.kw] = np.einsum("ngkhw,ngchw->hwgkc", above, window)
    return OK


def _accumulator(array):
    return FLOAT_TYPES[array.dtype.name].accumulator


def _grouped(g, array):
    N, channels, H, W = array.shape
    return array.reshape(N, g.groups, channels // g.groups, H, W)


def _grouped_weight(g, weight):
    return weight.reshape(g.rows.out, g.cols.out, g.groups, g.K_g, g.C_g, g.rows.kernel, g.cols.kernel)


def _prepare_forward(problem: Problem) -> Kernel:
    run = partial(forward, problem.geometry, activation=problem.activation)
    if "bias" in problem.optional:
        return Kernel("direct", run)
    return Kernel("direct", lambda x, weight, out: run(x, weight, None, out))


def _prepare(function):
    return lambda problem: Kernel("direct", partial(function, problem.geometry))


VARIANTS = {
    "locally_connected2d_forward": (Variant("direct", _prepare_forward),),
    "locally_connected2d_grad_input": (Variant("direct", _prepare(grad_input)),),
    "locally_connected2d_grad_weight": (Variant("direct", _prepare(grad_weight)),),
}
