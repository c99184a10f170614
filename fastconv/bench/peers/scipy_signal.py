"""SciPy: one three-dimensional correlation per image and output channel."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastconv import arrays
from fastconv._kernels.contract import Declined
from fastconv.bench import blas
from fastconv.bench.contestant import Contestant, Prepared, is_layer, offered
from fastconv.bench.workloads import LAYOUTS, NUMPY_MODES

# Beyond this a single call takes longer than everybody else's rounds.
_MOST_FLOPS = 5e7


def _conv2d_forward(workload):
    from scipy import signal

    g, layout = workload.geometry, LAYOUTS[workload.layout]
    if g.flops * g.rows.stride * g.cols.stride > _MOST_FLOPS:
        return Declined(f"takes too long beyond {_MOST_FLOPS / 1e9} GFLOP, positions between strides counted")
    x, weight, bias = workload.inputs["x"], _spread(g, workload.inputs["weight"]), workload.inputs.get("bias")
    width = [(0, 0), (0, 0), (g.rows.low, g.rows.high), (g.cols.low, g.cols.high)]
    method = signal.choose_conv_method(np.empty((g.C_g, g.rows.padded, g.cols.padded), x.dtype), weight[0], "valid")

    def call():
        padded = np.pad(x, width, mode=NUMPY_MODES[g.padding_mode])
        out = arrays.empty(g.out_shape, x.dtype, layout)
        for n, image in enumerate(padded):
            for k, kernel in enumerate(weight):
                group = k // g.K_g
                channels = image[group * g.C_g : (group + 1) * g.C_g]
                plane = signal.correlate(channels, kernel, "valid", method)[0]
                out[n, k] = plane[:: g.rows.stride, :: g.cols.stride]
        if bias is not None:
            out += bias[:, None, None]
        return out

    return Prepared(call, variant=lambda: method)


def _spread(g, weight):
    """The kernel with zeros between its taps, as dilation means it."""
    spread = np.zeros((g.K, g.C_g, g.rows.extent, g.cols.extent), weight.dtype)
    spread[:, :, :: g.rows.dilation, :: g.cols.dilation] = weight
    return spread


_TABLE = {"conv2d_forward": _conv2d_forward}
CONTESTANTS = (Contestant("scipy", partial(offered, _TABLE), blas.threads, is_peer=True, takes_part=is_layer),)
