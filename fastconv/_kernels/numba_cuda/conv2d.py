"""Forward and grad_input: the variants of a tiled product over packed weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from fastconv._kernels.contract import Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cuda import conv2d_depthwise, conv2d_grouped
from fastconv._kernels.numba_cuda.conv2d_join import join_kernel
from fastconv._kernels.numba_cuda.conv2d_pack import fold_kernel, pack_kernel
from fastconv._kernels.numba_cuda.conv2d_sum import sum_kernel
from fastconv._kernels.numba_cuda.conv2d_sums import MOST_PIXELS, Folded, Sum, is_pointwise
from fastconv._kernels.numba_cuda.conv2d_taps import MODES, ZEROS
from fastconv._kernels.numba_cuda.settings import CudaKernel
from fastconv._kernels.numba_cuda.storage import wide
from fastconv._kernels.numba_cuda.tiles import (
    ACCESSES,
    CHANNELS,
    DEPTH,
    ELEMENTS,
    PIXELS,
    RUN_TERMS,
    TERMS,
    TILES,
    TINY,
)

_SCALAR = ((ELEMENTS, ELEMENTS), (TERMS, ELEMENTS))
# Of padded gradients that are to be folded.
_FOLDED = tuple(access for access in ACCESSES if access[0] in (ELEMENTS, CHANNELS))


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    yield "conv2d_pack", pack_kernel(dtype)
    yield "conv2d_fold", fold_kernel(dtype)
    yield "conv2d_join", join_kernel(dtype)
    for tile, into in product(TILES[dtype], dict.fromkeys((dtype, wide(dtype)))):
        kind = f"{tile.rows}x{tile.cols}{'' if into == dtype else ' into ' + into}"
        for gathers, stores in _SCALAR if tile is TINY else ACCESSES if into == dtype else _FOLDED:
            yield f"conv2d_sum {kind} {gathers} {stores}", sum_kernel(dtype, into, tile, gathers, stores)


def _prepare_first_layer(problem: Problem, transposed: bool) -> Kernel | Declined:
    g = problem.geometry
    C, taps = g.K_g if transposed else g.C_g, g.rows.kernel * g.cols.kernel
    if C >= DEPTH or taps == 1:
        return Declined(f"no tap has few channels: there are {taps} of {C}")
    if taps * C > RUN_TERMS:
        return Declined(f"a sum has {taps * C} terms; the table has room for {RUN_TERMS}")
    return _prepared(problem, transposed, "first_layer", TERMS)


def _prepare_split(problem: Problem, transposed: bool) -> Kernel | Declined:
    g = problem.geometry
    run = Sum(problem, g, transposed)
    if run.most_runs() == 1:
        return Declined(f"a sum has no more than {RUN_TERMS} terms")
    if problem.variant is None and not run.is_split():
        return Declined("there are enough sums for a GPU")
    return _prepared(problem, transposed, "split", PIXELS if is_pointwise(g) else ELEMENTS)


def _prepare_pointwise(problem: Problem, transposed: bool) -> Kernel | Declined:
    if not is_pointwise(problem.geometry):
        return Declined("outputs and inputs are not paired")
    return _prepared(problem, transposed, "pointwise", PIXELS)


def _prepare_tiled(problem: Problem, transposed: bool) -> Kernel | Declined:
    return _prepared(problem, transposed, "tiled", ELEMENTS)


def _prepared(problem, transposed, name, order):
    g = problem.geometry
    if max(g.rows.out * g.cols.out, g.rows.padded * g.cols.padded) > MOST_PIXELS:
        return Declined(f"an image has more than {MOST_PIXELS:,} pixels")
    folds = transposed and MODES[g.padding_mode] != ZEROS
    if folds and name != "tiled":
        return Declined("the padding repeats inputs")
    run = Folded(problem) if folds else Sum(problem, g, transposed, order, splits=name == "split")
    count = run.packed_count + (run.padded_count if folds else run.kept_count)
    packing = (__name__, problem.dtype, g.weight_shape, g.groups, transposed)
    return Kernel(name, run, run.pack, count * np.dtype(wide(problem.dtype)).itemsize, packing=packing)


_PREPARE = {
    conv2d_depthwise.NAME: conv2d_depthwise.prepare_sum,
    conv2d_grouped.NAME: conv2d_grouped.prepare_sum,
    "first_layer": _prepare_first_layer,
    "split": _prepare_split,
    "pointwise": _prepare_pointwise,
    "tiled": _prepare_tiled,
}


def _variants(transposed: bool) -> tuple[Variant, ...]:
    return tuple(
        Variant(name, lambda problem, prepare=prepare: prepare(problem, transposed))
        for name, prepare in _PREPARE.items()
    )


VARIANTS = {"conv2d_forward": _variants(transposed=False), "conv2d_grad_input": _variants(transposed=True)}
