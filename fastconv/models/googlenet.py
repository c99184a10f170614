"""GoogLeNet: convolutions of several sizes side by side, and classifiers on the way that help to train it."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastconv import functional
from fastconv.models.blocks import Branches, ConvNorm, TransformInput
from fastconv.models.registry import Preprocessing, network
from fastconv.nn import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    Sequential,
    init,
)

# Channels in; maps of the 1 x 1, before and of the first 3 x 3, before and of the second, behind the pooling.
_INCEPTIONS = {
    "inception3a": (192, 64, 96, 128, 16, 32, 32),
    "inception3b": (256, 128, 128, 192, 32, 96, 64),
    "inception4a": (480, 192, 96, 208, 16, 48, 64),
    "inception4b": (512, 160, 112, 224, 24, 64, 64),
    "inception4c": (512, 128, 128, 256, 24, 64, 64),
    "inception4d": (512, 112, 144, 288, 32, 64, 64),
    "inception4e": (528, 256, 160, 320, 32, 128, 128),
    "inception5a": (832, 256, 160, 320, 32, 128, 128),
    "inception5b": (832, 384, 192, 384, 48, 128, 128),
}
_POOLED_BEFORE = {"inception4a": ("maxpool3", 3), "inception5a": ("maxpool4", 2)}
# Where the other classifiers read, in training.
_AUXILIARY = {"inception4a": "aux1", "inception4d": "aux2"}


class GoogLeNetOutputs(NamedTuple):
    """What GoogLeNet gives in training; None where there are no auxiliary classifiers."""

    logits: Any
    aux_logits2: Any
    aux_logits1: Any


class GoogLeNet(Module):
    """The network that ``googlenet`` builds."""

    def __init__(self, num_classes, aux_logits, transform_input, dropout, dropout_aux, dtype):
        super().__init__()
        self.transform = TransformInput(dtype=dtype) if transform_input else Identity()
        self.conv1 = ConvNorm(3, 64, 7, 2, 3, dtype=dtype)
        self.maxpool1 = MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = ConvNorm(64, 64, 1, dtype=dtype)
        self.conv3 = ConvNorm(64, 192, 3, dtype=dtype)
        self.maxpool2 = MaxPool2d(3, 2, ceil_mode=True)
        for name, maps in _INCEPTIONS.items():
            if name in _POOLED_BEFORE:
                pool, size = _POOLED_BEFORE[name]
                self.register_module(pool, MaxPool2d(size, 2, ceil_mode=True))
            self.register_module(name, _inception(*maps, dtype=dtype))
        self.aux1 = _Auxiliary(512, num_classes, dropout_aux, dtype) if aux_logits else None
        self.aux2 = _Auxiliary(528, num_classes, dropout_aux, dtype) if aux_logits else None
        self.avgpool, self.flatten = AdaptiveAvgPool2d((1, 1)), Flatten()
        self.dropout = Dropout(dropout)
        self.fc = Linear(1024, num_classes, dtype=dtype)
        self.apply(_initialise)

    def forward(self, x):
        """The logits; in training with auxiliary classifiers those of all three."""
        x = self.maxpool1(self.conv1(self.transform(x)))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        auxiliary = {}
        for name in _INCEPTIONS:
            if name in _POOLED_BEFORE:
                x = getattr(self, _POOLED_BEFORE[name][0])(x)
            x = getattr(self, name)(x)
            head = getattr(self, _AUXILIARY[name]) if self.training and name in _AUXILIARY else None
            if head is not None:
                auxiliary[_AUXILIARY[name]] = head(x)
        x = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        return GoogLeNetOutputs(x, auxiliary["aux2"], auxiliary["aux1"]) if auxiliary else x


@network(Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3))
def googlenet(
    num_classes: int = 1000,
    aux_logits: bool = True,
    transform_input: bool = False,
    *,
    dropout: float = 0.2,
    dropout_aux: float = 0.7,
    dtype=None,
) -> GoogLeNet:
    """The network of C. Szegedy et al. (2014), as torchvision has it: with batch normalisation, and without 5 x 5.

    6,624,904 parameters for 1000 classes, 13,004,888 with ``aux_logits``, two more classifiers: in training the network
    then gives ``GoogLeNetOutputs(logits, aux_logits2, aux_logits1)``. Trained weights expect images normalised with
    mean and deviation 1/2, or, with ``transform_input``, with those of ImageNet. Shapes: (N, 3, H, W) ->
    (N, num_classes), from 15 x 15 on; made for 224 x 224. Raises ValueError or TypeError.

    >>> import numpy as np
    >>> googlenet(10, aux_logits=False).eval()(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 10)
    """
    return GoogLeNet(num_classes, aux_logits, transform_input, dropout, dropout_aux, dtype)


def _inception(in_channels, ones, before_threes, threes, before_others, others, pooled, *, dtype) -> Branches:
    def chain(before, maps):
        return Sequential(ConvNorm(in_channels, before, 1, dtype=dtype), ConvNorm(before, maps, 3, dtype=dtype))

    pool = MaxPool2d(3, 1, 1, ceil_mode=True)
    return Branches(
        {
            "branch1": ConvNorm(in_channels, ones, 1, dtype=dtype),
            "branch2": chain(before_threes, threes),
            "branch3": chain(before_others, others),
            "branch4": Sequential(pool, ConvNorm(in_channels, pooled, 1, dtype=dtype)),
        }
    )


class _Auxiliary(Module):
    """A classifier on maps in the middle."""

    def __init__(self, in_channels, num_classes, dropout, dtype):
        super().__init__()
        self.conv = ConvNorm(in_channels, 128, 1, dtype=dtype)
        self.fc1 = Linear(2048, 1024, dtype=dtype)
        self.fc2 = Linear(1024, num_classes, dtype=dtype)
        self.dropout = Dropout(dropout)

    def forward(self, x):
        """The logits."""
        x = functional.flatten(self.conv(functional.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(self.fc1(x, activation="relu")))


def _initialise(module: Module) -> None:
    """N(0, 0.01²), which torchvision cuts off only 200 deviations away."""
    if isinstance(module, (Conv2d, Linear)):
        init.normal_(module.weight, 0.0, 0.01)
