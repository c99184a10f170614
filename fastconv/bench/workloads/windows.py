"""Poolings window by window: averages of any kind, and the largest of windows of any sizes."""

from __future__ import annotations

import numpy as np

from fastconv.bench.cases import AdaptiveAvgPoolCase, PoolCase
from fastconv.bench.workloads.workload import Workload, draw, widened
from fastconv.geometry import Pool2dGeometry


def average(case: PoolCase | AdaptiveAvgPoolCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of an average-pooling or of its gradient."""
    g = _geometry(case)
    name, shape, compute = ("x", g.x_shape, _means) if direction == "forward" else ("grad_out", g.out_shape, _shares)
    inputs = draw(case, dtype, rng, **{name: shape})
    wide = widened(inputs)[name]
    return Workload(case, direction, dtype, g, inputs, compute(g, wide), compute(g, np.abs(wide)), g.flops, False)


def largest(case: AdaptiveAvgPoolCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of an adaptive max-pooling or of its gradient; contestants get ``x`` for the gradient, too."""
    g = _geometry(case)
    is_forward = direction == "forward"
    inputs = draw(case, dtype, rng, **({"x": g.x_shape} if is_forward else {"grad_out": g.out_shape, "x": g.x_shape}))
    wide = widened(inputs)
    if is_forward:
        best = _best(g, wide["x"])
        return Workload(case, direction, dtype, g, inputs, best, np.abs(best), g.flops, False, tolerance=0.0)
    exact, scale = (_scattered(g, wide["x"], grad) for grad in (wide["grad_out"], np.abs(wide["grad_out"])))
    return Workload(case, direction, dtype, g, inputs, exact, scale, wide["grad_out"].size, False, saved=("x",))


def _geometry(case) -> Pool2dGeometry:
    is_adaptive = isinstance(case, AdaptiveAvgPoolCase)
    return (Pool2dGeometry.adaptive if is_adaptive else Pool2dGeometry.of)(case.x_shape, **case.parameters)


def _parts(g):
    """(output, rows and columns under it, what an average divides by) of every output."""
    for oh in range(g.rows.out):
        for ow in range(g.cols.out):
            axes = ((g.rows, oh), (g.cols, ow))
            part = tuple(slice(max(0, axis.position(o, 0)), axis.position(o, 0) + _span(axis, o)) for axis, o in axes)
            yield (..., oh, ow), (..., *part), np.prod([axis.count(o, include_pad=True) for axis, o in axes])


def _span(axis, output):
    """Positions from the first one of a window to its last one, padding included."""
    return getattr(axis, "extent", None) or axis.count(output, include_pad=True)


def _means(g, x):
    found = np.empty(g.out_shape)
    for output, part, count in _parts(g):
        found[output] = x[part].sum(axis=(2, 3)) / count
    return found


def _shares(g, grad_out):
    found = np.zeros(g.x_shape)
    for output, part, count in _parts(g):
        found[part] += (grad_out[output] / count)[..., None, None]
    return found


def _best(g, x):
    found = np.empty(g.out_shape)
    for output, part, _ in _parts(g):
        found[output] = x[part].max(axis=(2, 3))
    return found


def _scattered(g, x, grad_out):
    found = np.zeros(g.x_shape)
    for output, part, _ in _parts(g):
        window = x[part]
        wins = window == window.max(axis=(2, 3), keepdims=True)
        found[part] += wins * grad_out[output][..., None, None]
    return found
