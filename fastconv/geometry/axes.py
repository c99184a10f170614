"""One spatial axis: which inputs lie under which outputs.

Output size, for input size n, kernel k, stride s, dilation d and padding (low, high):

    out = floor((n + low + high - d*(k - 1) - 1) / s) + 1

Of an adaptive pooling out is given; output o has the inputs floor(o*n / out) .. ceil((o + 1)*n / out) - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis: ``size`` input positions, ``out`` output positions."""

    size: int
    kernel: int
    stride: int
    low: int
    high: int
    dilation: int
    out: int

    @property
    def extent(self) -> int:
        """The positions that a window spans: d*(k - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def padded(self) -> int:
        """The input positions with padding."""
        return self.size + self.low + self.high

    def position(self, output, tap):
        """The input position under a tap of an output, or under each of arrays of them; it may be in the padding."""
        return output * self.stride - self.low + tap * self.dilation

    def count(self, output: int, include_pad: bool) -> int:
        """The positions under an output that an average counts, of a window without gaps."""
        first = self.position(output, 0)
        low, high = (self.low, self.high) if include_pad else (0, 0)
        return min(first + self.kernel, self.size + high) - max(first, -low)

    @classmethod
    def of(cls, size, kernel, stride, padding, dilation, *, ceil_mode=False) -> Axis:
        """The axis with its output size; ``out`` below 1 means that the window does not fit."""
        low, high = padding
        room = size + low + high - dilation * (kernel - 1) - 1
        out = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (out - 1) * stride >= size + low:
            out -= 1
        return cls(size, kernel, stride, low, high, dilation, out)

    @classmethod
    def transposed(cls, out: int, kernel: int, stride: int, padding, dilation: int, extra: int) -> Axis:
        """The axis on which so many windows fit, and ``extra`` positions behind them."""
        low, high = padding
        size = (out - 1) * stride - low - high + dilation * (kernel - 1) + extra + 1
        return cls(size, kernel, stride, low, high, dilation, out)


@dataclass(frozen=True, slots=True)
class AdaptiveAxis:
    """One spatial axis cut into ``out`` windows of nearly equal size, which may overlap by one position."""

    size: int
    out: int

    @property
    def kernel(self) -> int:
        """The positions of the largest window."""
        return 1 + -(-(self.size - math.gcd(self.size, self.out)) // self.out)

    def begin(self, output):
        """The first position under an output, or under each of an array of them: floor(output * size / out)."""
        return output * self.size // self.out

    def end(self, output):
        """The position after the last one: ceil((output + 1) * size / out)."""
        return -(-(output + 1) * self.size // self.out)

    def position(self, output, tap):
        """The position under a tap of an output, or under each of arrays of them."""
        return self.begin(output) + tap

    def count(self, output: int, include_pad: bool) -> int:
        """The positions under an output; there is no padding."""
        return self.end(output) - self.begin(output)

    @classmethod
    def of(cls, size: int, out: int) -> Axis | AdaptiveAxis:
        """An ordinary axis where all windows are of one size and none overlap."""
        kernel, rest = divmod(size, out)
        return cls(size, out) if rest else Axis(size, kernel, kernel, 0, 0, 1, out)
