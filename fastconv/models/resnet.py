"""Residual networks: every block adds its input to what it computed."""

from __future__ import annotations

from collections.abc import Sequence

from fastconv.models.registry import network
from fastconv.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)
from fastconv.nn.fusion import conv_norm

# Maps of the four stages.
_MAPS = (64, 128, 256, 512)


class BasicBlock(Module):
    """relu(x + bn2(conv2(relu(bn1(conv1(x)))))), both convolutions 3 x 3, the first with the stride.

    Where the stride or the number of maps changes, x is brought to the result's shape by a 1 x 1 convolution and its
    own normalisation (``downsample``). Shapes: (N, C, H, W) -> (N, K, OH, OW) with OH = ceil(H / stride).

    >>> import numpy as np
    >>> BasicBlock(4, 8, stride=2)(np.zeros((1, 4, 6, 6), np.float32)).shape
    (1, 8, 3, 3)
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, dtype=None):
        super().__init__()
        self.conv1 = _conv3x3(in_channels, out_channels, stride, dtype)
        self.bn1 = BatchNorm2d(out_channels, dtype=dtype)
        self.conv2 = _conv3x3(out_channels, out_channels, 1, dtype)
        self.bn2 = BatchNorm2d(out_channels, dtype=dtype)
        self.downsample: Module = Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = Sequential(
                Conv2d(in_channels, out_channels, 1, stride, bias=False, dtype=dtype),
                BatchNorm2d(out_channels, dtype=dtype),
            )

    def forward(self, x):
        """The rectified sum of the input and of what the convolutions made of it."""
        out = conv_norm(self.conv1, self.bn1, x, activation="relu")
        return conv_norm(self.conv2, self.bn2, out, residual=self.downsample(x), activation="relu")

    def folded_pairs(self) -> list[tuple[str, str]]:
        """Both convolutions, each with its normalisation."""
        return [("conv1", "bn1"), ("conv2", "bn2")]


@network()
def resnet18(num_classes: int = 1000, *, dtype=None) -> Sequential:
    """The network of K. He et al. (2015) with 18 layers: two blocks of two 3 x 3 convolutions in each of four stages.

    11,689,512 parameters for 1000 classes, under torchvision's names. Shapes: (N, 3, H, W) -> (N, num_classes), made
    for 224 x 224. Raises ValueError or TypeError.

    >>> import numpy as np
    >>> resnet18(10).eval()(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 10)
    """
    return _resnet((2, 2, 2, 2), num_classes, dtype)


def _resnet(blocks: Sequence[int], num_classes: int, dtype) -> Sequential:
    modules: dict[str, Module] = {
        "conv1": Conv2d(3, _MAPS[0], 7, stride=2, padding=3, bias=False, dtype=dtype),
        "bn1": BatchNorm2d(_MAPS[0], dtype=dtype),
        "relu": ReLU(),
        "maxpool": MaxPool2d(3, 2, 1),
    }
    channels = _MAPS[0]
    for number, (count, maps) in enumerate(zip(blocks, _MAPS, strict=True), 1):
        modules[f"layer{number}"] = _stage(channels, maps, count, 1 if number == 1 else 2, dtype)
        channels = maps
    modules |= {"avgpool": AdaptiveAvgPool2d((1, 1)), "flatten": Flatten()}
    modules["fc"] = Linear(channels, num_classes, dtype=dtype)
    network = Sequential(modules)
    network.apply(_initialise)
    return network


def _initialise(module: Module) -> None:
    """Filters that keep the variance of gradients; everything else starts as its layer draws it."""
    if isinstance(module, Conv2d):
        init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _stage(in_channels, maps, count, stride, dtype) -> Sequential:
    """Blocks one after the other, of which the first changes the shape."""
    rest = (BasicBlock(maps, maps, dtype=dtype) for _ in range(count - 1))
    return Sequential(BasicBlock(in_channels, maps, stride, dtype=dtype), *rest)


def _conv3x3(in_channels, out_channels, stride, dtype) -> Conv2d:
    return Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False, dtype=dtype)
