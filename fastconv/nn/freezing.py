"""Layers that training leaves as they are."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from fastconv.nn.module import Module


def freeze(model: Module, until: str | None = None) -> Module:
    """Leave everything up to and including the module ``until`` as it is, or everything for None; returns the model.

    The order is that of ``named_modules``, in which networks register what they run first; a dotted name reaches into
    a module, and those around it stay trainable but for what comes before. Frozen modules stay in evaluation mode
    whatever ``train()`` says, so that batch normalisation keeps its statistics and dropout drops nothing. Their
    parameters have and ask for no gradients: nothing is kept for backward and no gradient computed up to there.
    Modules that are frozen already stay so. Raises ValueError, naming similar ones, where there is no such module, or
    TypeError.

    >>> from fastconv.nn import BatchNorm2d, Conv2d, Sequential
    >>> net = freeze(Sequential({"conv": Conv2d(3, 8, 3), "norm": BatchNorm2d(8), "last": Conv2d(8, 8, 3)}), "norm")
    >>> net.train().norm.training, [name for name, p in net.named_parameters() if p.requires_grad]
    (False, ['last.weight', 'last.bias'])
    """
    for module in list(_up_to(model, until)):
        module._frozen = True
        module.training = False
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
            parameter.grad = None  # with the one it has, an optimiser would move it once more
    return model


def unfreeze(model: Module, name: str | None = None) -> Module:
    """Let the module of this name and all below it be trained again, or the whole model for None; returns the model.

    All of their parameters ask for gradients then; their mode changes with the next ``train()``. Raises what ``freeze``
    raises.

    >>> from fastconv.nn import Linear, Sequential
    >>> unfreeze(freeze(Sequential(Linear(2, 2)))).train()[0].training
    True
    """
    for module in module_of(model, name).modules():
        module._frozen = False
    module_of(model, name).requires_grad_(True)
    return model


def module_of(model: Module, name: str | None) -> Module:
    """The module of a dotted name, the model itself for None; raises ValueError, naming similar ones, or TypeError."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a fastconv.nn.Module, got {type(model).__name__}")
    if name is None:
        return model
    if not isinstance(name, str):
        raise TypeError(f"the name of a module must be a str or None, got {name!r}")
    known = {path: module for path, module in model.named_modules() if path}
    if name not in known:
        similar = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or list(model._modules)
        there = f"there are {', '.join(map(repr, similar))}" if similar else "it has none"
        raise ValueError(f"{type(model).__name__} has no module {name!r}; {there}")
    return known[name]


def _up_to(model: Module, until: str | None) -> Iterator[Module]:
    """The modules in order, up to the last one inside ``until``, without those that hold it."""
    last = module_of(model, until)
    if until is None:
        yield from model.modules()
        return
    for path, module in model.named_modules():
        if module is last:
            yield from last.modules()
            return
        if path and not until.startswith(f"{path}."):
            yield module
