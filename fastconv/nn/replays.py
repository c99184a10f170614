"""Passes of a model that are repeated without running its modules, as long as these are what they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import backends, replay
from fastconv.autograd import Tensor

if TYPE_CHECKING:
    from fastconv.nn.module import Module

# Calls with inputs of one kind before a pass is recorded: from the second on, packed weights are kept.
_CALLS = 2
# Kinds of inputs that are known at once; of more, all are forgotten.
_KINDS = 16


class Changes:
    """Counts the attributes of modules that were set: what has not been counted has not changed."""

    count = 0


@dataclass(slots=True, eq=False)
class _Pass:
    """A Replay and what it relies on: the attributes of all modules, and the values of all parameters."""

    replay: replay.Replay
    attributes: list[dict[str, Any]]
    counted: int
    versions: list[tuple[Tensor, int]]


class Replays:
    """The recorded passes of one model by the kind of their input; a copy of it knows none."""

    __slots__ = ("_seen",)

    def __init__(self):
        self._seen: dict[tuple, _Pass | int | None] = {}

    def __reduce__(self):
        return Replays, ()

    def output(self, model: Module, inputs: tuple) -> Tensor | None:
        """The output for these inputs; None where the model has to run as any other.

        A pass is recorded once the model has run some inputs of a kind, and only of modules of this package in
        evaluation, none of whose parameters asks for gradients: these do the same for all inputs of a kind.
        """
        x = _plain(inputs)
        if x is None or backends.is_listened():
            return None
        kind = x.shape, x.strides, x.dtype, backends.select().name
        found = self._seen.get(kind, 0)
        if isinstance(found, _Pass) and not _holds(found, model):
            found = 0
        if isinstance(found, int):
            if len(self._seen) >= _KINDS:
                self._seen.clear()
            found = self._seen[kind] = found + 1 if found < _CALLS else _recorded(model, x)
        out = found.replay.run(x) if isinstance(found, _Pass) else None
        return None if out is None else Tensor(out)


def _plain(inputs) -> np.ndarray | None:
    """The only input, where it is an array, or a Tensor that asks for no gradient."""
    if len(inputs) != 1:
        return None
    (x,) = inputs
    if type(x) is Tensor and not x.requires_grad:
        return x.numpy()
    return x if type(x) is np.ndarray and x.dtype.isnative and x.flags.aligned else None


def _recorded(model, x) -> _Pass | None:
    """The pass; None where this model cannot be trusted to do the same again."""
    modules, parameters = list(model.modules()), list(model.parameters())
    is_ours = all(type(module).__module__.startswith("fastconv.") for module in modules)
    is_fixed = not any(module.training or "forward" in module.__dict__ for module in modules)
    if not is_ours or not is_fixed or any(parameter.requires_grad for parameter in parameters):
        return None
    counted, attributes = Changes.count, [_attributes(module) for module in modules]
    versions = [(parameter, parameter.version) for parameter in parameters]
    try:
        found = replay.record(lambda array: model.forward(Tensor(array)).numpy(), x)
    except replay.CannotReplayError:
        return None
    return _Pass(found, attributes, counted, versions)


def _holds(found: _Pass, model) -> bool:
    """Whether everything is as it was when the pass was recorded."""
    for parameter, version in found.versions:
        if parameter.version != version or parameter.requires_grad:
            return False
    counted = Changes.count
    if counted != found.counted:
        attributes = [_attributes(module) for module in model.modules()]
        if len(attributes) != len(found.attributes) or not all(map(_are_same, attributes, found.attributes)):
            return False
        found.counted = counted
    return True


def _attributes(module) -> dict[str, Any]:
    """All attributes, and what the registries hold."""
    held = {}
    for name, value in module.__dict__.items():
        held[name] = value
        if isinstance(value, dict):
            held.update({f"{name}.{key}": item for key, item in value.items()})
    return held


def _are_same(attributes, others) -> bool:
    return attributes.keys() == others.keys() and all(attributes[name] is others[name] for name in attributes)
