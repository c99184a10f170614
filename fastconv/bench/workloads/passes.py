"""Passes over activations: a batch normalisation with its rectifier, the rectifier alone, and behind a sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv.bench.cases import AddReluCase, BatchNormCase, ReluCase
from fastconv.bench.workloads.workload import Workload, draw, widened
from fastconv.dtypes import FLOAT_TYPES
from fastconv.geometry import ChannelsGeometry, ElementsGeometry

# What both sides have where nobody says otherwise.
EPS = 1e-5
# Statistics of 200,704 values that are summed one after the other in float32, as PyTorch does in channels_last, move a
# result by up to 205 units. What is left out of so many values does not show; tests leave it out of a few.
TOLERANCE_OF_STATISTICS = 2.0**10


def batch_norm(case: BatchNormCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of a normalisation by the statistics of the batch, rectified, or of its gradient.

    Forward reads x twice, for the statistics and to normalise, and writes once. The gradient reads grad_out and x
    twice, for the two sums of every channel and to use these, and writes grad_input. Who keeps a channel in a cache
    between the two is faster than that, and may pass the roofline of arrays that lie in memory.
    """
    g = ChannelsGeometry.of(case.x_shape)
    is_forward = direction == "forward"
    activations = ("x",) if is_forward else ("grad_out", "x")
    shapes = dict.fromkeys(activations, g.x_shape) | {"weight": (g.C,), "bias": (g.C,)}
    inputs = draw(case, dtype, rng, **shapes)
    parts = _Parts(**{name: array for name, array in widened(inputs).items() if name != "grad_out"})
    out, scale = parts.out()
    if is_forward:
        exact = np.maximum(out, 0)
    else:
        # Whether these are rectified may depend on an error that is allowed: without a gradient it does not matter.
        inputs["grad_out"][np.abs(out) <= TOLERANCE_OF_STATISTICS * FLOAT_TYPES[dtype].unit_roundoff * scale] = 0
        exact, scale = parts.grad_input(np.where(out > 0, inputs["grad_out"], 0.0))
    allowed = TOLERANCE_OF_STATISTICS
    return Workload(case, direction, dtype, g, inputs, exact, scale, g.flops, False, allowed, read_twice=activations)


def relu(case: ReluCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of a rectifier or of its gradient, which reads what was rectified: x, or what became of it."""
    is_forward = direction == "forward"
    g = ElementsGeometry(case.x_shape)
    inputs = draw(case, dtype, rng, **dict.fromkeys(("x",) if is_forward else ("grad_out", "x"), g.shape))
    wide = widened(inputs)
    exact = np.maximum(wide["x"], 0) if is_forward else np.where(wide["x"] > 0, wide["grad_out"], 0)
    return Workload(case, direction, dtype, g, inputs, exact, np.abs(exact), g.flops, False, tolerance=0.0)


def add_relu(case: AddReluCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of a rectified sum."""
    g = ElementsGeometry(case.x_shape)
    inputs = draw(case, dtype, rng, x=g.shape, residual=g.shape)
    x, residual = widened(inputs).values()
    exact, scale = np.maximum(x + residual, 0), np.abs(x) + np.abs(residual)
    return Workload(case, direction, dtype, g, inputs, exact, scale, g.flops, False)


@dataclass(slots=True)
class _Parts:
    """A normalised batch in float64; results come with the magnitudes of what they sum.

    Those of a distance from the mean are |x| and the mean of |x|; the deviation is taken as it is.
    """

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def out(self):
        """Before the rectifier."""
        distance, magnitude, inverse = self._distances()
        scale, bias = self.weight[:, None, None] * inverse, self.bias[:, None, None]
        return distance * scale + bias, magnitude * np.abs(scale) + np.abs(bias)

    def grad_input(self, grad):
        """Of the gradient behind the rectifier."""
        distance, magnitude, inverse = self._distances()
        scale = self.weight[:, None, None] * inverse
        found = scale * (grad - _mean(grad) - distance * inverse**2 * _mean(grad * distance))
        grad = np.abs(grad)
        return found, np.abs(scale) * (grad + _mean(grad) + magnitude * inverse**2 * _mean(grad * magnitude))

    def _distances(self):
        """From the mean, their magnitudes, and 1 / deviation."""
        distance = self.x - _mean(self.x)
        magnitude = np.abs(self.x)
        return distance, magnitude + _mean(magnitude), 1 / np.sqrt(_mean(distance**2) + EPS)


def _mean(x):
    """Of every channel."""
    return x.mean(axis=(0, 2, 3), keepdims=True)
