"""What layers of filters have in common."""

from __future__ import annotations

from typing import Any

from fastconv import arrays, parameters
from fastconv.nn import init
from fastconv.nn.module import Module
from fastconv.nn.parameter import Parameter, float_storage

# From so many output channels on they fill a vector, and what follows is faster where they lie together.
_CHANNELS_LAST_FROM = 16


class FilterLayer(Module):
    """A layer that applies filters to windows: its checked arguments, its parameters, and how it shows itself."""

    padding: Any  # a pair, two pairs or a name, once a subclass has checked it

    def __init__(self, in_channels: int, out_channels: int, kernel_size, stride, dilation, groups: int):
        super().__init__()
        self.in_channels = parameters.positive_int("in_channels", in_channels)
        self.out_channels = parameters.positive_int("out_channels", out_channels)
        self.groups = parameters.positive_int("groups", groups)
        self.kernel_size = parameters.kernel_size(kernel_size)
        self.stride = parameters.stride(stride)
        self.dilation = parameters.dilation(dilation)

    def _make_parameters(self, weight_shape, bias_shape, bias: bool, dtype) -> None:
        """Weight and bias of these shapes, drawn."""
        storage = float_storage(dtype)
        has_bias = parameters.flag("bias", bias)
        self.weight = Parameter.undrawn(weight_shape, storage)
        self.register_parameter("bias", Parameter.undrawn(bias_shape, storage) if has_bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.default_(self.weight, self.bias)

    @property
    def _memory_format(self) -> str | None:
        """How results lie in memory; None: as the input does."""
        return arrays.CHANNELS_LAST if self.out_channels >= _CHANNELS_LAST_FROM else None

    def _own_arguments(self) -> str:
        """Those that a kind of layer has beside the common ones, each after a comma."""
        return ""

    def extra_repr(self) -> str:
        """The arguments, without those that have their defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding}" if self.padding != (0, 0) else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        text += self._own_arguments()
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text + (", bias=False" if self.bias is None else "")
