"""Dropout layers."""

from __future__ import annotations

import numpy as np

from fastconv import functional, parameters
from fastconv.nn.module import Module


class Dropout(Module):
    """In training, zero each element with probability ``p`` and scale the rest by 1/(1 − p): ``functional.dropout``.

    The identity after ``eval()``. Draws from the process's generator; ``inplace`` is accepted, and nothing is
    overwritten. Raises ValueError for p outside [0, 1].

    >>> Dropout(0.5).eval()(np.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        functional.dropout(np.empty(0, np.float32), p, training=False)
        self.p = p
        self.inplace = parameters.flag("inplace", inplace)

    def forward(self, x):
        """The thinned input in training, the input itself otherwise."""
        return functional.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout2d(Dropout):
    """In training, zero each channel of each image with probability ``p``, scale the rest: ``functional.dropout2d``.

    Shapes: (N, C, H, W) or (C, H, W). The identity after ``eval()``; else as ``Dropout``.

    >>> Dropout2d(0.5).eval()(np.ones((1, 1, 2, 2))).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """

    def forward(self, x):
        """The thinned input in training, the input itself otherwise."""
        return functional.dropout2d(x, self.p, self.training)
