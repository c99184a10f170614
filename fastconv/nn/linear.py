"""Fully connected layers, and the layer that does nothing."""

from __future__ import annotations

from fastconv import functional, parameters
from fastconv.functional.flat_linear import flat_linear
from fastconv.nn import init
from fastconv.nn.module import Module
from fastconv.nn.parameter import Parameter, float_storage


class Linear(Module):
    """x · weightᵀ + bias with its own weight (out, in) and bias (out,): ``functional.linear``.

    Both start from U(−1/√in, 1/√in). Shapes: (..., in) -> (..., out). Raises ValueError, TypeError or DTypeError here
    for bad arguments, ShapeError in ``forward``.

    >>> import numpy as np
    >>> Linear(3, 4)(np.ones((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype=None):
        super().__init__()
        self.in_features = parameters.positive_int("in_features", in_features)
        self.out_features = parameters.positive_int("out_features", out_features)
        has_bias, storage = parameters.flag("bias", bias), float_storage(dtype)
        shape = (self.out_features, self.in_features)
        self.weight = Parameter.undrawn(shape, storage)
        self.register_parameter("bias", Parameter.undrawn(shape[:1], storage) if has_bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.default_(self.weight, self.bias)

    def forward(self, x, *, activation=None, flatten=False):
        """Every output of every row, with an ``activation``; ``flatten``: images are rows, whatever their axes."""
        if flatten:
            return flat_linear(x, self.weight, self.bias, activation=activation)
        return functional.linear(x, self.weight, self.bias, activation=activation)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """The input, unchanged; takes any arguments, so that it can stand in for another layer.

    >>> import numpy as np
    >>> Identity(54, unused=True)(np.ones(2)).tolist()
    [1.0, 1.0]
    """

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, x):
        """The input itself."""
        return x
