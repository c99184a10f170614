"""Which networks there are, what each expects of an image, and where weights enter a constructor."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastconv.nn import Module


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an input: its shorter side is resized, the centre cropped, channels scaled to N(0, 1).

    ``resize`` and ``crop`` are pixels, ``mean`` and ``std`` of red, green and blue values in 0..1. The defaults
    are those of the ImageNet training set, on which torchvision's weights were trained.
    """

    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Network:
    """A registered constructor and what its inputs are."""

    build: Callable[..., Module]
    preprocessing: Preprocessing


_networks: dict[str, Network] = {}


def network(preprocessing: Preprocessing = Preprocessing()) -> Callable:
    """Decorator of a constructor: registers it under its name, and gives it the argument ``weights``.

    ``weights`` is the path of a file, of any format that ``fastconv.weights.load`` reads, or a name on the Hugging Face
    hub such as "timm/resnet18.tv_in1k"; values then come from there and are not drawn, and the file decides about
    ``num_classes`` and other options that are not given.
    """

    def register(build: Callable[..., Module]) -> Callable[..., Module]:
        @functools.wraps(build)
        def constructor(*args: Any, weights=None, **options: Any) -> Module:
            if weights is None:
                return built(build, args, options)
            from fastconv.models import pretrained

            return pretrained.load(build, args, options, weights)

        given = inspect.signature(build)
        added = inspect.Parameter("weights", inspect.Parameter.KEYWORD_ONLY, default=None)
        listed = sorted([*given.parameters.values(), added], key=lambda parameter: parameter.kind)
        constructor.__signature__ = given.replace(parameters=listed)  # type: ignore[attr-defined]
        _networks[build.__name__] = Network(constructor, preprocessing)
        return constructor

    return register


def built(build: Callable[..., Module], args: Sequence[Any], options: Mapping[str, Any]) -> Module:
    """The network of a constructor, which remembers the numbers that this was told."""
    model = build(*args, **options)
    told = {**inspect.signature(build).bind_partial(*args).arguments, **options}
    # A tuple, which nobody changes: replays watch what may change.
    model._built_with = tuple((name, value) for name, value in told.items() if isinstance(value, (bool, int, float)))
    return model


def options_of(model: Module) -> dict[str, bool | int | float]:
    """The numbers that a network's constructor was told, by its caller or by a file; none for other models.

    >>> options_of(create("mobilenet_v2", 10, eps=1e-3))
    {'num_classes': 10, 'eps': 0.001}
    """
    return dict(vars(model).get("_built_with", ()))


def names() -> list[str]:
    """The names that ``create`` knows, in alphabetical order."""
    return sorted(_networks)


def create(name: str, *args: Any, **options: Any) -> Module:
    """The network of a name, built with the arguments of its constructor; raises ValueError for an unknown name.

    >>> type(create("lenet5")).__name__
    'Sequential'
    """
    return find(name).build(*args, **options)


def preprocessing(name: str) -> Preprocessing:
    """What the network of a name expects of an image; raises ValueError for an unknown name.

    >>> preprocessing("resnet18").crop
    224
    """
    return find(name).preprocessing


def find(name: str) -> Network:
    """The registered network of a name; raises ValueError for an unknown one."""
    if name not in _networks:
        raise ValueError(f"unknown network {name!r}; there are {', '.join(names())}")
    return _networks[name]
