"""Convolutions in float64 as matrix products over the columns under each window; shares no code with any kernel."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from fastconv.bench.cases import INTEGERS, ConvCase
from fastconv.bench.workloads.workload import NUMPY_MODES, Workload, draw, draw_integers, magnitudes, widened
from fastconv.geometry import Conv2dGeometry

_CACHED_ELEMENTS = 1 << 20


def make(case: ConvCase, direction: str, dtype: str, rng: np.random.Generator) -> Workload:
    """Data and answer of a convolution or of one of its gradients."""
    g = Conv2dGeometry.of(case.x_shape, case.weight_shape, **case.parameters)
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "forward": {"x": g.x_shape, "weight": g.weight_shape} | ({"bias": (g.K,)} if case.bias else {}),
        "grad_input": {"grad_out": g.out_shape, "weight": g.weight_shape},
        "grad_weight": {"grad_out": g.out_shape, "x": g.x_shape},
    }
    taps = g.rows.kernel * g.cols.kernel
    terms = {"forward": g.C_g * taps, "grad_input": g.K_g * taps, "grad_weight": g.N * g.rows.out * g.cols.out}
    if case.values == INTEGERS:
        inputs = draw_integers(dtype, rng, shapes[direction], terms[direction])
    else:
        inputs = draw(case, dtype, rng, **shapes[direction])
    compute = _COMPUTE[direction]
    wide = widened(inputs)
    exact, scale = compute(g, **wide), compute(g, **magnitudes(wide))
    return Workload(case, direction, dtype, g, inputs, exact, scale, g.flops)


def forward(g: Conv2dGeometry, x, weight, bias=None) -> np.ndarray:
    """(N, C, H, W), (K, C_g, kH, kW) -> (N, K, OH, OW)."""
    weight = weight.reshape(g.groups, g.K_g, -1)
    out = np.empty((g.N, g.groups, g.K_g, g.rows.out, g.cols.out))
    for n, image in enumerate(x):
        padded = _padded(g, image)
        for rows in _row_blocks(g):
            out[n, :, :, rows] = (weight @ _columns(g, padded, rows)).reshape(g.groups, g.K_g, -1, g.cols.out)
    out = out.reshape(g.out_shape)
    return out if bias is None else out + bias[:, None, None]


def grad_input(g: Conv2dGeometry, grad_out, weight) -> np.ndarray:
    """(N, K, OH, OW), (K, C_g, kH, kW) -> (N, C, H, W)."""
    weight = weight.reshape(g.groups, g.K_g, -1).swapaxes(1, 2)
    found = np.empty(g.x_shape)
    for n, image in enumerate(grad_out.reshape(g.N, g.groups, g.K_g, g.rows.out, g.cols.out)):
        padded = np.zeros((g.groups, g.C_g, g.rows.padded, g.cols.padded))
        for rows in _row_blocks(g):
            columns = (weight @ image[:, :, rows].reshape(g.groups, g.K_g, -1)).reshape(
                g.groups, g.C_g, g.rows.kernel * g.cols.kernel, -1, g.cols.out
            )
            for tap, under in enumerate(_taps(g, rows)):
                padded[:, :, *under] += columns[:, :, tap]
        found[n] = _unpadded(g, padded.reshape(g.C, g.rows.padded, g.cols.padded))
    return found


def grad_weight(g: Conv2dGeometry, grad_out, x) -> np.ndarray:
    """(N, K, OH, OW), (N, C, H, W) -> (K, C_g, kH, kW)."""
    found = np.zeros((g.groups, g.K_g, g.C_g * g.rows.kernel * g.cols.kernel))
    for image, grad in zip(x, grad_out.reshape(g.N, g.groups, g.K_g, g.rows.out, g.cols.out), strict=True):
        padded = _padded(g, image)
        for rows in _row_blocks(g):
            found += grad[:, :, rows].reshape(g.groups, g.K_g, -1) @ _columns(g, padded, rows).swapaxes(1, 2)
    return found.reshape(g.weight_shape)


def _row_blocks(g):
    """Slices of the output rows whose inputs, repeated for every tap, stay in a cache."""
    columns_of_a_row = g.C * g.rows.kernel * g.cols.kernel * g.cols.out
    step = max(_CACHED_ELEMENTS // columns_of_a_row, 1)
    return [slice(row, min(row + step, g.rows.out)) for row in range(0, g.rows.out, step)]


def _columns(g, padded, rows):
    """What lies under the windows of some output rows: (groups, C_g * kH * kW, positions)."""
    windows = [padded[:, :, *under] for under in _taps(g, rows)]
    return np.stack(windows, axis=2).reshape(g.groups, g.C_g * len(windows), -1)


def _taps(g, out_rows):
    """Per tap the slices of the padded input under the given output rows, and under all output columns."""
    for kh, kw in itertools.product(range(g.rows.kernel), range(g.cols.kernel)):
        yield _under(g.rows, kh, out_rows), _under(g.cols, kw, slice(0, g.cols.out))


def _under(axis, k, out):
    first, last = (k * axis.dilation + position * axis.stride for position in (out.start, out.stop - 1))
    return slice(first, last + 1, axis.stride)


def _padded(g, image):
    width = [(0, 0), (g.rows.low, g.rows.high), (g.cols.low, g.cols.high)]
    return np.pad(image, width, mode=NUMPY_MODES[g.padding_mode]).reshape(g.groups, g.C_g, g.rows.padded, g.cols.padded)


def _unpadded(g, padded):
    """Every gradient back to the input that was seen at its position; nowhere from padded zeros."""
    _, C, H, W = g.x_shape
    if g.padding_mode == "zeros":
        return padded[:, g.rows.low : g.rows.low + H, g.cols.low : g.cols.low + W]
    width = [(g.rows.low, g.rows.high), (g.cols.low, g.cols.high)]
    seen = np.pad(np.arange(H * W).reshape(H, W), width, mode=NUMPY_MODES[g.padding_mode])
    found = np.zeros((H * W, C))
    np.add.at(found, seen, padded.transpose(1, 2, 0))
    return found.T.reshape(C, H, W)


_COMPUTE: dict[str, Callable] = {"forward": forward, "grad_input": grad_input, "grad_weight": grad_weight}
