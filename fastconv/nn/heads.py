"""The last layer of a network, which says how many classes it tells apart."""

from __future__ import annotations

from fastconv import dtypes, parameters
from fastconv.nn.conv import Conv2d
from fastconv.nn.freezing import module_of
from fastconv.nn.linear import Linear
from fastconv.nn.module import Module

# How the names of classifiers begin that only help while the layers before them are trained.
_AUXILIARY = "aux"


def head_names(model: Module) -> list[str]:
    """The name of the layer that tells the classes apart, then those of auxiliary classifiers.

    It is the last ``Linear``, or, where there is none, the last 1 x 1 convolution, as in SqueezeNet; auxiliary
    classifiers are in modules whose names begin with "aux", as in GoogLeNet. Raises ValueError where there is none.

    >>> from fastconv.nn import Flatten, ReLU, Sequential
    >>> head_names(Sequential({"flatten": Flatten(), "fc1": Linear(8, 4), "relu": ReLU(), "fc2": Linear(4, 3)}))
    ['fc2']
    """
    module_of(model, None)
    auxiliary = [name for name, _ in model.named_children() if name.lower().startswith(_AUXILIARY)]
    layers = dict(model.named_modules())
    main = _last({name: layer for name, layer in layers.items() if name.split(".")[0] not in auxiliary})
    if not main:
        raise ValueError(f"{type(model).__name__} holds neither a Linear nor a 1x1 Conv2d that could be its head")
    helpers = (
        _last({path: layer for path, layer in layers.items() if path.split(".")[0] == name}) for name in auxiliary
    )
    return [main, *filter(None, helpers)]


def replace_head(model: Module, num_classes: int) -> list[str]:
    """Put a freshly drawn layer for ``num_classes`` in the place of the head, and of auxiliary ones; returns the names.

    The new layers read what the old ones did, in their dtype, on their device, and are not frozen, even where the
    model is. Raises ValueError where the model has no head, or TypeError.

    >>> from fastconv.nn import Flatten, Sequential
    >>> net = Sequential({"flatten": Flatten(), "fc": Linear(8, 1000)})
    >>> replace_head(net, 5), net.fc
    (['fc'], Linear(in_features=8, out_features=5, bias=True))
    """
    count, names = parameters.positive_int("num_classes", num_classes), head_names(model)
    layers = [_like(module_of(model, name), count) for name in names]
    for name, layer in zip(names, layers, strict=True):
        parent, _, attribute = name.rpartition(".")
        setattr(module_of(model, parent or None), attribute, layer)
    return names


def _last(layers: dict[str, Module]) -> str | None:
    for kind in (_is_linear, _is_pointwise):
        found = [name for name, layer in layers.items() if name and kind(layer)]
        if found:
            return found[-1]
    return None


def _is_linear(layer: Module) -> bool:
    return isinstance(layer, Linear)


def _is_pointwise(layer: Module) -> bool:
    return isinstance(layer, Conv2d) and layer.kernel_size == (1, 1)


def _like(old: Module, count: int) -> Module:
    has_bias, weight = old.bias is not None, old.weight
    drawn = weight.dtype if dtypes.is_supported(weight.dtype) else None  # half precision is drawn in single
    new: Module
    if isinstance(old, Linear):
        new = Linear(old.in_features, count, has_bias, dtype=drawn)
    else:
        new = Conv2d(old.in_channels, count, 1, old.stride, old.padding, bias=has_bias, dtype=drawn)
    return new.to(weight.device, weight.dtype)
