"""Locally connected layers: convolution without shared weights."""

from __future__ import annotations

import math

from fastconv import functional, parameters
from fastconv.errors import ShapeError
from fastconv.geometry import LocalConv2dGeometry
from fastconv.geometry.local import places
from fastconv.nn import checks, init
from fastconv.nn.filter_layer import FilterLayer


class LocallyConnected2d(FilterLayer):
    """A convolution with K filters of its own for every place: ``functional.locally_connected2d``.

    The arguments are those of ``Conv2d``, and ``input_size``, the size (H, W) of all inputs, which says how many places
    there are. The weight is (OH, OW, K, C/groups, kH, kW), so that ``weight[oh, ow]`` is that of the convolution at one
    place, the bias (OH, OW, K); both start from U(−s, s) with s = 1/√(C/groups · kH · kW). Shapes: (N, C, H, W) ->
    (N, K, OH, OW), or the same without N; results lie in memory as those of ``Conv2d``. Bad arguments raise ValueError,
    ShapeError, TypeError or DTypeError here; an input of another size raises ShapeError in ``forward``.

    >>> import numpy as np
    >>> layer = LocallyConnected2d(1, 2, 3, input_size=(5, 7))
    >>> layer, layer(np.zeros((4, 1, 5, 7), np.float32)).shape
    (LocallyConnected2d(1, 2, kernel_size=(3, 3), stride=(1, 1), input_size=(5, 7)), (4, 2, 3, 5))
    >>> {name: values.shape for name, values in layer.state_dict().items()}
    {'weight': (3, 5, 2, 1, 3, 3), 'bias': (3, 5, 2)}
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
        *,
        input_size,
        dtype=None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.input_size = parameters.input_size(input_size)
        self._filters = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.padding = padding
        geometry = self._geometry(self.input_size)
        self.padding = padding if isinstance(padding, str) else checks.shortest_padding(geometry)
        self.output_size = geometry.out_shape[2:]
        self._make_parameters(geometry.weight_shape, geometry.bias_shape, bias, dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(math.prod(self.weight.shape[3:]))
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, x, *, activation=None):
        """The filters of every place on a batch, or on one image, of ``input_size``, and an ``activation``."""
        size = tuple(getattr(x, "shape", ())[-2:])
        if len(size) == 2 and size != self.input_size:
            found = places(self._geometry(size))
            made_for = f"input_size={self.input_size}, with filters for {self.output_size} places"
            raise ShapeError(f"the layer was made for {made_for}; got shape {tuple(x.shape)}: {found}")
        return functional.locally_connected2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            activation=activation,
            memory_format=self._memory_format,
        )

    def _geometry(self, size) -> LocalConv2dGeometry:
        """That of one image of some size."""
        return LocalConv2dGeometry.at(
            (1, self.in_channels, *size),
            self._filters,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def _own_arguments(self) -> str:
        return f", input_size={self.input_size}"
