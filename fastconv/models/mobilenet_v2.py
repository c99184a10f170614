"""MobileNetV2: depthwise convolutions of many maps between pointwise ones from and to few."""

from __future__ import annotations

from fastconv import parameters
from fastconv.models.blocks import initialise
from fastconv.models.registry import network
from fastconv.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    Module,
    ReLU6,
    Sequential,
)
from fastconv.nn.fusion import conv_norm

# How many times more maps are inside the blocks, maps, blocks, and the first one's stride.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_BEHIND = ((0, 1), (0, 1))


class InvertedResidual(Module):
    """To ``expansion`` times as many maps, a depthwise convolution there, and back; plus x where shapes allow.

    Shapes: (N, C, H, W) -> (N, K, OH, OW) with K = maps, OH = ceil(H / stride).

    >>> import numpy as np
    >>> InvertedResidual(8, 8, 1, 6)(np.zeros((2, 8, 5, 5), np.float32)).shape
    (2, 8, 5, 5)
    """

    def __init__(
        self, in_channels: int, maps: int, stride: int, expansion: int, *, pad_behind=False, eps=1e-5, dtype=None
    ):
        super().__init__()
        inner = in_channels * expansion
        common = {"pad_behind": pad_behind, "eps": eps, "dtype": dtype}
        wider = [_convolution(in_channels, inner, 1, **common)] if expansion != 1 else []
        depthwise = _convolution(inner, inner, 3, stride, inner, **common)
        narrower = Conv2d(inner, maps, 1, bias=False, dtype=dtype), BatchNorm2d(maps, eps, dtype=dtype)
        self.conv = Sequential(*wider, depthwise, *narrower)
        self.adds = stride == 1 and in_channels == maps

    def forward(self, x):
        """The narrow maps, and what they are added to."""
        if not self.adds:
            return self.conv(x)
        *before, narrower, norm = self.conv
        out = x
        for layer in before:
            out = layer(out)
        return conv_norm(narrower, norm, out, residual=x)


@network()
def mobilenet_v2(
    num_classes: int = 1000,
    width_mult: float = 1.0,
    *,
    round_nearest: int = 8,
    dropout: float = 0.2,
    pad_behind: bool = False,
    eps: float = 1e-5,
    dtype=None,
) -> Sequential:
    """The network of M. Sandler et al. (2018), under torchvision's names: 3,504,872 parameters for 1000 classes.

    ``width_mult`` times as many maps, rounded to multiples of ``round_nearest``. ``eps`` is that of the normalisations;
    with ``pad_behind`` convolutions of stride 2 pad below and to the right alone. Both are there for weights of Keras,
    which expect ``pad_behind=True, eps=1e-3`` with images whose sides are multiples of 32. Shapes: (N, 3, H, W) ->
    (N, num_classes); made for 224 x 224. Raises ValueError or TypeError.

    >>> import numpy as np
    >>> mobilenet_v2(10).eval()(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 10)
    """
    width_mult = parameters.finite("width_mult", width_mult)
    step = parameters.positive_int("round_nearest", round_nearest)
    common = {"pad_behind": pad_behind, "eps": eps, "dtype": dtype}
    channels = _rounded(32 * width_mult, step)
    last = _rounded(1280 * max(1.0, width_mult), step)
    features: list[Module] = [_convolution(3, channels, 3, 2, **common)]
    for expansion, maps, count, first_stride in _STAGES:
        maps = _rounded(maps * width_mult, step)
        for stride in (first_stride, *(1,) * (count - 1)):
            features.append(InvertedResidual(channels, maps, stride, expansion, **common))
            channels = maps
    features.append(_convolution(channels, last, 1, **common))
    network = Sequential(
        {
            "features": Sequential(*features),
            "avgpool": AdaptiveAvgPool2d((1, 1)),
            "flatten": Flatten(),
            "classifier": Sequential(Dropout(dropout), Linear(last, num_classes, dtype=dtype)),
        }
    )
    network.apply(initialise)
    return network


def _convolution(in_channels, maps, kernel_size, stride=1, groups=1, *, pad_behind, eps, dtype) -> Sequential:
    """A convolution, normalised and cut at 0 and 6."""
    padding = _BEHIND if pad_behind and stride > 1 else kernel_size // 2
    conv = Conv2d(in_channels, maps, kernel_size, stride, padding, groups=groups, bias=False, dtype=dtype)
    return Sequential(conv, BatchNorm2d(maps, eps, dtype=dtype), ReLU6())


def _rounded(maps: float, step: int) -> int:
    """The nearest multiple of a step that is not less than nine tenths of it."""
    found = max(step, int(maps + step / 2) // step * step)
    return found if found >= 0.9 * maps else found + step
