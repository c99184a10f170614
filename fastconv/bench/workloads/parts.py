"""What a network consists of: its layers in the order in which they run, and the branches of residual blocks.

Contestants of other libraries and the answer in float64 are built from this, so that no network is written twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastconv import nn


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer and its name in the network, under which the state dict has its parameters."""

    name: str
    module: nn.Module

    @property
    def kind(self) -> str:
        """The name of its class, which it shares with that of other libraries."""
        return type(self.module).__name__

    def key(self, parameter: str) -> str:
        """The name of one of its parameters in the state dict of the network."""
        return f"{self.name}.{parameter}"


@dataclass(frozen=True, slots=True)
class Residual:
    """The sum of two branches over one input; an empty branch hands it on."""

    main: tuple[Part, ...]
    shortcut: tuple[Part, ...]


Part = Layer | Residual

# The order of networks that are no Sequential, as torchvision names their children; what has no name has no child.
_ORDERS = (
    ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "flatten", "fc"),
    ("features", "avgpool", "flatten", "classifier"),
)
_MAIN, _SHORTCUT = ("conv1", "bn1", "relu", "conv2", "bn2"), "downsample"
_IMPLIED = {"relu": nn.ReLU, "flatten": nn.Flatten}


def of(network: nn.Module) -> tuple[Part, ...]:
    """The parts of a network; raises TypeError for a module of which nobody knows in which order it runs what."""
    return tuple(_walk("", network))


def layers(parts: tuple[Part, ...]) -> Iterator[Layer]:
    """All layers, those of residual blocks among them."""
    for part in parts:
        if isinstance(part, Residual):
            yield from layers(part.main)
            yield from layers(part.shortcut)
        else:
            yield part


def _walk(name: str, module: nn.Module) -> Iterator[Part]:
    children = dict(module.named_children())
    if not children and not isinstance(module, nn.Sequential):
        yield Layer(name, module)
    elif isinstance(module, nn.Sequential):
        yield from _in_order(name, children, children)
    elif set(_MAIN) - set(_IMPLIED) <= set(children) <= {*_MAIN, _SHORTCUT}:
        shortcut = (_SHORTCUT,) if _SHORTCUT in children else ()
        yield Residual(tuple(_in_order(name, _MAIN, children)), tuple(_in_order(name, shortcut, children)))
        yield from _in_order(name, ("relu",), children)
    else:
        order = next((order for order in _ORDERS if set(order) - set(_IMPLIED) <= set(children) <= set(order)), None)
        if order is None:
            raise TypeError(f"nobody knows in which order {type(module).__name__} runs {', '.join(children)}")
        yield from _in_order(name, order, children)


def _in_order(prefix, names, children):
    for name in names:
        module = children[name] if name in children else _IMPLIED[name]()
        yield from _walk(f"{prefix}.{name}" if prefix else name, module)
