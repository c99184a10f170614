"""Convolutions one after the other."""

from __future__ import annotations

import math

import numpy as np

from fastconv.bench.cases import ChainCase
from fastconv.bench.workloads import conv2d
from fastconv.bench.workloads.workload import Workload, draw, magnitudes, widened
from fastconv.geometry import Conv2dGeometry


def make(case: ChainCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of the whole chain; the weights are weight0, weight1, ..., scaled to keep the variance."""
    geometries: list[Conv2dGeometry] = []
    x_shape: tuple[int, ...] = case.x_shape
    for layer in case.layers:
        geometries.append(Conv2dGeometry.of(x_shape, layer.weight_shape, **layer.parameters))
        x_shape = geometries[-1].out_shape
    shapes = {f"weight{i}": g.weight_shape for i, g in enumerate(geometries)}
    shapes |= {f"bias{i}": (g.K,) for i, g in enumerate(geometries) if case.layers[i].bias}
    inputs = draw(case, dtype, rng, x=case.x_shape, **shapes)
    for name, array in inputs.items():
        if name.startswith("weight"):
            array /= np.float32(math.sqrt(math.prod(array.shape[1:])))
    exact, scale = _forward(geometries, widened(inputs))
    return Workload(case, direction, dtype, tuple(geometries), inputs, exact, scale, sum(g.flops for g in geometries))


def _forward(geometries, inputs):
    """The answer, and the magnitudes that the last layer sums, once for every layer.

    Weights that keep the variance let the errors of earlier layers neither grow nor die out; magnitudes carried through
    all layers would grow and hide every mistake.
    """
    x, scale = inputs["x"], inputs["x"]
    for i, g in enumerate(geometries):
        operands = {"weight": inputs[f"weight{i}"]} | ({"bias": inputs[f"bias{i}"]} if f"bias{i}" in inputs else {})
        scale = conv2d.forward(g, np.abs(x), **magnitudes(operands))
        x = conv2d.forward(g, x, **operands)
    return x, len(geometries) * scale
