"""Activation layers."""

from __future__ import annotations

from fastconv import functional, parameters
from fastconv.functional.hardtanh import checked_ends
from fastconv.functional.log_softmax import checked_dim
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


class Hardtanh(Module):
    """min(max(x, min_val), max_val), elementwise, any shape: ``functional.hardtanh``.

    ``inplace`` is accepted, and nothing is overwritten. Raises TypeError or ValueError.

    >>> import numpy as np
    >>> Hardtanh()(np.array([-3.0, 0.5])).tolist()
    [-1.0, 0.5]
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__()
        self.min_val, self.max_val = checked_ends(min_val, max_val)
        self.inplace = parameters.flag("inplace", inplace)

    def forward(self, x):
        """The input, cut at both ends."""
        return functional.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """min(max(x, 0), 6), elementwise, any shape: ``functional.relu6``; ``inplace`` is accepted.

    >>> import numpy as np
    >>> ReLU6()(np.array([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """

    def __init__(self, inplace: bool = False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        """``inplace`` where it was asked for."""
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """x where x > 0, else negative_slope · x, elementwise, any shape: ``functional.leaky_relu``.

    ``inplace`` is accepted, and nothing is overwritten. Raises TypeError for a slope that is no number.

    >>> import numpy as np
    >>> LeakyReLU(0.5)(np.array([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__()
        self.negative_slope = parameters.number("negative_slope", negative_slope)
        self.inplace = parameters.flag("inplace", inplace)

    def forward(self, x):
        """The input, negative values scaled."""
        return functional.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class Tanh(Module):
    """The hyperbolic tangent, elementwise, any shape: ``functional.tanh``.

    >>> import numpy as np
    >>> Tanh()(np.array([0.0, np.inf])).tolist()
    [0.0, 1.0]
    """

    def forward(self, x):
        """The hyperbolic tangents."""
        return functional.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(−x)), elementwise, any shape: ``functional.sigmoid``.

    >>> import numpy as np
    >>> Sigmoid()(np.array([0.0, -np.inf])).tolist()
    [0.5, 0.0]
    """

    def forward(self, x):
        """Values between 0 and 1."""
        return functional.sigmoid(x)


class Softmax(Module):
    """exp(x) / Σ exp(x) along the axis ``dim``, any shape: ``functional.softmax``, which says what no ``dim`` means.

    >>> import numpy as np
    >>> Softmax(1)(np.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = checked_dim(dim)

    def forward(self, x):
        """The probabilities."""
        return functional.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """The axis."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """x − log Σ exp(x) along ``dim``, any shape: ``functional.log_softmax``, which says what no ``dim`` means.

    >>> import numpy as np
    >>> np.exp(LogSoftmax(1)(np.zeros((1, 4))).numpy()).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = checked_dim(dim)

    def forward(self, x):
        """The logarithms of the probabilities."""
        return functional.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        """The axis."""
        return f"dim={self.dim}"
