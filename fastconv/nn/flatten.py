"""Layers that change the shape only."""

from __future__ import annotations

from fastconv import functional, parameters
from fastconv.nn.module import Module


class Flatten(Module):
    """Merge the axes from ``start_dim`` to ``end_dim`` into one: (N, C, H, W) -> (N, C·H·W) by default.

    Raises TypeError here for what is no int, IndexError or ShapeError in ``forward`` for axes that do not exist.

    >>> import numpy as np
    >>> Flatten()(np.ones((2, 3, 4, 5))).shape
    (2, 60)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = parameters.integer("start_dim", start_dim)
        self.end_dim = parameters.integer("end_dim", end_dim)

    def forward(self, x):
        """The same values in fewer axes."""
        return functional.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
