"""Padding layers."""

from __future__ import annotations

from fastconv import functional, parameters
from fastconv.nn.module import Module


class ZeroPad2d(Module):
    """Zeros around the planes: ``padding`` is an int, or torch's (left, right, top, bottom); negative numbers cut.

    Shapes: (N, C, H, W) -> (N, C, H + top + bottom, W + left + right), or without N. Raises ValueError or TypeError
    here, ShapeError in ``forward``.

    >>> import numpy as np
    >>> ZeroPad2d((1, 2, 0, 0))(np.ones((1, 1, 1, 1), np.float32)).tolist()
    [[[[0.0, 1.0, 0.0, 0.0]]]]
    """

    def __init__(self, padding):
        super().__init__()
        pads = padding if isinstance(padding, (tuple, list)) else (padding,) * 4
        self.padding = parameters.pad_ends(pads)
        if len(self.padding) != 4:
            raise ValueError(f"padding must be an int or (left, right, top, bottom), got {padding!r}")

    def forward(self, x):
        """The planes with what is around them."""
        return functional.pad(x, self.padding)

    def extra_repr(self) -> str:
        """The four ends."""
        return str(self.padding)
