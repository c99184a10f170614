"""Transposed convolution layers."""

from __future__ import annotations

from fastconv import functional, parameters
from fastconv.geometry import Conv2dGeometry
from fastconv.nn import checks
from fastconv.nn.filter_layer import FilterLayer


class ConvTranspose2d(FilterLayer):
    """Transposed convolution with its own weight (C, K/groups, kH, kW) and bias (K,): ``functional.conv_transpose2d``.

    Both start from U(−s, s) with s = 1/√(K/groups · kH · kW), as torch's do. Shapes: (N, C, H, W) -> (N, K, OH, OW),
    or the same without N. Results of 16 and more channels lie in memory as channels_last. Bad arguments raise
    ValueError, ShapeError, TypeError or DTypeError here.

    >>> import numpy as np
    >>> layer = ConvTranspose2d(8, 4, 3, stride=2, padding=1)
    >>> layer(np.zeros((1, 8, 5, 6), np.float32)).shape
    (1, 4, 9, 11)
    >>> layer(np.zeros((1, 8, 5, 6), np.float32), output_size=(10, 12)).shape
    (1, 4, 10, 12)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups: int = 1,
        bias: bool = True,
        dilation=1,
        padding_mode: str = "zeros",
        *,
        dtype=None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.output_padding = parameters.output_padding(output_padding, self.stride, self.dilation)
        if padding_mode != "zeros":
            raise ValueError(f"only 'zeros' padding mode is supported for ConvTranspose2d, got {padding_mode!r}")
        if self.out_channels % self.groups:
            raise ValueError(f"out_channels must be divisible by groups, got out_channels={out_channels}, {groups=}")
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        self.padding = checks.shortest_padding(checks.conv_transpose2d(shape, padding, groups=self.groups))
        self._make_parameters(shape, (self.out_channels,), bias, dtype)

    def forward(self, x, output_size=None):
        """The transposed convolution; ``output_size``, (OH, OW) or the whole shape, says what to pad it to.

        Raises ValueError where no ``output_padding`` leads to that size.
        """
        return functional.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding if output_size is None else self._padding_to(output_size, x.shape),
            self.groups,
            self.dilation,
            memory_format=self._memory_format,
        )

    def _padding_to(self, output_size, shape) -> tuple[int, ...]:
        """The ``output_padding`` that gives the last two of ``output_size``."""
        plain = Conv2dGeometry.transposed(
            (1, self.in_channels, *shape[-2:]),
            self.weight.shape,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        sizes = [parameters.integer("output_size", size) for size in output_size]
        if len(sizes) not in (2, len(shape)):
            raise ValueError(f"output_size must have 2 or {len(shape)} sizes, got {output_size!r}")
        least = plain.x_shape[-2:]
        missing = tuple(size - smallest for size, smallest in zip(sizes[-2:], least, strict=True))
        if any(not 0 <= extra < step for extra, step in zip(missing, self.stride, strict=True)):
            most = tuple(smallest + step - 1 for smallest, step in zip(least, self.stride, strict=True))
            raise ValueError(f"output_size must lie between {least} and {most} for input {tuple(shape)}, got {sizes}")
        return missing

    def _own_arguments(self) -> str:
        return f", output_padding={self.output_padding}" if self.output_padding != (0, 0) else ""
