"""The emitted functions by their addresses, as the kernels of every convolution call them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d_arguments import PANELS
from fastconv._kernels.numba_cpu.settings import COLUMNS, MAX_VECTORS, VECTOR_BYTES

_PANEL_ARGUMENTS, _TRANSPOSE_ARGUMENTS = 6, 8


def _build_panel(dtype: str, vectors: int):
    from fastconv._kernels.numba_cpu import panel

    return panel.panel_module(dtype, vectors)


def _build_dots(dtype: str, channels: int):
    from fastconv._kernels.numba_cpu import dots

    return dots.dots_module(dtype, channels)


def _build_local_dots(dtype: str, rows: int):
    from fastconv._kernels.numba_cpu import local_dots

    return local_dots.local_dots_module(dtype, rows)


def _build_rows(dtype: str, vectors: int):
    from fastconv._kernels.numba_cpu import rows

    return rows.rows_module(dtype, vectors)


def _build_sweep(dtype: str):
    from fastconv._kernels.numba_cpu import sweep

    return sweep.sweep_module(dtype)


def _build_groups(dtype: str, vectors: int):
    from fastconv._kernels.numba_cpu import groups

    return groups.groups_module(dtype, vectors)


def _build_group_weights(dtype: str, vectors: int):
    from fastconv._kernels.numba_cpu import groups

    return groups.group_weights_module(dtype, vectors)


def _build_transpose(dtype: str):
    from fastconv._kernels.numba_cpu import transpose

    return transpose.transpose_module(dtype)


def _build_transpose_streaming(dtype: str):
    from fastconv._kernels.numba_cpu import transpose

    return transpose.transpose_streaming_module(dtype)


@cache
def panel(dtype: str, vectors: int) -> NativeFunction:
    """The tiles of so many vectors."""
    return NativeFunction(_build_panel, (dtype, vectors), _PANEL_ARGUMENTS)


@cache
def dots(dtype: str, channels: int) -> NativeFunction:
    """The tiles of so many output channels whose lanes hold input channels."""
    return NativeFunction(_build_dots, (dtype, channels), _PANEL_ARGUMENTS)


@cache
def local_dots(dtype: str, rows: int) -> NativeFunction:
    """The tiles of so many rows of weights that nobody shares."""
    return NativeFunction(_build_local_dots, (dtype, rows), _PANEL_ARGUMENTS)


@cache
def rows(dtype: str, vectors: int) -> NativeFunction:
    """The tiles of so many vectors whose weights are not packed."""
    return NativeFunction(_build_rows, (dtype, vectors), _PANEL_ARGUMENTS)


@cache
def sweep(dtype: str) -> NativeFunction:
    """The tiles that go over rows of weights from one end to the other."""
    return NativeFunction(_build_sweep, (dtype,), _PANEL_ARGUMENTS)


@cache
def groups(dtype: str, vectors: int) -> NativeFunction:
    """The tiles of a vector that has the channels of several groups."""
    return NativeFunction(_build_groups, (dtype, vectors), _PANEL_ARGUMENTS)


@cache
def group_weights(dtype: str, vectors: int) -> NativeFunction:
    """The same of grad_weight."""
    return NativeFunction(_build_group_weights, (dtype, vectors), _PANEL_ARGUMENTS)


@cache
def transpose(dtype: str) -> NativeFunction:
    """The transposition of a matrix."""
    return NativeFunction(_build_transpose, (dtype,), _TRANSPOSE_ARGUMENTS)


@cache
def transpose_streaming(dtype: str) -> NativeFunction:
    """The same past the caches."""
    return NativeFunction(_build_transpose_streaming, (dtype,), _TRANSPOSE_ARGUMENTS)


def native_functions(dtype: str) -> list[NativeFunction]:
    """All of one dtype."""
    tiles = [kind(dtype, vectors + 1) for kind in (panel, dots, local_dots) for vectors in range(MAX_VECTORS)]
    tiles += [kind(dtype, 1) for kind in (groups, group_weights, rows)]
    return [*tiles, sweep(dtype), transpose(dtype), transpose_streaming(dtype)]


def panel_values(
    dtype: str, k_blocks: np.ndarray, kind: Callable[[str, int], NativeFunction] = panel
) -> dict[str, int]:
    """The addresses of the microkernels of a kind that these blocks of channels need, by their fields."""
    needed = {*k_blocks[:, 1].tolist()}
    return {PANELS[vectors - 1]: kind(dtype, vectors).address for vectors in needed}


def unit(itemsize: int) -> plan.VectorUnit:
    """What the plan knows of this machine."""
    return plan.VectorUnit(VECTOR_BYTES // itemsize, MAX_VECTORS, max(COLUMNS), itemsize)


def layout(*sizes: int) -> list[int]:
    """Where parts of these bytes begin if each begins with a vector, and where the last one ends."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // VECTOR_BYTES) * VECTOR_BYTES)
    return starts
