"""Layers that run in one pass with the layer before them, and batch normalisation folded into a convolution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from itertools import pairwise
from typing import Any

from fastconv import functional, parameters
from fastconv.autograd import is_grad_enabled
from fastconv.functional.folding import folded_batch_norm
from fastconv.nn.activation import ReLU, ReLU6
from fastconv.nn.batch_norm import BatchNorm1d, BatchNorm2d
from fastconv.nn.conv import Conv2d
from fastconv.nn.dropout import Dropout
from fastconv.nn.flatten import Flatten
from fastconv.nn.linear import Identity, Linear
from fastconv.nn.locally_connected import LocallyConnected2d
from fastconv.nn.module import Module
from fastconv.nn.parameter import Parameter
from fastconv.nn.pooling import MaxPool2d
from fastconv.nn.replays import Replays

# Whose ``forward`` takes ``activation``; of exactly these classes, since a subclass may define another one.
_RECTIFYING = (Conv2d, LocallyConnected2d, Linear, BatchNorm1d, BatchNorm2d)
# Layers that another one may take over as its activation, and which ones do.
_ACTIVATIONS: dict[type[Module], tuple[str, tuple[type[Module], ...]]] = {
    ReLU: ("relu", _RECTIFYING),
    ReLU6: ("relu6", (Conv2d,)),
}
_Step = tuple[Callable[..., Any], str | None]


def rectified(modules: Iterable[Module]) -> list[_Step]:
    """The modules of a chain, each with the activation that it takes over from the one behind or before it."""
    chain = [module for module in modules if type(module) is not Identity]
    activations: dict[int, str | None] = dict.fromkeys(range(len(chain)))
    for position, (module, following) in enumerate(pairwise(chain)):
        activation, taking = _ACTIVATIONS.get(type(following), (None, ()))
        if type(module) in taking and _is_plain(module, following):
            behind = position + 2
            goes_behind = type(following) is ReLU and behind < len(chain) and _is_smaller_behind(module, chain[behind])
            activations[behind if goes_behind else position] = activation
            del activations[position + 1]
    return _flattened([(chain[position], activation) for position, activation in activations.items()])


def _flattened(chain: list[tuple[Module, str | None]]) -> list[_Step]:
    """The same, with layers that flatten maps themselves where nobody asks for their gradients."""
    steps: list[_Step] = []
    for module, activation in chain:
        place = _place_of_flatten(steps) if type(module) is Linear and _is_plain(module) else None
        if place is None or any(parameter.requires_grad for parameter in module.parameters()):
            steps.append((module, activation))
        else:
            steps[place:] = [(partial(module, flatten=True), activation)]
    return steps


def _place_of_flatten(steps: list[_Step]) -> int | None:
    """Where a ``Flatten`` of images stands, if nothing that changes them stands behind it."""
    for place in reversed(range(len(steps))):
        module = steps[place][0]
        if type(module) is Flatten and (module.start_dim, module.end_dim) == (1, -1) and _is_plain(module):
            return place
        if type(module) is not Dropout or module.training or not _is_plain(module):
            return None
    return None


def _is_smaller_behind(module, behind):
    """Whether the rectifier goes behind a max-pooling, which gives the same.

    Where the layer keeps its result to know what was rectified, pooling keeps a smaller one.
    """
    is_kept = type(module) is Conv2d and module.weight.requires_grad and is_grad_enabled()
    is_pooled = type(behind) is MaxPool2d and not behind.return_indices and _is_plain(behind)
    return is_kept and is_pooled and parameters.stride(behind.stride) != (1, 1)


def conv_norm(conv: Module, norm: Module, x, *, residual=None, activation: str | None = None):
    """``norm(conv(x))`` with what follows it in one pass; of a pair that ``fuse`` has folded, the convolution alone."""
    if type(norm) is BatchNorm2d and _is_plain(norm) and activation in (None, "relu"):
        return norm(conv(x), residual=residual, activation=activation)
    if type(norm) is Identity and residual is None and type(conv) is Conv2d and _is_plain(conv):
        return conv(x, activation=activation)
    out = norm(conv(x))
    if activation == "relu" and residual is not None:
        return functional.add_relu(out, residual)
    out = out if residual is None else out + residual
    return out if activation is None else getattr(functional, activation)(out)


def _is_plain(*modules: Module) -> bool:
    """Whether instances run their class's ``forward``."""
    return all("forward" not in module.__dict__ for module in modules)


def fuse(model: Module) -> Module:
    """A copy for inference in which batch normalisation is folded into the convolution before it.

    Folded are the pairs that a module names in ``folded_pairs`` (those of a ``Sequential`` it names by itself):
    weight · s and (bias − mean) · s + shift, with s = scale / √(var + eps), computed in float64. The copy is in
    evaluation mode, and none of its parameters asks for gradients; the model is not changed.

    A ``Linear`` of few outputs behind a ``Flatten`` in a ``Sequential`` reads maps whose channels lie together as they
    are: it is a convolution with a window of a whole map, whose sums have another order.

    From the third input of a shape, dtype and layout on, the copy repeats the kernel calls of an earlier pass without
    running its modules, until an attribute of one of them is set or a parameter is written. It does so only where all
    modules, the model itself among them, are of this package's classes, as those of ``Sequential`` and
    ``fastconv.models`` are, and nothing but kernels and copies computes, which batch normalisation left unfolded is
    not. A model with a class of one's own anywhere in it is folded all the same, and runs its modules for every input.
    The last line of ``fastconv.explain(copy, shape)`` says whether passes are repeated, or why not.

    Raises TypeError for what is no Module, ValueError where ``folded_pairs`` names what is none.

    >>> from fastconv.nn import Sequential
    >>> fuse(Sequential(Conv2d(3, 8, 3, bias=False), BatchNorm2d(8), ReLU()))
    Sequential(
      (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
      (1): Identity()
      (2): ReLU()
    )
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a fastconv.nn.Module, got {type(model).__name__}")
    fused = deepcopy(model).eval().requires_grad_(False)
    uses = Counter(id(child) for module in fused.modules() for child in module.children())
    weights = Counter(id(tensor) for layer in fused.modules() for tensor in layer._parameters.values())
    for module in list(fused.modules()):
        for names in module.folded_pairs():
            conv, norm = _pair(module, names)
            if not (type(conv) is Conv2d and type(norm) is BatchNorm2d and norm.num_features == conv.out_channels):
                continue
            shared = max(uses[id(conv)], uses[id(norm)], weights[id(conv.weight)]) > 1
            if norm.track_running_stats and not shared:
                _fold(conv, norm)
                setattr(module, names[1], Identity().eval())
    fused._replays = Replays()
    return fused


def _pair(module: Module, names: tuple[str, str]) -> tuple[Module, Module]:
    conv, norm = (getattr(module, name, None) for name in names)
    if not (isinstance(conv, Module) and isinstance(norm, Module)):
        raise ValueError(f"folded_pairs of {type(module).__name__} names {names!r}, which are not both modules of it")
    return conv, norm


def _fold(conv: Conv2d, norm: BatchNorm2d) -> None:
    of_norm = norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps
    weight, bias = folded_batch_norm(conv.weight, conv.bias, *of_norm)
    conv.weight, conv.bias = Parameter(weight, requires_grad=False), Parameter(bias, requires_grad=False)
