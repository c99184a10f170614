"""Transposed convolution layers."""

from __future__ import annotations

from fastconv import arrays, functional, parameters
from fastconv.geometry import Conv2dGeometry
from fastconv.nn import checks, init
from fastconv.nn.conv import CHANNELS_LAST_FROM
from fastconv.nn.module import Module
from fastconv.nn.parameter import Parameter, float_storage


class ConvTranspose2d(Module):
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
        super().__init__()
        self.in_channels = parameters.positive_int("in_channels", in_channels)
        self.out_channels = parameters.positive_int("out_channels", out_channels)
        self.groups = parameters.positive_int("groups", groups)
        self.kernel_size = parameters.kernel_size(kernel_size)
        self.stride = parameters.stride(stride)
        self.dilation = parameters.dilation(dilation)
        self.output_padding = parameters.output_padding(output_padding, self.stride, self.dilation)
        if padding_mode != "zeros":
            raise ValueError(f"only 'zeros' padding mode is supported for ConvTranspose2d, got {padding_mode!r}")
        if self.out_channels % self.groups:
            raise ValueError(f"out_channels must be divisible by groups, got out_channels={out_channels}, {groups=}")
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        self.padding = checks.shortest_padding(checks.conv_transpose2d(shape, padding, groups=self.groups))
        storage = float_storage(dtype)
        has_bias = parameters.flag("bias", bias)
        self.weight = Parameter.undrawn(shape, storage)
        bias_shape = (self.out_channels,)
        self.register_parameter("bias", Parameter.undrawn(bias_shape, storage) if has_bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.default_(self.weight, self.bias)

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
            memory_format=arrays.CHANNELS_LAST if self.out_channels >= CHANNELS_LAST_FROM else None,
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

    def extra_repr(self) -> str:
        """The arguments, without those that have their defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding}" if self.padding != (0, 0) else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        text += f", output_padding={self.output_padding}" if self.output_padding != (0, 0) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text + (", bias=False" if self.bias is None else "")
