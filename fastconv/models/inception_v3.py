"""Inception v3: large windows as chains of small ones, of which one row or one column of taps is enough."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastconv import functional
from fastconv.models.blocks import Branches, ConvNorm, TransformInput
from fastconv.models.registry import Preprocessing, network
from fastconv.nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    init,
)

# Chains of convolutions (maps, window, stride); at an end two may read the same. What "branch_pool" names is pooled
# before.
_Chains = dict[str, list]


def _a(pooled) -> _Chains:
    return {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
        "branch_pool": [(pooled, 1)],
    }


def _c(maps) -> _Chains:
    row, column = (1, 7), (7, 1)
    return {
        "branch1x1": [(192, 1)],
        "branch7x7": [(maps, 1), (maps, row), (192, column)],
        "branch7x7dbl": [(maps, 1), (maps, column), (maps, row), (maps, column), (192, row)],
        "branch_pool": [(192, 1)],
    }


_B: _Chains = {"branch3x3": [(384, 3, 2)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3, 2)], "branch_pool": []}
_D: _Chains = {
    "branch3x3": [(192, 1), (320, 3, 2)],
    "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)],
    "branch_pool": [],
}
_ENDS = [(384, (1, 3)), (384, (3, 1))]
_E: _Chains = {
    "branch1x1": [(320, 1)],
    "branch3x3": [(384, 1), _ENDS],
    "branch3x3dbl": [(448, 1), (384, 3), _ENDS],
    "branch_pool": [(192, 1)],
}
# Channels in, and the chains.
_MIXED: dict[str, tuple[int, _Chains]] = {
    "Mixed_5b": (192, _a(32)),
    "Mixed_5c": (256, _a(64)),
    "Mixed_5d": (288, _a(64)),
    "Mixed_6a": (288, _B),
    "Mixed_6b": (768, _c(128)),
    "Mixed_6c": (768, _c(160)),
    "Mixed_6d": (768, _c(160)),
    "Mixed_6e": (768, _c(192)),
    "Mixed_7a": (768, _D),
    "Mixed_7b": (1280, _E),
    "Mixed_7c": (2048, _E),
}
# Behind which block the other classifier reads, in training.
_AUXILIARY = "Mixed_6e"


class InceptionOutputs(NamedTuple):
    """What Inception v3 gives in training."""

    logits: Any
    aux_logits: Any


class Inception3(Module):
    """The network that ``inception_v3`` builds."""

    def __init__(self, num_classes, aux_logits, transform_input, dropout, count_include_pad, dtype):
        super().__init__()
        self.transform = TransformInput(dtype=dtype) if transform_input else Identity()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, 2, dtype=dtype)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3, padding=0, dtype=dtype)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, dtype=dtype)
        self.maxpool1 = MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1, dtype=dtype)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3, padding=0, dtype=dtype)
        self.maxpool2 = MaxPool2d(3, 2)
        self.AuxLogits = None
        for name, (channels, chains) in _MIXED.items():
            self.register_module(name, _mixed(channels, chains, count_include_pad, dtype))
            if name == _AUXILIARY and aux_logits:
                self.AuxLogits = _Auxiliary(768, num_classes, dtype)
        self.avgpool, self.flatten = AdaptiveAvgPool2d((1, 1)), Flatten()
        self.dropout = Dropout(dropout)
        self.fc = Linear(2048, num_classes, dtype=dtype)
        self.apply(_initialise)
        if self.AuxLogits is not None:
            init.normal_(self.AuxLogits.fc.weight, 0.0, 0.001)

    def forward(self, x):
        """The logits; in training with the auxiliary classifier those of both."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(self.transform(x))))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.maxpool2(x)
        auxiliary = None
        for name in _MIXED:
            x = getattr(self, name)(x)
            if name == _AUXILIARY and self.training and self.AuxLogits is not None:
                auxiliary = self.AuxLogits(x)
        x = self.fc(self.flatten(self.dropout(self.avgpool(x))))
        return x if auxiliary is None else InceptionOutputs(x, auxiliary)


@network(Preprocessing(342, 299, mean=(0.5,) * 3, std=(0.5,) * 3))
def inception_v3(
    num_classes: int = 1000,
    aux_logits: bool = True,
    transform_input: bool = False,
    *,
    dropout: float = 0.5,
    count_include_pad: bool = True,
    dtype=None,
) -> Inception3:
    """The network of C. Szegedy et al. (2015), with windows of 1 x 7 and 7 x 1, under torchvision's names.

    27,161,264 parameters for 1000 classes, of which the auxiliary classifier of ``aux_logits`` has 3,326,696: in
    training the network then gives ``InceptionOutputs(logits, aux_logits)``. Trained weights expect images normalised
    with mean and deviation 1/2, or, with ``transform_input``, with those of ImageNet; those of Keras, average poolings
    with ``count_include_pad=False``. Shapes: (N, 3, H, W) -> (N, num_classes), from 75 x 75 on; made for 299 x 299.
    Raises ValueError or TypeError.

    >>> import numpy as np
    >>> inception_v3(10, aux_logits=False).eval()(np.zeros((1, 3, 75, 75), np.float32)).shape
    (1, 10)
    """
    return Inception3(num_classes, aux_logits, transform_input, dropout, count_include_pad, dtype)


def _mixed(in_channels: int, chains: _Chains, count_include_pad: bool, dtype) -> Branches:
    """The convolutions of all chains under their names; poolings halve the maps where the convolutions do."""
    layers: dict[str, Module] = {}
    paths = []
    for prefix, steps in chains.items():
        channels = in_channels
        path: list[tuple[str, ...]] = [("pool",)] if prefix == "branch_pool" else []
        for number, step in enumerate(steps, 1):
            name = prefix if len(steps) == 1 else f"{prefix}_{number}"
            ends = {f"{name}a": step[0], f"{name}b": step[1]} if isinstance(step, list) else {name: step}
            layers |= {end: ConvNorm(channels, *sizes, dtype=dtype) for end, sizes in ends.items()}
            channels = next(iter(ends.values()))[0]
            path.append(tuple(ends))
        paths.append(tuple(path))
    averages = bool(chains["branch_pool"])
    layers["pool"] = AvgPool2d(3, 1, 1, count_include_pad=count_include_pad) if averages else MaxPool2d(3, 2)
    return Branches(layers, tuple(paths))


class _Auxiliary(Module):
    """A classifier on maps in the middle."""

    def __init__(self, in_channels, num_classes, dtype):
        super().__init__()
        self.conv0 = ConvNorm(in_channels, 128, 1, dtype=dtype)
        self.conv1 = ConvNorm(128, 768, 5, padding=0, dtype=dtype)
        self.fc = Linear(768, num_classes, dtype=dtype)

    def forward(self, x):
        """The logits."""
        x = self.conv1(self.conv0(functional.avg_pool2d(x, 5, 3)))
        return self.fc(functional.flatten(functional.adaptive_avg_pool2d(x, (1, 1)), 1))


def _initialise(module: Module) -> None:
    """N(0, 0.1²), which torchvision cuts off only 20 deviations away."""
    if isinstance(module, (Conv2d, Linear)):
        init.normal_(module.weight, 0.0, 0.1)
