"""A checked padding of arrays of any rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastconv.errors import ShapeError
from fastconv.geometry.shapes import Shape


@dataclass(frozen=True, slots=True)
class PaddedAxis:
    """One axis that grows by ``low`` and ``high`` positions, or loses some where these are negative."""

    size: int
    low: int
    high: int

    @property
    def out(self) -> int:
        """The positions with padding."""
        return self.size + self.low + self.high

    @property
    def seen(self) -> slice:
        """The positions of the input that are in the output, too."""
        return slice(max(-self.low, 0), self.size - max(-self.high, 0))

    @property
    def kept(self) -> slice:
        """Where they are in the output."""
        return slice(max(self.low, 0), self.out - max(self.high, 0))

    def added(self, mode: str) -> list[tuple[int, int]]:
        """(position in the output, position in the input whose value it gets) of everything else."""
        around = (*range(max(self.low, 0)), *range(self.out - max(self.high, 0), self.out))
        return [(position, self._source(position - self.low, mode)) for position in around]

    def _source(self, position, mode):
        if mode == "circular":
            # Of what is left where the other end is cut, as torch has it.
            first, last = self.seen.start, self.seen.stop
            return first + (position - first) % (last - first)
        edge = 0 if position < 0 else self.size - 1
        return edge if mode == "replicate" else 2 * edge - position


@dataclass(frozen=True, slots=True)
class PadGeometry:
    """A checked padding: of which axes, the last ones, and how.

    >>> PadGeometry.of((1, 3, 224, 224), (2, 3, 2, 3), "constant").out_shape
    (1, 3, 229, 229)
    """

    outer: Shape
    axes: tuple[PaddedAxis, ...]
    mode: str

    @classmethod
    def of(cls, shape: Shape, pad: tuple[int, ...], mode: str) -> PadGeometry:
        """Of (left, right, top, bottom, ...), the last axis first; raises ShapeError."""
        count = len(pad) // 2
        if count > len(shape):
            raise ShapeError(f"pad {pad} is of {count} axes, but input has shape {shape}")
        if mode != "constant" and not (1 <= count <= 3 and count < len(shape) <= count + 2):
            raise ShapeError(f"mode {mode!r} pads 1 axis of 2 or 3, 2 of 3 or 4, 3 of 4 or 5; got pad {pad} of {shape}")
        before = len(shape) - count
        ends = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
        axes = tuple(PaddedAxis(size, *pair) for size, pair in zip(shape[before:], ends, strict=True))
        for number, axis in enumerate(axes, before):
            _check_pad(number, axis, mode, shape)
        return cls(shape[:before], axes, mode)

    @property
    def x_shape(self) -> Shape:
        """What is padded."""
        return (*self.outer, *(axis.size for axis in self.axes))

    @property
    def out_shape(self) -> Shape:
        """What comes out."""
        return (*self.outer, *(axis.out for axis in self.axes))

    @property
    def seen(self) -> tuple:
        """The index of what of the input is in the output."""
        return (..., *(axis.seen for axis in self.axes))

    @property
    def kept(self) -> tuple:
        """The index of where that is in the output."""
        return (..., *(axis.kept for axis in self.axes))


def _check_pad(number, axis, mode, shape):
    low, high, size = axis.low, axis.high, axis.size
    limits = {"reflect": size - 1, "circular": size + min(low, 0) + min(high, 0)}
    if max(low, high) > limits.get(mode, math.inf):
        raise ShapeError(
            f"padding ({low}, {high}) of axis {number} must be at most {limits[mode]} for mode {mode!r} "
            f"and input of shape {shape}"
        )
    # Where both ends are cut, the cuts may not meet; what is not filled has something to take values from.
    if axis.out < 0 or min(size + low, size + high) < 0 or (mode != "constant" and min(size, axis.out) < 1):
        raise ShapeError(f"padding ({low}, {high}) of axis {number} leaves nothing of input of shape {shape}")
