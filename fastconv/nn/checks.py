"""Construction-time checks: the geometry's own rules, asked about a plane so large that every window fits."""

from __future__ import annotations

from fastconv.geometry import Conv2dGeometry, Pool2dGeometry, Shape
from fastconv.parameters import Pads, Pair

_UNBOUNDED = 1 << 64


def conv2d(in_channels: int, weight_shape: Shape, **parameters) -> Conv2dGeometry:
    """Raise what ``Conv2dGeometry.of`` raises for these parameters and any large enough input."""
    return Conv2dGeometry.of((1, in_channels, _UNBOUNDED, _UNBOUNDED), weight_shape, **parameters)


def conv_transpose2d(weight_shape: Shape, padding, *, groups: int) -> Conv2dGeometry:
    """Raise what ``Conv2dGeometry.transposed`` raises for these parameters and any large enough input."""
    shape = (1, weight_shape[0], _UNBOUNDED, _UNBOUNDED)
    return Conv2dGeometry.transposed(shape, weight_shape, padding=padding, groups=groups)


def pool2d(kernel_size, stride, padding, dilation=1, *, ceil_mode=False) -> Pool2dGeometry:
    """Raise what ``Pool2dGeometry.of`` raises for these parameters and any large enough input."""
    plane = (1, 1, _UNBOUNDED, _UNBOUNDED)
    return Pool2dGeometry.of(plane, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)


def shortest_padding(geometry: Conv2dGeometry | Pool2dGeometry) -> Pair | Pads:
    """A pair where both ends of each axis are padded alike, else ((top, bottom), (left, right))."""
    rows, cols = geometry.rows, geometry.cols
    if (rows.low, cols.low) == (rows.high, cols.high):
        return rows.low, cols.low
    return (rows.low, rows.high), (cols.low, cols.high)
