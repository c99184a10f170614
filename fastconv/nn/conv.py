"""Convolution layers."""

from __future__ import annotations

from fastconv import arrays, functional, parameters
from fastconv.nn import checks, init
from fastconv.nn.module import Module
from fastconv.nn.parameter import Parameter, float_storage

# From so many output channels on they fill a vector, and what follows is faster where they lie together.
CHANNELS_LAST_FROM = 16


class Conv2d(Module):
    """Two-dimensional convolution with its own weight (K, C/groups, kH, kW) and bias (K,): ``functional.conv2d``.

    Both start from U(−s, s) with s = 1/√(C/groups · kH · kW). Shapes: (N, C, H, W) -> (N, K, OH, OW), or the same
    without N. Results of 16 and more channels lie in memory as channels_last, whatever the input does, so that nothing
    in a chain of layers is reordered. Bad arguments raise ValueError, ShapeError, TypeError or DTypeError here, before
    any input is seen.

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
        geometry = checks.conv2d(
            self.in_channels,
            shape,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
            padding_mode=padding_mode,
        )
        self.padding = padding if isinstance(padding, str) else checks.shortest_padding(geometry)
        storage = float_storage(dtype)
        has_bias = parameters.flag("bias", bias)
        self.weight = Parameter.undrawn(shape, storage)
        self.register_parameter("bias", Parameter.undrawn(shape[:1], storage) if has_bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.default_(self.weight, self.bias)

    def forward(self, x, *, activation=None):
        """The convolution of a batch, or of one image, with the layer's filters, and with an ``activation``."""
        return functional.conv2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            padding_mode=self.padding_mode,
            activation=activation,
            memory_format=arrays.CHANNELS_LAST if self.out_channels >= CHANNELS_LAST_FROM else None,
        )

    def extra_repr(self) -> str:
        """The arguments, without those that have their defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding}" if self.padding != (0, 0) else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")
