"""Max-pooling window by window, and its gradient.

out[n, c, oh, ow] = max over (kh, kw) of x[n, c, oh*sH - pH + kh*dH, ow*sW - pW + kw*dW], padding excluded; of an
adaptive pooling the window of an output begins at floor(oh*H / OH), floor(ow*W / OW).

NaN wins, the last one; otherwise the first of equal values. ``offsets`` hold kh * kW + kw of the winner; a window
without any input gives -inf and offset 0.
"""

from functools import partial

import numpy as np

from fastconv._kernels.contract import OK, Kernel, Problem, Variant
from fastconv._kernels.reference.windows import tap_positions


def forward(geometry, x, out, offsets):
    """``offsets`` is None where they are not wanted."""
    for oh in range(geometry.rows.out):
        for ow in range(geometry.cols.out):
            window, taps = _window(geometry, x, oh, ow)
            if not taps:
                out[:, :, oh, ow] = -np.inf
                winner = 0
            else:
                best = _winner(window)
                out[:, :, oh, ow] = np.take_along_axis(window, best[..., None], axis=2)[..., 0]
                winner = np.array(taps)[best]
            if offsets is not None:
                offsets[:, :, oh, ow] = winner
    return OK


def grad_input(geometry, grad_out, offsets, grad_input):
    """Every gradient goes to its winner; an offset that leads outside the window or the input leads nowhere."""
    total = np.zeros(grad_input.shape, grad_input.dtype)
    for oh in range(geometry.rows.out):
        for ow in range(geometry.cols.out):
            for tap, ih, iw in _taps(geometry, oh, ow):
                n, c = np.nonzero(offsets[:, :, oh, ow] == tap)
                total[n, c, ih, iw] += grad_out[n, c, oh, ow]
    grad_input[...] = total
    return OK


def _window(geometry, x, oh, ow):
    """The inputs under one output as (N, C, taps), and the offsets of those taps."""
    found = _taps(geometry, oh, ow)
    values = [x[:, :, ih, iw] for _, ih, iw in found]
    return (np.stack(values, axis=2) if values else None), [tap for tap, _, _ in found]


def _taps(geometry, oh, ow):
    """(kh * kW + kw, row, column) of every tap under an output that is no padding."""
    rows, cols = tap_positions(geometry.rows, oh), tap_positions(geometry.cols, ow)
    return [(kh * geometry.cols.kernel + kw, ih, iw) for kh, ih in rows.items() for kw, iw in cols.items()]


def _winner(window):
    """The last NaN, else the first maximum, along the last axis."""
    is_nan = np.isnan(window)
    last_nan = window.shape[2] - 1 - np.argmax(is_nan[..., ::-1], axis=2)
    first_max = np.argmax(np.where(is_nan, -np.inf, window), axis=2)
    return np.where(is_nan.any(axis=2), last_nan, first_max)


def _prepare_forward(problem: Problem) -> Kernel:
    g = problem.geometry
    if "offsets" in problem.optional:
        return Kernel("direct", partial(forward, g))
    return Kernel("direct", lambda x, out: forward(g, x, out, None))


def _prepare_grad_input(problem: Problem) -> Kernel:
    return Kernel("direct", partial(grad_input, problem.geometry))


VARIANTS = {
    "max_pool2d_forward": (Variant("direct", _prepare_forward),),
    "max_pool2d_grad_input": (Variant("direct", _prepare_grad_input),),
}
