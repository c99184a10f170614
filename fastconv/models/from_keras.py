"""Keras' weights under the names and in the layouts of these networks, and the options that its graphs ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv.errors import FormatError

_ROLES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Maps that VGG's first fully connected layer reads.
_MAPS = 512
_Places = dict[str, str]


@dataclass(frozen=True)
class Conversion:
    """How the weights of one of Keras' networks become those of ours.

    ``places`` maps its layers to our modules, given the names of its layers and of our weights; ``head`` holds the
    layers that Keras leaves away without its top, ``last`` is the last of them; ``options`` build the same graph.
    ``flattened`` is the layer that reads flattened maps.
    """

    places: Callable[[Sequence[str], Sequence[str]], _Places]
    head: str
    last: str
    options: Mapping[str, Any] = field(default_factory=dict)
    flattened: str = ""

    def options_for(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The options of our constructor that give the graph of the file."""
        kernel = arrays.get("fc1.kernel")
        if not self.flattened or kernel is None or kernel.ndim != 2:
            return dict(self.options)
        return {**self.options, "pooled": math.isqrt(kernel.shape[0] // _MAPS)}

    def translate(self, arrays: Mapping[str, np.ndarray], keys: Sequence[str]) -> dict[str, np.ndarray]:
        """The state for a network whose state dict has ``keys``; what has no place in it keeps Keras' name."""
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in arrays))
        places = self.places(layers, keys)
        unknown = [layer for layer in layers if layer not in places and _is_matrix(arrays.get(f"{layer}.kernel"))]
        if self.last not in places.values() and len(unknown) == 1:  # a head that its user named
            places[unknown[0]] = self.last
        state: dict[str, np.ndarray] = {}
        for name, values in arrays.items():
            layer, _, role = name.rpartition(".")
            if layer in places and role in _ROLES:
                is_depthwise = role == "depthwise_kernel" or "depthwise" in layer
                laid_out = _laid_out(values, is_depthwise, places[layer] == self.flattened)
                state[f"{places[layer]}.{_ROLES[role]}"] = laid_out
            else:
                state[name] = values
        return state | _completed(state)


def conversion(network: str) -> Conversion:
    """That of a network by its name; raises FormatError where Keras has none such."""
    if network not in _CONVERSIONS:
        raise FormatError(f"Keras has no weights for {network}; there are some for {', '.join(_CONVERSIONS)}")
    return _CONVERSIONS[network]


def _is_matrix(kernel: np.ndarray | None) -> bool:
    return kernel is not None and kernel.ndim == 2


def _laid_out(values: np.ndarray, is_depthwise: bool, is_flattened: bool) -> np.ndarray:
    """(kH, kW, C, K) as (K, C, kH, kW); depthwise (kH, kW, C, M) as (C·M, 1, kH, kW); (inputs, K) as (K, inputs).

    Inputs that are flattened maps go from the order (H, W, C) to (C, H, W).
    """
    if values.ndim == 4 and is_depthwise:
        kH, kW, channels, multiplier = values.shape
        return np.ascontiguousarray(values.transpose(2, 3, 0, 1)).reshape(channels * multiplier, 1, kH, kW)
    if values.ndim == 4:
        return np.ascontiguousarray(values.transpose(3, 2, 0, 1))
    if values.ndim != 2:
        return values
    side = math.isqrt(values.shape[0] // _MAPS)
    if is_flattened and side * side * _MAPS == values.shape[0]:
        maps = values.reshape(side, side, _MAPS, values.shape[1]).transpose(3, 2, 0, 1)
        return np.ascontiguousarray(maps).reshape(values.shape[::-1])
    return np.ascontiguousarray(values.T)


def _completed(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scales of normalisations where all are 1, which Keras does not store."""
    variances = {name.rpartition(".")[0]: values for name, values in state.items() if name.endswith(".running_var")}
    return {
        f"{module}.weight": np.ones_like(values)
        for module, values in variances.items()
        if f"{module}.weight" not in state
    }


def _by_pattern(pattern: str, place: Callable[[re.Match], str], fixed: _Places) -> Callable[..., _Places]:
    """Layers whose names match, and some others."""

    def places(layers: Sequence[str], keys: Sequence[str]) -> _Places:
        found = {layer: re.fullmatch(pattern, layer) for layer in layers}
        return {layer: place(match) for layer, match in found.items() if match} | fixed

    return places


def _resnet_place(match: re.Match) -> str:
    stage, block, number, kind = match.groups()
    which = f"downsample.{int(kind == 'bn')}" if number == "0" else f"{kind}{number}"
    return f"layer{int(stage) - 1}.{int(block) - 1}.{which}"


def _mobilenet_place(match: re.Match) -> str:
    number, kind, normalisation = match.groups()
    block = int(number or 0)
    position = ("expand", "depthwise", "project").index(kind) - (block == 0)
    second = int(normalisation is not None)
    which = f"{position + second}" if kind == "project" else f"{position}.{second}"
    return f"features.{block + 1}.conv.{which}"


def _vgg_places(layers: Sequence[str], keys: Sequence[str]) -> _Places:
    convolutions = sorted(layer for layer in layers if re.fullmatch(r"block\d_conv\d", layer))
    modules = _owners(keys, r"features\.\d+")
    fixed = {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}
    return dict(zip(convolutions, modules, strict=False)) | fixed


def _inception_places(layers: Sequence[str], keys: Sequence[str]) -> _Places:
    """By the order in which layers were made: Keras numbers them, from any number on."""
    places = {"predictions": "fc"}
    for kind, module in (("conv2d", "conv"), ("batch_normalization", "bn")):
        numbers = {layer: re.fullmatch(rf"{kind}(?:_(\d+))?", layer) for layer in layers}
        numbered = sorted((int(match[1] or 0), layer) for layer, match in numbers.items() if match)
        modules = _owners(keys, rf"(?!AuxLogits).*\.{module}")
        places |= dict(zip((layer for _, layer in numbered), modules, strict=False))
    return places


def _owners(keys: Iterable[str], pattern: str) -> list[str]:
    """The modules that have a weight and whose names match, in their order."""
    owners = (key.removesuffix(".weight") for key in keys if key.endswith(".weight"))
    return [owner for owner in owners if re.fullmatch(pattern, owner)]


_RESNET = Conversion(
    _by_pattern(
        r"conv([2-5])_block(\d+)_([0-3])_(conv|bn)",
        _resnet_place,
        {"conv1_conv": "conv1", "conv1_bn": "bn1", "predictions": "fc"},
    ),
    head="fc",
    last="fc",
    options={"stride_in_1x1": True, "bias": True, "eps": 1.001e-5},
)
_VGG = Conversion(_vgg_places, head="classifier", last="classifier.6", flattened="classifier.0")
_CONVERSIONS = {
    **dict.fromkeys(("resnet50", "resnet101", "resnet152"), _RESNET),
    **dict.fromkeys(("vgg16", "vgg19"), _VGG),
    "inception_v3": Conversion(
        _inception_places, head="fc", last="fc", options={"aux_logits": False, "count_include_pad": False}
    ),
    "mobilenet_v2": Conversion(
        _by_pattern(
            r"(?:expanded_conv|block_(\d+))_(expand|depthwise|project)(_BN)?",
            _mobilenet_place,
            {
                "Conv1": "features.0.0",
                "bn_Conv1": "features.0.1",
                "Conv_1": "features.18.0",
                "Conv_1_bn": "features.18.1",
                "predictions": "classifier.1",
            },
        ),
        head="classifier",
        last="classifier.1",
        options={"pad_behind": True, "eps": 1e-3},
    ),
}
