"""Average-pooling window by window, and its gradient.

out[n, c, oh, ow] = sum over the window of x / (row_counts[oh] * col_counts[ow]), padding excluded

Sums run in the accumulator dtype and are rounded once, then divided.
"""

from functools import partial

import numpy as np

from fastconv._kernels.contract import OK, Kernel, Variant
from fastconv._kernels.reference.windows import window_positions
from fastconv.dtypes import FLOAT_TYPES


def forward(geometry, x, row_counts, col_counts, out):
    """Sum what lies under each output."""
    for oh, ow, rows, cols in window_positions(geometry):
        total = x[:, :, rows][:, :, :, cols].sum(axis=(2, 3), dtype=FLOAT_TYPES[x.dtype.name].accumulator)
        out[:, :, oh, ow] = total.astype(out.dtype) / (row_counts[oh] * col_counts[ow])
    return OK


def grad_input(geometry, grad_out, row_counts, col_counts, grad_input):
    """Every input gets its share of every output above it."""
    total = np.zeros(grad_input.shape, grad_input.dtype)
    for oh, ow, rows, cols in window_positions(geometry):
        share = grad_out[:, :, oh, ow] / (row_counts[oh] * col_counts[ow])
        total[:, :, np.array(rows, int)[:, None], np.array(cols, int)] += share[:, :, None, None]
    grad_input[...] = total
    return OK


def _prepare(function):
    return lambda problem: Kernel("direct", partial(function, problem.geometry))


VARIANTS = {
    "avg_pool2d_forward": (Variant("direct", _prepare(forward)),),
    "avg_pool2d_grad_input": (Variant("direct", _prepare(grad_input)),),
}
