"""The functions of depthwise convolution: emitted tiles by their addresses, and range kernels."""

from __future__ import annotations

from functools import cache

from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.ranges import RangeKernel
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES

_TILE_ARGUMENTS, _ROWS_ARGUMENTS = 5, 8
# Planes of few columns fill half a vector better.
WIDTHS = sorted({VECTOR_BYTES, max(16, VECTOR_BYTES // 2)})


def _build_tile(dtype: str, kind: str, width: int):
    from fastconv._kernels.numba_cpu import depthwise_tile

    return depthwise_tile.tile_module(dtype, kind, width)


def _build_pairs(dtype: str, width: int):
    from fastconv._kernels.numba_cpu import depthwise_pair_tile

    return depthwise_pair_tile.pairs_module(dtype, width)


def _build_rows(dtype: str):
    from fastconv._kernels.numba_cpu import depthwise_rows

    return depthwise_rows.rows_module(dtype)


def _build_pixel_sum():
    from fastconv._kernels.numba_cpu import conv2d_depthwise_pixels

    return conv2d_depthwise_pixels.pixel_sum_kernel()


def _build_pixel_grad(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_depthwise_pixels

    return conv2d_depthwise_pixels.pixel_grad_kernel(dtype)


def _build_pixel_reduce(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_depthwise_pixels

    return conv2d_depthwise_pixels.pixel_reduce_kernel(dtype)


def _build_strip_grad(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_depthwise_strips

    return conv2d_depthwise_strips.strip_grad_kernel(dtype)


def _build_plane_sum(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_depthwise_planes

    return conv2d_depthwise_planes.plane_sum_kernel(dtype)


def _build_plane_grad(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_depthwise_planes_grad

    return conv2d_depthwise_planes_grad.plane_grad_kernel(dtype)


def _build_plane_reduce(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_depthwise_planes_grad

    return conv2d_depthwise_planes_grad.plane_reduce_kernel(dtype)


_BUILDS = {
    "pixel_sum": _build_pixel_sum,
    "pixel_grad": _build_pixel_grad,
    "pixel_reduce": _build_pixel_reduce,
    "strip_grad": _build_strip_grad,
    "plane_sum": _build_plane_sum,
    "plane_grad": _build_plane_grad,
    "plane_reduce": _build_plane_reduce,
}


@cache
def tile(dtype: str, kind: str, width: int) -> NativeFunction:
    """The tiles of vectors of so many bytes."""
    return NativeFunction(_build_tile, (dtype, kind, width), _TILE_ARGUMENTS)


@cache
def pairs(dtype: str, width: int) -> NativeFunction:
    """The tiles of pairs of rows and of columns."""
    return NativeFunction(_build_pairs, (dtype, width), _TILE_ARGUMENTS)


@cache
def rows(dtype: str) -> NativeFunction:
    """Rows of planes copied, taken apart or put together."""
    return NativeFunction(_build_rows, (dtype,), _ROWS_ARGUMENTS)


@cache
def kernel(name: str, *dtype: str) -> RangeKernel:
    """A range kernel; that of ``pixel_sum`` serves every dtype."""
    return RangeKernel(_BUILDS[name], *dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that depthwise convolutions of one dtype can run."""
    tiles = [tile(dtype, kind, width) for kind in ("plane_sum", "grad") for width in WIDTHS]
    kernels = (kernel("pixel_sum"), *(kernel(name, dtype) for name in _BUILDS if name != "pixel_sum"))
    tiles += [pairs(dtype, width) for width in WIDTHS]
    return [tile(dtype, "pixel_sum", VECTOR_BYTES), *tiles, rows(dtype), *(found.native for found in kernels)]
