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
    wide = widened(inputs)
    exact, scale = _forward(geometries, wide), _forward(geometries, magnitudes(wide))
    return Workload(case, direction, dtype, tuple(geometries), inputs, exact, scale, sum(g.flops for g in geometries))


def _forward(geometries, inputs):
    x = inputs["x"]
    for i, g in enumerate(geometries):
        x = conv2d.forward(g, x, inputs[f"weight{i}"], inputs.get(f"bias{i}"))
    return x
