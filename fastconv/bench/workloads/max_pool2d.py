"""Max-pooling tap by tap; nothing is rounded, so that results must be equal."""

from __future__ import annotations

import numpy as np

from fastconv.bench.cases import PoolCase
from fastconv.bench.workloads.workload import Workload, draw, widened
from fastconv.geometry import Pool2dGeometry


def make(case: PoolCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of a pooling or of its gradient; contestants get ``x`` for the gradient, too."""
    g = Pool2dGeometry.of(case.x_shape, **case.parameters)
    is_forward = direction == "forward"
    inputs = draw(case, dtype, rng, **({"x": g.x_shape} if is_forward else {"grad_out": g.out_shape, "x": g.x_shape}))
    wide = widened(inputs)
    best, winner = winners(g, wide["x"])
    if is_forward:
        return Workload(case, direction, dtype, g, inputs, best, np.abs(best), g.flops, False, tolerance=0.0)
    exact, scale = (scattered(g, grad, winner) for grad in (wide["grad_out"], np.abs(wide["grad_out"])))
    return Workload(case, direction, dtype, g, inputs, exact, scale, best.size, False, saved=("x",))


def winners(g, x):
    """The largest input under each window and the number of its tap, the first of equal ones."""
    padded = np.full((g.N, g.x_shape[1], *(_reach(axis) for axis in (g.rows, g.cols))), -np.inf)
    padded[:, :, *_inside(g)] = x
    best, winner = np.full(g.out_shape, -np.inf), np.full(g.out_shape, -1)
    for tap, rows, cols in _taps(g):
        window = padded[:, :, rows, cols]
        better = window > best
        best[better], winner[better] = window[better], tap
    return best, winner


def scattered(g, grad_out, winner):
    """Every gradient to the input that its window took."""
    padded = np.zeros((g.N, g.x_shape[1], *(_reach(axis) for axis in (g.rows, g.cols))))
    for tap, rows, cols in _taps(g):
        padded[:, :, rows, cols] += np.where(winner == tap, grad_out, 0)
    return padded[:, :, *_inside(g)]


def _taps(g):
    for tap in range(g.taps):
        kh, kw = divmod(tap, g.cols.kernel)
        yield tap, _under(g.rows, kh), _under(g.cols, kw)


def _under(axis, k):
    begin = k * axis.dilation
    return slice(begin, begin + (axis.out - 1) * axis.stride + 1, axis.stride)


def _reach(axis):
    """Positions from the first of the low padding to the last under any window; rounding up may pass the padding."""
    return max(axis.padded, (axis.out - 1) * axis.stride + axis.extent)


def _inside(g):
    return tuple(slice(axis.low, axis.low + axis.size) for axis in (g.rows, g.cols))
