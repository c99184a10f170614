"""Normalisation by what other channels have at the same place."""

from __future__ import annotations

from fastconv import functional
from fastconv.functional.local_response_norm import checked_settings
from fastconv.nn.module import Module


class LocalResponseNorm(Module):
    """Each value divided by a power of the squares of ``size`` channels around it: ``functional.local_response_norm``.

    Shapes: (N, C, ...) -> (N, C, ...). Raises ValueError or TypeError here, ShapeError in ``forward``.

    >>> import numpy as np
    >>> LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)(np.zeros((1, 96, 55, 55), np.float32)).shape
    (1, 96, 55, 55)
    """

    def __init__(self, size: int, alpha: float = 0.0001, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = checked_settings(size, alpha, beta, k)

    def forward(self, x):
        """The normalised input."""
        return functional.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
