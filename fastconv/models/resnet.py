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
    own normalisation (``downsample``). Shapes: (N, C, H, W) -> (N, K, OH, OW) with K = maps, OH = ceil(H / stride).

    >>> import numpy as np
    >>> BasicBlock(4, 8, stride=2)(np.zeros((1, 4, 6, 6), np.float32)).shape
    (1, 8, 3, 3)
    """

    expansion = 1

    def __init__(self, in_channels: int, maps: int, stride: int = 1, *, bias=False, eps=1e-5, dtype=None):
        super().__init__()
        self.conv1 = Conv2d(in_channels, maps, 3, stride, 1, bias=bias, dtype=dtype)
        self.bn1 = BatchNorm2d(maps, eps, dtype=dtype)
        self.conv2 = Conv2d(maps, maps, 3, 1, 1, bias=bias, dtype=dtype)
        self.bn2 = BatchNorm2d(maps, eps, dtype=dtype)
        self.downsample = _shortcut(in_channels, maps, stride, bias=bias, eps=eps, dtype=dtype)

    def forward(self, x):
        """The rectified sum of the input and of what the convolutions made of it."""
        out = conv_norm(self.conv1, self.bn1, x, activation="relu")
        return conv_norm(self.conv2, self.bn2, out, residual=self.downsample(x), activation="relu")

    def folded_pairs(self) -> list[tuple[str, str]]:
        """Both convolutions, each with its normalisation."""
        return [("conv1", "bn1"), ("conv2", "bn2")]


class Bottleneck(Module):
    """As ``BasicBlock``, with a 3 x 3 convolution of few maps between two of 1 x 1, the second of 4 · maps.

    The 3 x 3 convolution has the stride, as in torchvision (version 1.5 of the network), or, with ``stride_in_1x1``,
    the first convolution, as in the paper; it has ``groups`` and maps · width_per_group / 64 · groups maps.
    Shapes: (N, C, H, W) -> (N, K, OH, OW) with K = 4 · maps, OH = ceil(H / stride).

    >>> import numpy as np
    >>> Bottleneck(4, 8, stride=2)(np.zeros((1, 4, 6, 6), np.float32)).shape
    (1, 32, 3, 3)
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        maps: int,
        stride: int = 1,
        *,
        groups: int = 1,
        width_per_group: int = 64,
        stride_in_1x1: bool = False,
        bias: bool = False,
        eps: float = 1e-5,
        dtype=None,
    ):
        super().__init__()
        width, out_channels = maps * width_per_group // 64 * groups, maps * self.expansion
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = Conv2d(in_channels, width, 1, first, bias=bias, dtype=dtype)
        self.bn1 = BatchNorm2d(width, eps, dtype=dtype)
        self.conv2 = Conv2d(width, width, 3, second, 1, groups=groups, bias=bias, dtype=dtype)
        self.bn2 = BatchNorm2d(width, eps, dtype=dtype)
        self.conv3 = Conv2d(width, out_channels, 1, bias=bias, dtype=dtype)
        self.bn3 = BatchNorm2d(out_channels, eps, dtype=dtype)
        self.downsample = _shortcut(in_channels, out_channels, stride, bias=bias, eps=eps, dtype=dtype)

    def forward(self, x):
        """The rectified sum of the input and of what the convolutions made of it."""
        out = conv_norm(self.conv1, self.bn1, x, activation="relu")
        out = conv_norm(self.conv2, self.bn2, out, activation="relu")
        return conv_norm(self.conv3, self.bn3, out, residual=self.downsample(x), activation="relu")

    def folded_pairs(self) -> list[tuple[str, str]]:
        """The three convolutions, each with its normalisation."""
        return [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")]


@network()
def resnet18(num_classes: int = 1000, *, zero_init_residual=False, bias=False, eps=1e-5, dtype=None) -> Sequential:
    """The network of K. He et al. (2015) with 18 layers: two blocks of two 3 x 3 convolutions in each of four stages.

    11,689,512 parameters for 1000 classes, under torchvision's names. With ``zero_init_residual`` every block starts as
    the identity; ``bias`` gives the convolutions one, ``eps`` is that of the normalisations. Shapes: (N, 3, H, W) ->
    (N, num_classes), made for 224 x 224. Raises ValueError or TypeError.

    >>> import numpy as np
    >>> resnet18(10).eval()(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 10)
    """
    return _resnet(BasicBlock, (2, 2, 2, 2), num_classes, zero_init_residual, bias=bias, eps=eps, dtype=dtype)


@network()
def resnet34(num_classes: int = 1000, *, zero_init_residual=False, **options) -> Sequential:
    """The network with 34 layers and 21,797,672 parameters; all else as ``resnet18``."""
    return _resnet(BasicBlock, (3, 4, 6, 3), num_classes, zero_init_residual, **options)


@network()
def resnet50(num_classes: int = 1000, *, zero_init_residual=False, **options) -> Sequential:
    """The network with 50 layers, in blocks of three, and 25,557,032 parameters.

    Options are those of ``resnet18`` and of ``Bottleneck``; with ``stride_in_1x1=True, bias=True, eps=1.001e-5`` it is
    the ResNet50 of Keras. All else as ``resnet18``.

    >>> resnet50(10).layer4[2].conv3.weight.shape
    (2048, 512, 1, 1)
    """
    return _resnet(Bottleneck, (3, 4, 6, 3), num_classes, zero_init_residual, **options)


@network()
def resnet101(num_classes: int = 1000, *, zero_init_residual=False, **options) -> Sequential:
    """The network with 101 layers and 44,549,160 parameters; all else as ``resnet50``."""
    return _resnet(Bottleneck, (3, 4, 23, 3), num_classes, zero_init_residual, **options)


@network()
def resnet152(num_classes: int = 1000, *, zero_init_residual=False, **options) -> Sequential:
    """The network with 152 layers and 60,192,808 parameters; all else as ``resnet50``."""
    return _resnet(Bottleneck, (3, 8, 36, 3), num_classes, zero_init_residual, **options)


@network()
def resnext50_32x4d(num_classes: int = 1000, **options) -> Sequential:
    """``resnet50`` whose 3 x 3 convolutions have 32 groups of 4 maps and more: 25,028,904 parameters."""
    return resnet50(num_classes, groups=32, width_per_group=4, **options)


@network()
def wide_resnet50_2(num_classes: int = 1000, **options) -> Sequential:
    """``resnet50`` whose 3 x 3 convolutions have twice as many maps: 68,883,240 parameters."""
    return resnet50(num_classes, width_per_group=128, **options)


def _resnet(
    block: type[BasicBlock] | type[Bottleneck],
    counts: Sequence[int],
    num_classes: int,
    zero_init_residual: bool,
    *,
    bias: bool = False,
    eps: float = 1e-5,
    dtype=None,
    **of_blocks,
) -> Sequential:
    common = {"bias": bias, "eps": eps, "dtype": dtype}
    conv1, bn1 = _normalised(3, _MAPS[0], 7, 2, **common)
    modules: dict[str, Module] = {"conv1": conv1, "bn1": bn1, "relu": ReLU(), "maxpool": MaxPool2d(3, 2, 1)}
    channels = _MAPS[0]
    for number, (count, maps) in enumerate(zip(counts, _MAPS, strict=True), 1):
        blocks = []
        for position in range(count):
            blocks.append(block(channels, maps, 2 if number > 1 and position == 0 else 1, **common, **of_blocks))
            channels = maps * block.expansion
        modules[f"layer{number}"] = Sequential(*blocks)
    modules |= {"avgpool": AdaptiveAvgPool2d((1, 1)), "flatten": Flatten()}
    modules["fc"] = Linear(channels, num_classes, dtype=dtype)
    network = Sequential(modules)
    network.apply(_initialise)
    if zero_init_residual:
        for module in network.modules():
            if isinstance(module, block):
                init.zeros_(getattr(module, module.folded_pairs()[-1][1]).weight)
    return network


def _initialise(module: Module) -> None:
    """Filters that keep the variance of gradients; everything else starts as its layer draws it."""
    if isinstance(module, Conv2d):
        init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _shortcut(in_channels, out_channels, stride, **options) -> Module:
    if stride == 1 and in_channels == out_channels:
        return Identity()
    return Sequential(*_normalised(in_channels, out_channels, 1, stride, **options))


def _normalised(in_channels, out_channels, kernel_size, stride, *, bias=False, eps=1e-5, dtype=None):
    """A convolution that reaches as far beyond one edge as beyond the other, and its normalisation."""
    padding = kernel_size // 2
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias, dtype=dtype)
    return conv, BatchNorm2d(out_channels, eps, dtype=dtype)
