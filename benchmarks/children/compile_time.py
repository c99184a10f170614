"""Prints the seconds by which the first call of an operation of the Numba backend is longer than later ones.

Numba itself is imported before; what it sets up for its first kernel is part of the figure.
"""

import json
import statistics
import sys
import time

import numpy as np

from fastconv import arrays, backends
from fastconv._kernels.contract import OPERATIONS, Problem, offsets_dtype
from fastconv.geometry import Conv2dGeometry, Pool2dGeometry

ACTIVATIONS = {"x", "out", "grad_out", "grad_input"}


def main(op, dtype):
    g = _geometry(op)
    operation = OPERATIONS[op]
    names = (*operation.inputs, *operation.outputs)
    problem = Problem(g, dtype, (arrays.CONTIGUOUS,) * len(ACTIVATIONS & set(names)), frozenset(operation.optional))
    operands = [_operand(name, g, dtype) for name in names]
    kernels = backends.select("numba")
    task = backends.Task(op, problem)
    first, *later = [_seconds(kernels, task, operands) for _ in range(6)]
    variant = kernels.module.prepare(op, problem).variant
    print(json.dumps({"seconds": first - statistics.median(later), "variant": variant}))


def _geometry(op):
    if op.startswith("conv2d"):
        return Conv2dGeometry.of((1, 16, 14, 14), (32, 16, 3, 3), (32,), padding=1)
    return Pool2dGeometry.of((1, 16, 14, 14), 2)


def _operand(name, g, dtype):
    if name == "offsets":
        return np.zeros(g.out_shape, offsets_dtype(g))
    if name.endswith("weight"):
        shape = g.weight_shape
    elif name.endswith("bias"):
        shape = (g.K,)
    else:
        shape = g.x_shape if name in ("x", "grad_input") else g.out_shape
    return np.random.default_rng(0).standard_normal(shape, dtype)


def _seconds(kernels, task, operands):
    begin = time.perf_counter()
    kernels.run(task, *operands)
    return time.perf_counter() - begin


main(*sys.argv[1:])
