"""Fully connected layers: one matrix product."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.bench.cases import LinearCase
from fastconv.bench.workloads.workload import Workload, draw, magnitudes, widened


def make(case: LinearCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of a layer or of one of its gradients."""
    (N, inputs), (outputs, _) = case.x_shape, case.weight_shape
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "forward": {"x": case.x_shape, "weight": case.weight_shape} | ({"bias": (outputs,)} if case.bias else {}),
        "grad_input": {"grad_out": (N, outputs), "weight": case.weight_shape},
        "grad_weight": {"grad_out": (N, outputs), "x": case.x_shape},
    }
    compute = _COMPUTE[direction]
    data = draw(case, dtype, rng, **shapes[direction])
    wide = widened(data)
    exact, scale = compute(**wide), compute(**magnitudes(wide))
    return Workload(case, direction, dtype, None, data, exact, scale, 2 * N * inputs * outputs)


def _forward(x, weight, bias=None):
    return x @ weight.T if bias is None else x @ weight.T + bias


def _grad_input(grad_out, weight):
    return grad_out @ weight


def _grad_weight(grad_out, x):
    return grad_out.T @ x


_COMPUTE: dict[str, Callable] = {"forward": _forward, "grad_input": _grad_input, "grad_weight": _grad_weight}
