"""A fully connected layer on flattened maps, which are left where they are."""

from __future__ import annotations

import math

from fastconv import arrays
from fastconv.autograd import Function, unwrap
from fastconv.functional.conv2d import Conv2d
from fastconv.functional.linear import linear
from fastconv.functional.shape import flatten

# Outputs up to which flattening takes long beside the sums. Windows of many channels and rows are read in short pieces,
# which would cost more where outputs are many.
_MOST_OUTPUTS = 256
# Stride, padding, dilation, groups, padding mode.
_PARAMETERS = [1, 0, 1, 1, "zeros"]


def flat_linear(x, weight, bias=None, *, activation: str | None = None):
    """``linear(flatten(x, 1), weight, bias)``, to rounding.

    Flattening moves every element of maps whose channels lie together. Where outputs are few the layer is a convolution
    whose window is a whole map instead, of which only the weight is reordered.

    Shapes: (N, C, H, W), (out, C·H·W), (out,) -> (N, out), or what else can be flattened. Raises what the two raise.

    >>> import numpy as np
    >>> flat_linear(np.ones((2, 3, 2, 2)), np.ones((4, 12))).shape
    (2, 4)
    """
    if _stays(
        arrays.as_array(unwrap(x), "input", anywhere=True), arrays.as_array(unwrap(weight), "weight", anywhere=True)
    ):
        return FlatLinear.apply(x, weight, bias, activation)
    return linear(flatten(x, 1), weight, bias, activation=activation)


def _stays(x, weight) -> bool:
    features = math.prod(x.shape[1:])
    is_moved = x.ndim == 4 and arrays.memory_format(x) == arrays.CHANNELS_LAST and x.size > 0
    return is_moved and weight.ndim == 2 and weight.shape[1] == features and len(weight) <= _MOST_OUTPUTS


class FlatLinear(Function):
    """The convolution, with the weight as (out, C, H, W) and a result of one pixel."""

    @staticmethod
    def forward(ctx, x, weight, bias, activation):
        x = arrays.as_array(x, "input", anywhere=True)
        weight = arrays.dense(arrays.as_array(weight, "weight", anywhere=True))
        filters = weight.reshape(len(weight), *x.shape[1:])
        out = Conv2d.forward(ctx, x, filters, bias, _PARAMETERS, activation, None, None, owner=weight)
        return out.reshape(out.shape[:2])

    @staticmethod
    def backward(ctx, grad_out):
        grad_input, grad_weight, grad_bias, *_ = Conv2d.backward(ctx, grad_out[..., None, None])
        return grad_input, None if grad_weight is None else grad_weight.reshape(len(grad_weight), -1), grad_bias, None
