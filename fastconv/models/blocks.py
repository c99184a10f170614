"""Parts that several networks are made of, under torchvision's names."""

from __future__ import annotations

import numpy as np

from fastconv import functional
from fastconv.autograd import tensor
from fastconv.nn import BatchNorm2d, Conv2d, Linear, Module, init
from fastconv.nn.fusion import conv_norm

# Of red, green and blue values in 0..1, what images of ImageNet are normalised with.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ConvNorm(Module):
    """relu(bn(conv(x))), the convolution without bias and, where its stride is 1, with half a window of padding.

    Shapes: (N, C, H, W) -> (N, K, OH, OW).

    >>> import numpy as np
    >>> ConvNorm(3, 8, (1, 7))(np.zeros((2, 3, 9, 9), np.float32)).shape
    (2, 8, 9, 9)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size, stride=1, padding="half", *, dtype=None):
        super().__init__()
        if padding == "half":
            kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
            padding = tuple(extent // 2 if stride == 1 else 0 for extent in kernel)
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False, dtype=dtype)
        self.bn = BatchNorm2d(out_channels, eps=1e-3, dtype=dtype)

    def forward(self, x):
        """The rectified, normalised convolution."""
        return conv_norm(self.conv, self.bn, x, activation="relu")

    def folded_pairs(self) -> list[tuple[str, str]]:
        """The convolution and its normalisation."""
        return [("conv", "bn")]


class Branches(Module):
    """Chains of layers on one input, whose results stand one behind the other along the channels.

    A chain names its layers one after the other; the last place may name several, which all read what comes before.
    Without ``chains`` every layer is one. Shapes: (N, C, H, W) -> (N, K, OH, OW), K the sum of all.

    >>> import numpy as np
    >>> layers = {"narrow": ConvNorm(4, 8, 1), "wide": ConvNorm(4, 5, 3)}
    >>> Branches(layers)(np.zeros((2, 4, 6, 6), np.float32)).shape
    (2, 13, 6, 6)
    """

    def __init__(self, layers: dict[str, Module], chains: tuple[tuple[tuple[str, ...], ...], ...] | None = None):
        super().__init__()
        for name, layer in layers.items():
            self.register_module(name, layer)
        self.chains = tuple(((name,),) for name in layers) if chains is None else chains

    def forward(self, x):
        """The results of all chains."""
        return functional.cat([out for chain in self.chains for out in self._along(chain, x)], 1)

    def _along(self, chain, x):
        *before, last = chain
        for (name,) in before:
            x = getattr(self, name)(x)
        return [getattr(self, name)(x) for name in last]


class TransformInput(Module):
    """Images normalised with ImageNet's mean and deviation become such as 1/2 and 1/2 would have normalised.

    >>> import numpy as np
    >>> TransformInput(dtype=np.float64)(np.zeros((1, 3, 1, 1))).numpy().ravel().round(3).tolist()
    [-0.03, -0.088, -0.188]
    """

    def __init__(self, *, dtype=None):
        super().__init__()
        mean, deviation = np.array(_MEAN), np.array(_DEVIATION).reshape(3, 1, 1, 1)
        self.register_buffer("scale", tensor(deviation / 0.5, dtype=dtype or np.float32), persistent=False)
        self.register_buffer("shift", tensor((mean - 0.5) / 0.5, dtype=dtype or np.float32), persistent=False)

    def forward(self, x):
        """The input, scaled and shifted channel by channel."""
        return functional.conv2d(x, self.scale, self.shift, groups=3)


def initialise(module: Module) -> None:
    """Filters that keep the variance of gradients, other weights N(0, 0.01²), biases of zero: as VGG and MobileNet."""
    if isinstance(module, Conv2d):
        init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, Linear):
        init.normal_(module.weight, 0.0, 0.01)
    if isinstance(module, (Conv2d, Linear)) and module.bias is not None:
        init.zeros_(module.bias)
