"""Convolutions without shared weights in float64 as a matrix product at every place; shares no code with any kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastconv.bench.cases import LocalCase
from fastconv.bench.workloads.workload import Workload, draw, magnitudes, widened
from fastconv.geometry import LocalConv2dGeometry


def make(case: LocalCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of a layer or of one of its gradients."""
    g = LocalConv2dGeometry.at(case.x_shape, case.weight_shape, **case.parameters)
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "forward": {"x": g.x_shape, "weight": g.weight_shape} | ({"bias": g.bias_shape} if case.bias else {}),
        "grad_input": {"grad_out": g.out_shape, "weight": g.weight_shape},
        "grad_weight": {"grad_out": g.out_shape, "x": g.x_shape},
    }
    inputs = draw(case, dtype, rng, **shapes[direction])
    compute = _COMPUTE[direction]
    exact = compute(g, **widened(inputs))
    scale = compute(g, **magnitudes(widened(inputs)))
    return Workload(case, direction, dtype, g, inputs, exact, scale, g.flops)


def _forward(g, x, weight, bias=None):
    padded, out = _padded(g, x), np.empty(g.out_shape)
    for oh, ow, rows, cols in _places(g):
        windows = padded[:, :, rows, cols].reshape(g.N, g.groups, g.terms)
        filters = weight[oh, ow].reshape(g.groups, g.K_g, g.terms)
        out[:, :, oh, ow] = np.einsum("ngt,gkt->ngk", windows, filters, optimize=True).reshape(g.N, g.K)
    return out if bias is None else out + bias.transpose(2, 0, 1)


def _grad_input(g, grad_out, weight):
    padded = _padded(g, np.zeros(g.x_shape))
    for oh, ow, rows, cols in _places(g):
        filters = weight[oh, ow].reshape(g.groups, g.K_g, g.terms)
        grads = grad_out[:, :, oh, ow].reshape(g.N, g.groups, g.K_g)
        found = np.einsum("ngk,gkt->ngt", grads, filters, optimize=True)
        padded[:, :, rows, cols] += found.reshape(g.N, g.C, g.rows.kernel, g.cols.kernel)
    return padded[:, :, g.rows.low : g.rows.low + g.rows.size, g.cols.low : g.cols.low + g.cols.size]


def _grad_weight(g, grad_out, x):
    padded, found = _padded(g, x), np.empty(g.weight_shape)
    for oh, ow, rows, cols in _places(g):
        windows = padded[:, :, rows, cols].reshape(g.N, g.groups, g.terms)
        grads = grad_out[:, :, oh, ow].reshape(g.N, g.groups, g.K_g)
        found[oh, ow] = np.einsum("ngk,ngt->gkt", grads, windows, optimize=True).reshape(g.weight_shape[2:])
    return found


def _places(g) -> Iterator[tuple[int, int, slice, slice]]:
    """Every place, and what lies under its window in the padded input."""
    for oh in range(g.rows.out):
        for ow in range(g.cols.out):
            yield oh, ow, _under(g.rows, oh), _under(g.cols, ow)


def _under(axis, place):
    first = place * axis.stride
    return slice(first, first + axis.extent, axis.dilation)


def _padded(g, x):
    return np.pad(x, [(0, 0), (0, 0), (g.rows.low, g.rows.high), (g.cols.low, g.cols.high)])


_COMPUTE: dict[str, Callable] = {"forward": _forward, "grad_input": _grad_input, "grad_weight": _grad_weight}
