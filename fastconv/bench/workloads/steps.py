"""Steps of optimisers on one parameter: the new parameter and all that is kept of it, in one answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.bench.cases import AdamCase, SgdCase
from fastconv.bench.workloads.workload import Workload, draw
from fastconv.geometry import ElementsGeometry

PARAMETER, GRAD = "parameter", "grad"
# What everybody's optimiser is told. The time does not depend on it, but nothing may grow without bound from call to
# call, and a term that is missing must show.
SGD: dict[str, Any] = {"lr": 1e-3, "momentum": 0.9}
ADAM: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8}
# Steps before the one that is checked: what is kept is there already.
EARLIER_STEPS = 10
# Elements that are computed at a time, within a cache; the largest parameters fill a good part of a memory.
_BLOCK = 1 << 15


def sgd(case: SgdCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of a step with momentum: three arrays are read and two of them written."""
    return _step(case, direction, dtype, rng, ("momentum_buffer",), _sgd)


def adam(case: AdamCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of a step of Adam: four arrays are read and three of them written."""
    return _step(case, direction, dtype, rng, ("exp_avg", "exp_avg_sq"), _adam)


def kept(workload: Workload) -> list[str]:
    """The names of what an optimiser keeps of its parameter, in the order of the answer."""
    return [name for name in workload.inputs if name not in (GRAD, PARAMETER)]


def _step(case, direction, dtype, rng, slots, compute: Callable[..., tuple]) -> Workload:
    g = ElementsGeometry(case.x_shape)
    inputs = draw(case, dtype, rng, **dict.fromkeys((GRAD, PARAMETER, *slots), g.shape))
    if "exp_avg_sq" in inputs:  # a mean of squares
        np.square(inputs["exp_avg_sq"], out=inputs["exp_avg_sq"])
    exact, scale = (np.empty((1 + len(slots), *g.shape)) for _ in range(2))
    for block in _blocks(g.shape):
        exact[:, *block], scale[:, *block] = compute(*(array[block].astype(np.float64) for array in inputs.values()))
    return Workload(case, direction, dtype, g, inputs, exact, scale, g.flops, False, in_place=True)


def _blocks(shape):
    rows, columns = shape
    for row in range(rows):
        for begin in range(0, columns, _BLOCK):
            yield row, slice(begin, begin + _BLOCK)


def _sgd(grad, parameter, buffer):
    """The new parameter and buffer, and the magnitudes of what they sum."""
    lr, momentum = SGD["lr"], SGD["momentum"]
    moved, magnitude = momentum * buffer + grad, momentum * np.abs(buffer) + np.abs(grad)
    return (parameter - lr * moved, moved), (np.abs(parameter) + lr * magnitude, magnitude)


def _adam(grad, parameter, mean, square):
    """The new parameter and means, and the magnitudes of what they sum."""
    (beta1, beta2), steps = ADAM["betas"], EARLIER_STEPS + 1
    moved, magnitude = (beta1 * m + (1 - beta1) * g for m, g in ((mean, grad), (np.abs(mean), np.abs(grad))))
    square = beta2 * square + (1 - beta2) * grad**2
    factor = ADAM["lr"] / (1 - beta1**steps) / (np.sqrt(square / (1 - beta2**steps)) + ADAM["eps"])
    return (parameter - factor * moved, moved, square), (np.abs(parameter) + factor * magnitude, magnitude, square)
