"""The networks of VGG: 3 x 3 convolutions alone."""

from __future__ import annotations

from collections.abc import Sequence

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
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)

# Maps of each convolution, stage by stage; each stage ends with a pooling. The configurations' names are the paper's.
_A = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_B = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))
_D = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
_E = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


@network()
def vgg11(num_classes: int = 1000, *, dropout: float = 0.5, pooled: int = 7, dtype=None) -> Sequential:
    """Configuration A of K. Simonyan and A. Zisserman (2014): eight convolutions and three fully connected layers.

    132,863,336 parameters for 1000 classes, under torchvision's names. The classifier reads maps that are averaged to
    ``pooled`` x ``pooled``; weights of Keras that were trained on smaller images expect less than 7. Shapes:
    (N, 3, H, W) -> (N, num_classes), from 32 x 32 on; made for 224 x 224. Raises ValueError or TypeError.

    >>> import numpy as np
    >>> vgg11(10).eval()(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 10)
    """
    return _vgg(_A, num_classes, dropout, pooled, dtype)


@network()
def vgg13(num_classes: int = 1000, *, dropout: float = 0.5, pooled: int = 7, dtype=None) -> Sequential:
    """Configuration B, with ten convolutions and 133,047,848 parameters; all else as ``vgg11``."""
    return _vgg(_B, num_classes, dropout, pooled, dtype)


@network()
def vgg16(num_classes: int = 1000, *, dropout: float = 0.5, pooled: int = 7, dtype=None) -> Sequential:
    """Configuration D, with thirteen convolutions and 138,357,544 parameters; all else as ``vgg11``."""
    return _vgg(_D, num_classes, dropout, pooled, dtype)


@network()
def vgg19(num_classes: int = 1000, *, dropout: float = 0.5, pooled: int = 7, dtype=None) -> Sequential:
    """Configuration E, with sixteen convolutions and 143,667,240 parameters; all else as ``vgg11``."""
    return _vgg(_E, num_classes, dropout, pooled, dtype)


@network()
def vgg11_bn(num_classes: int = 1000, *, dropout: float = 0.5, pooled: int = 7, dtype=None) -> Sequential:
    """``vgg11`` with a batch normalisation behind every convolution: 132,868,840 parameters."""
    return _vgg(_A, num_classes, dropout, pooled, dtype, normalised=True)


@network()
def vgg13_bn(num_classes: int = 1000, *, dropout: float = 0.5, pooled: int = 7, dtype=None) -> Sequential:
    """``vgg13`` with a batch normalisation behind every convolution: 133,053,736 parameters."""
    return _vgg(_B, num_classes, dropout, pooled, dtype, normalised=True)


@network()
def vgg16_bn(num_classes: int = 1000, *, dropout: float = 0.5, pooled: int = 7, dtype=None) -> Sequential:
    """``vgg16`` with a batch normalisation behind every convolution: 138,365,992 parameters."""
    return _vgg(_D, num_classes, dropout, pooled, dtype, normalised=True)


@network()
def vgg19_bn(num_classes: int = 1000, *, dropout: float = 0.5, pooled: int = 7, dtype=None) -> Sequential:
    """``vgg19`` with a batch normalisation behind every convolution: 143,678,248 parameters."""
    return _vgg(_E, num_classes, dropout, pooled, dtype, normalised=True)


def _vgg(
    stages: Sequence[Sequence[int]], num_classes: int, dropout: float, pooled: int, dtype, *, normalised=False
) -> Sequential:
    pooled = parameters.positive_int("pooled", pooled)
    network = Sequential(
        {
            "features": _features(stages, normalised, dtype),
            "avgpool": AdaptiveAvgPool2d((pooled, pooled)),
            "flatten": Flatten(),
            "classifier": Sequential(
                Linear(stages[-1][-1] * pooled * pooled, 4096, dtype=dtype),
                ReLU(),
                Dropout(dropout),
                Linear(4096, 4096, dtype=dtype),
                ReLU(),
                Dropout(dropout),
                Linear(4096, num_classes, dtype=dtype),
            ),
        }
    )
    network.apply(initialise)
    return network


def _features(stages, normalised, dtype) -> Sequential:
    layers: list[Module] = []
    channels = 3
    for stage in stages:
        for maps in stage:
            layers.append(Conv2d(channels, maps, 3, padding=1, dtype=dtype))
            layers += [BatchNorm2d(maps, dtype=dtype)] if normalised else []
            layers.append(ReLU())
            channels = maps
        layers.append(MaxPool2d(2, 2))
    return Sequential(*layers)
