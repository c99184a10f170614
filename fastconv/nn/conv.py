"""Convolution layers."""

from __future__ import annotations

import math

from fastconv import arrays, functional, parameters
from fastconv.geometry import Conv2dGeometry
from fastconv.nn import init
from fastconv.nn.extent import UNBOUNDED
from fastconv.nn.module import Module
from fastconv.nn.parameter import Parameter, float_storage


class Conv2d(Module):
    """Two-dimensional convolution with its own weight (K, C/groups, kH, kW) and bias (K,): ``functional.conv2d``.

    Both start from U(−s, s) with s = 1/√(C/groups · kH · kW). Shapes: (N, C, H, W) -> (N, K, OH, OW), or the same
    without N. Bad arguments raise ValueError, ShapeError, TypeError or DTypeError here, before any input is seen.

    >>> import numpy as np
    >>> layer = Conv2d(3, 8, 3, padding=1)
    >>> layer, layer(np.zeros((2, 3, 5, 7), np.float32)).shape
    (Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)), (2, 8, 5, 7))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype=None,
    ):
        super().__init__()
        self.in_channels = parameters.positive_int("in_channels", in_channels)
        self.out_channels = parameters.positive_int("out_channels", out_channels)
        self.groups = parameters.positive_int("groups", groups)
        self.kernel_size = parameters.kernel_size(kernel_size)
        self.stride = parameters.stride(stride)
        self.dilation = parameters.dilation(dilation)
        self.padding_mode = padding_mode
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        geometry = Conv2dGeometry.of(
            (1, self.in_channels, UNBOUNDED, UNBOUNDED),
            shape,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
            padding_mode=padding_mode,
        )
        self.padding = padding if isinstance(padding, str) else _shortest(geometry)
        storage = float_storage(dtype)
        self.weight = Parameter(arrays.empty(shape, storage))
        self.bias = Parameter(arrays.empty(shape[:1], storage)) if parameters.flag("bias", bias) else None
        self.reset_parameters()
