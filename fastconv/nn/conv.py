"""Convolution layers."""

from __future__ import annotations

from fastconv import functional
from fastconv.nn import checks
from fastconv.nn.filter_layer import FilterLayer


class Conv2d(FilterLayer):
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
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
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
        self._make_parameters(shape, shape[:1], bias, dtype)

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
            memory_format=self._memory_format,
        )

    def extra_repr(self) -> str:
        """The arguments, without those that have their defaults."""
        return super().extra_repr() + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")
