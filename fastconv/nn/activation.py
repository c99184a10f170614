"""Activation layers."""

from __future__ import annotations

from fastconv import functional, parameters
from fastconv.nn.module import Module


class ReLU(Module):
    """max(x, 0), elementwise, any shape: ``functional.relu``; ``inplace`` is accepted, and nothing is overwritten.

    >>> import numpy as np
    >>> ReLU()(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = parameters.flag("inplace", inplace)

    def forward(self, x):
        """The rectified input."""
        return functional.relu(x)

    def extra_repr(self) -> str:
        """``inplace`` where it was asked for."""
        return "inplace=True" if self.inplace else ""


class LogSoftmax(Module):
    """x − log Σ exp(x) along the axis ``dim``, any shape: ``functional.log_softmax``.

    Without ``dim`` it is torch's choice: axis 0 of inputs with 0, 1 or 3 axes, axis 1 of all others.

    >>> import numpy as np
    >>> np.exp(LogSoftmax(1)(np.zeros((1, 4))).numpy()).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = None if dim is None else parameters.integer("dim", dim)

    def forward(self, x):
        """The logarithms of the probabilities."""
        implicit = 0 if x.ndim in (0, 1, 3) else 1
        return functional.log_softmax(x, implicit if self.dim is None else self.dim)

    def extra_repr(self) -> str:
        """The axis."""
        return f"dim={self.dim}"
