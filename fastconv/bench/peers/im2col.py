"""The textbook way in NumPy: copy the inputs under every window into a matrix, then one matrix product."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv import arrays
from fastconv._kernels.contract import Declined
from fastconv.bench import blas
from fastconv.bench.contestant import Contestant, Prepared, is_layer, offered
from fastconv.bench.workloads import LAYOUTS, NUMPY_MODES

_LARGEST_BYTES = 1 << 31


def forward(g, x, weight, bias=None):
    """(N, C, H, W), (K, C_g, kH, kW) -> (N, K, OH, OW)."""
    out = (weight.reshape(g.groups, g.K_g, -1) @ _columns(g, x)).reshape(g.out_shape)
    return out if bias is None else out + bias[:, None, None]


def grad_weight(g, grad_out, x):
    """(N, K, OH, OW), (N, C, H, W) -> (K, C_g, kH, kW)."""
    grad = grad_out.reshape(g.N, g.groups, g.K_g, -1)
    return (grad @ _columns(g, x).swapaxes(2, 3)).sum(axis=0).reshape(g.weight_shape)


def grad_input(g, grad_out, weight):
    """(N, K, OH, OW), (K, C_g, kH, kW) -> (N, C, H, W): every column back to where it came from."""
    grad = grad_out.reshape(g.N, g.groups, g.K_g, -1)
    columns = weight.reshape(g.groups, g.K_g, -1).swapaxes(1, 2) @ grad
    columns = columns.reshape(g.N, g.C, g.rows.kernel, g.cols.kernel, g.rows.out, g.cols.out)
    padded = np.zeros((g.N, g.C, g.rows.padded, g.cols.padded), grad_out.dtype)
    for kh, kw in itertools.product(range(g.rows.kernel), range(g.cols.kernel)):
        padded[:, :, _positions(g.rows, kh), _positions(g.cols, kw)] += columns[:, :, kh, kw]
    return padded[:, :, g.rows.low : g.rows.low + g.rows.size, g.cols.low : g.cols.low + g.cols.size]


def _columns(g, x):
    """(N, C, H, W) -> (N, groups, C_g * kH * kW, OH * OW)."""
    windows = _windows(g, x, mode=NUMPY_MODES[g.padding_mode])
    return windows.transpose(0, 1, 4, 5, 2, 3).reshape(g.N, g.groups, -1, g.rows.out * g.cols.out)


def _windows(g, x, **padding):
    """(N, C, H, W) -> (N, C, OH, OW, kH, kW), a view of the padded input."""
    width = [(0, 0), (0, 0), (g.rows.low, g.rows.high), (g.cols.low, g.cols.high)]
    windows = sliding_window_view(np.pad(x, width, **padding), (g.rows.extent, g.cols.extent), (2, 3))
    return windows[:, :, :: g.rows.stride, :: g.cols.stride, :: g.rows.dilation, :: g.cols.dilation]


def _positions(axis, k):
    return slice(k * axis.dilation, k * axis.dilation + (axis.out - 1) * axis.stride + 1, axis.stride)


def _conv2d(function, workload):
    g = workload.geometry
    nbytes = math.prod(g.out_shape[2:]) * g.rows.kernel * g.cols.kernel * g.N * g.C * workload.exact.itemsize
    if nbytes > _LARGEST_BYTES:
        return Declined(f"its matrix would take more than {_LARGEST_BYTES >> 30} GiB")
    if function is grad_input and g.padding_mode != "zeros":
        return Declined(f"sends no gradient back through padding mode {g.padding_mode}")
    layout = LAYOUTS[workload.layout] if workload.gives_activations else arrays.CONTIGUOUS
    inputs = workload.inputs
    return Prepared(lambda: arrays.to_format(function(g, **inputs), layout), variant=lambda: "BLAS")


def _max_pool2d_forward(workload):
    g, x, layout = workload.geometry, workload.inputs["x"], LAYOUTS[workload.layout]
    if any((axis.out - 1) * axis.stride + axis.extent > axis.padded for axis in (g.rows, g.cols)):
        return Declined("knows no windows beyond the padding")

    def call():
        return arrays.to_format(_windows(g, x, constant_values=-np.inf).max(axis=(4, 5)), layout)

    return Prepared(call, variant=lambda: "windows")


def _linear_forward(workload):
    x, weight, bias = workload.inputs["x"], workload.inputs["weight"], workload.inputs.get("bias")
    return Prepared(lambda: x @ weight.T if bias is None else x @ weight.T + bias, variant=lambda: "BLAS")


_TABLE = {
    "conv2d_forward": partial(_conv2d, forward),
    "conv2d_grad_input": partial(_conv2d, grad_input),
    "conv2d_grad_weight": partial(_conv2d, grad_weight),
    "max_pool2d_forward": _max_pool2d_forward,
    "linear_forward": _linear_forward,
}
CONTESTANTS = (Contestant("im2col", partial(offered, _TABLE), blas.threads, is_peer=True, takes_part=is_layer),)
