"""Checked passes over values: by channels, by elements, by classes, by rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastconv.errors import ShapeError
from fastconv.geometry.shapes import Shape, check_extents


@dataclass(frozen=True, slots=True)
class ChannelsGeometry:
    """A pass over values that belong to channels: (N, C, H, W), or (N, C) as (N, C, 1, 1).

    >>> ChannelsGeometry.of((8, 16, 7, 7)).count
    392
    """

    N: int
    C: int
    H: int
    W: int

    @classmethod
    def of(cls, x_shape: Shape) -> ChannelsGeometry:
        """From a shape with channels and at most two more axes; raises ShapeError."""
        if not 2 <= len(x_shape) <= 4:
            raise ShapeError(f"expected 2D, 3D or 4D input with its channels second, got shape {x_shape}")
        check_extents("input", x_shape)
        return cls(*x_shape[:2], *(1,) * (4 - len(x_shape)), *x_shape[2:])

    @property
    def pixels(self) -> int:
        """Values of one channel of one image."""
        return self.H * self.W

    @property
    def count(self) -> int:
        """Values of one channel."""
        return self.N * self.pixels

    @property
    def x_shape(self) -> Shape:
        """(N, C, H, W)."""
        return (self.N, self.C, self.H, self.W)

    out_shape = x_shape

    @property
    def flops(self) -> int:
        """Values: what is done to each depends on the operation."""
        return self.count * self.C


@dataclass(frozen=True, slots=True)
class ElementsGeometry:
    """A pass over arrays of one shape, element by element."""

    shape: Shape

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def x_shape(self) -> Shape:
        """The shape."""
        return self.shape

    out_shape = x_shape
    flops = size


@dataclass(frozen=True, slots=True)
class ClassesGeometry:
    """A pass over the classes of N images of so many pixels: (N, C, pixels)."""

    N: int
    C: int
    pixels: int

    @classmethod
    def of(cls, shape: Shape, axis: int) -> ClassesGeometry:
        """The classes lie along one axis of a shape; raises ShapeError where it has none or no class."""
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(f"axis {axis} is out of range for shape {shape}")
        axis %= len(shape)
        if shape[axis] == 0:
            raise ShapeError(f"input of shape {shape} has no class along axis {axis}")
        return cls(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))

    @property
    def x_shape(self) -> Shape:
        """(N, C, pixels)."""
        return (self.N, self.C, self.pixels)

    out_shape = x_shape

    @property
    def flops(self) -> int:
        """Values, of each of which the exponential is taken."""
        return math.prod(self.x_shape)


@dataclass(frozen=True, slots=True)
class ResponseGeometry:
    """A pass over (N, C, pixels) in which a channel sees those from ``before`` it to ``behind`` it."""

    N: int
    C: int
    pixels: int
    before: int
    behind: int

    @classmethod
    def of(cls, shape: Shape, axis: int, size: int) -> ResponseGeometry:
        """The channels lie along one axis of a shape; of an even ``size`` the odd one is before."""
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        return cls(outer, shape[axis], inner, size // 2, (size - 1) // 2)

    @property
    def x_shape(self) -> Shape:
        """(N, C, pixels)."""
        return (self.N, self.C, self.pixels)

    out_shape = x_shape

    @property
    def flops(self) -> int:
        """Multiplications and additions of the squares; what is done with their sums depends on the exponent."""
        return 2 * math.prod(self.x_shape) * min(self.before + self.behind + 1, self.C)


@dataclass(frozen=True, slots=True)
class PartGeometry:
    """Rows of ``width`` values that become a part, from ``offset`` on, of rows of ``pitch`` values."""

    rows: int
    width: int
    pitch: int
    offset: int

    @property
    def x_shape(self) -> Shape:
        """(rows, width)."""
        return (self.rows, self.width)

    @property
    def out_shape(self) -> Shape:
        """(rows, pitch)."""
        return (self.rows, self.pitch)

    @property
    def flops(self) -> int:
        """Values."""
        return self.rows * self.width
