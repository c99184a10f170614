"""Modules that hold others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from fastconv import parameters
from fastconv.nn import fusion
from fastconv.nn.batch_norm import BatchNorm2d
from fastconv.nn.conv import Conv2d
from fastconv.nn.module import Module
from fastconv.nn.replays import Changes


class Sequential(Module):
    """Each module on the result of the one before, named by position, or by the keys of one dictionary.

    Raises TypeError for what is no Module, IndexError for a position that does not exist.

    >>> from collections import OrderedDict
    >>> from fastconv.nn import Flatten, ReLU
    >>> net = Sequential(OrderedDict(act=ReLU(), flat=Flatten()))
    >>> net
    Sequential(
      (act): ReLU()
      (flat): Flatten(start_dim=1, end_dim=-1)
    )
    >>> net[-1] is net.flat, len(net[:1])
    (True, 1)
    """

    def __init__(self, *modules: Module | dict[str, Module]):
        super().__init__()
        only = modules[0] if len(modules) == 1 else None
        named = only if isinstance(only, dict) else {str(i): module for i, module in enumerate(modules)}
        for name, module in named.items():
            if not isinstance(module, Module):
                raise TypeError(f"module {name!r} must be a fastconv.nn.Module, got {type(module).__name__}")
            self.register_module(name, module)

    def forward(self, x):
        """Run the modules in order; a rectifier in one pass with the layer before it, where that can."""
        for module, activation in fusion.rectified(self):
            x = module(x) if activation is None else module(x, activation=activation)
        return x

    def folded_pairs(self) -> list[tuple[str, str]]:
        """Names of every convolution with a batch normalisation right behind it."""
        if type(self).forward is not Sequential.forward:
            return []  # who knows what else a subclass does with the results
        named = list(self.named_children())
        return [
            (name, following)
            for (name, module), (following, behind) in pairwise(named)
            if type(module) is Conv2d and type(behind) is BatchNorm2d
        ]

    def append(self, module: Module) -> Sequential:
        """Add a module at the end, named by its position."""
        self.register_module(str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Sequential(dict(list(self.named_children())[index]))
        return self._modules[self._name(index)]

    def __setitem__(self, index, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index) -> None:
        for name in list(self._modules)[index] if isinstance(index, slice) else [self._name(index)]:
            delattr(self, name)
        if all(name.isdecimal() for name in self._modules):
            object.__setattr__(self, "_modules", {str(i): module for i, module in enumerate(self)})
            Changes.count += 1

    def _name(self, index) -> str:
        position = parameters.integer("index", index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"index {position} is out of range for {len(self)} modules")
        return list(self._modules)[position]
