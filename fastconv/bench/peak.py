"""How much of the machine's multiply-add peak a convolution reaches, by backend and direction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import arrays, backends
from fastconv._kernels.contract import Problem
from fastconv.bench.cases import ConvCase
from fastconv.bench.timing import interleaved
from fastconv.geometry import Conv2dGeometry

# The case that doctor reports: a 3×3 layer of ResNet-50 on 16 images.
RESNET_LAYER = ConvCase("resnet50 56² 64→64 3×3", "resnet50", (16, 64, 56, 56), (64, 64, 3, 3), padding=1)


def peak_fractions(case: ConvCase, names: Sequence[str], *, peak: float, seconds: float = 1.0) -> dict:
    """Backend -> direction -> fraction of ``peak`` (FLOP/s), float32, channels_last, packing of weights included."""
    g = Conv2dGeometry.of(case.x_shape, case.weight_shape, **case.parameters)
    generator = np.random.default_rng(0)
    x, grad_out = (_normal(generator, shape, arrays.CHANNELS_LAST) for shape in (g.x_shape, g.out_shape))
    weight = _normal(generator, g.weight_shape, arrays.CONTIGUOUS)
    operands = {
        "conv2d_forward": (x, weight, np.empty_like(grad_out)),
        "conv2d_grad_input": (grad_out, weight, np.empty_like(x)),
        "conv2d_grad_weight": (grad_out, x, np.empty_like(weight)),
    }
    problem = Problem(g, x.dtype.name, (arrays.CHANNELS_LAST, arrays.CHANNELS_LAST))
    fractions: dict[str, dict[str, float]] = {name: {} for name in names}
    for op, values in operands.items():
        calls = {name: _call(backends.select(name), op, problem, values) for name in names}
        for name, time in interleaved(calls, rounds=15, seconds=seconds).items():
            fractions[name][op] = g.flops / time / peak
    return fractions


def _normal(generator, shape, memory_format):
    return arrays.to_format(generator.normal(size=shape).astype(np.float32), memory_format)


def _call(kernels, op, problem, operands):
    return lambda: kernels.run(op, problem, *operands)
