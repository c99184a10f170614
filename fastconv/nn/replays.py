"""Passes of a model that are repeated without running its modules, as long as these are what they were."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import arrays, backends, replay
from fastconv.autograd import Tensor, Version, unwrap
from fastconv.errors import CannotReplayError

if TYPE_CHECKING:
    from fastconv.nn.module import Module

# Calls with inputs of one kind before a pass is recorded, at first: from the second on, packed weights are kept.
_CALLS = 2
# Twice as many after every pass that could not be recorded or did not last, so that trying costs little.
_MOST_CALLS = 1 << 12
# Kinds of inputs that are known at once; of more, the oldest is forgotten.
_KINDS = 16
# Calls in a row that found a pass busy, after which nobody is thought to run it: an interrupt may have left it so.
_BUSY_CALLS = 1000
# Attributes that hold others, and those that no pass depends on.
REGISTRIES = ("_parameters", "_buffers", "_modules")
_IGNORED = ("_replays", "_transient")
# What nobody can change in place, or only so that it is counted.
_FIXED = (int, float, str, bytes, type(None), np.dtype, np.generic, Tensor)


_Attributes = list[tuple[str, Any]]


class Changes:
    """Counts the attributes of modules that were set, after they were: what has not been counted has not changed."""

    count = 0


@dataclass(slots=True, eq=False)
class _Pass:
    """A Replay and what it relies on: the attributes of all modules, and the values of all parameters."""

    replay: replay.Replay
    attributes: list[_Attributes]
    counted: int
    versions: list[tuple[Tensor, int]]
    latest: int
    busy_calls: int = 0


class Replays:
    """The recorded passes of one model by the kind of their input; a copy of it knows none."""

    __slots__ = ("__weakref__", "_calls", "_model", "_seen")

    def __init__(self):
        self._model: weakref.ref[Module] | None = None
        # A number counts calls of a kind whose pass is not recorded.
        self._seen: dict[tuple, _Pass | int] = {}
        self._calls = _CALLS
        backends.packed_weights.tell(self)

    def __reduce__(self):
        return Replays, ()

    def output(self, model: Module, inputs: tuple) -> Tensor | None:
        """The output for these inputs; None where the model has to run as any other.

        A pass is recorded once the model has run some inputs of a kind, and only of modules of this package in
        evaluation, none of whose parameters asks for gradients: these do the same for all inputs of a kind.
        """
        x = _plain(inputs)
        if x is None or backends.is_listened() or not self._belongs_to(model):
            return None
        kind = _kind(x)
        found = self._seen.get(kind, 0)
        if isinstance(found, _Pass) and not _holds(found, model):
            found = self._given_up(kind)
        if isinstance(found, int):
            found = self._next(kind, found, model, x)
        out = found.replay.run(x) if isinstance(found, _Pass) else None
        if isinstance(found, _Pass):
            found.busy_calls = 0 if out is not None else found.busy_calls + 1
        return None if out is None else Tensor(out)

    def refusal(self, model: Module, inputs: tuple) -> str | None:
        """Why passes of such inputs are not repeated; None where they are, or will be once they have come often enough.

        What is not recorded yet is recorded on trial, which runs the modules twice more.
        """
        x = _plain(inputs)
        if x is None:
            return "it is given something else than one array that asks for no gradient"
        if not self._belongs_to(model):
            return "it is a shallow copy of the model that was fused"
        found = self._seen.get(_kind(x))
        if isinstance(found, _Pass) and _holds(found, model):
            return None
        try:
            _recorded(model, x)
        except (CannotReplayError, MemoryError) as error:
            return str(error)
        return None

    def forget(self) -> None:
        """Record all passes again: packed weights that they hold are to go."""
        if any(isinstance(found, _Pass) for found in self._seen.values()):
            self._calls = min(2 * self._calls, _MOST_CALLS)
            self._seen = {}

    def _belongs_to(self, model):
        """Whether no copy shares this object with the model that it was made for."""
        if self._model is None:
            self._model = weakref.ref(model)
        return self._model() is model

    def _next(self, kind, calls, model, x) -> _Pass | int:
        """One more call of a kind: its number, or the pass where it was time to record it."""
        if kind not in self._seen and len(self._seen) >= _KINDS:
            self._seen.pop(next(iter(self._seen)), None)
        try:
            found: _Pass | int = calls + 1 if calls < self._calls else _recorded(model, x)
        except (CannotReplayError, MemoryError):
            return self._given_up(kind)
        self._seen[kind] = found
        return found

    def _given_up(self, kind) -> int:
        self._calls = min(2 * self._calls, _MOST_CALLS)
        self._seen[kind] = 0
        return 0


def _plain(inputs) -> np.ndarray | None:
    """The only input, where it is an array, or a Tensor that asks for no gradient."""
    if len(inputs) != 1:
        return None
    (x,) = inputs
    if type(x) is Tensor and not x.requires_grad:
        x = unwrap(x)
    return x if type(x) is np.ndarray and x.dtype.isnative and x.flags.aligned else None


def _kind(x) -> tuple:
    kernels = backends.select()
    return x.shape, x.strides, x.dtype, kernels.name, kernels.precision


def _recorded(model, x) -> _Pass:
    """The pass; raises CannotReplayError where this model cannot be trusted to do the same again."""
    counted, attributes = Changes.count, [_attributes(module) for module in model.modules()]
    latest, versions = Version.latest, [(parameter, parameter.version) for parameter in model.parameters()]
    for (path, module), held in zip(model.named_modules(), attributes, strict=True):
        _check_trusted(f"module {path!r} ({type(module).__name__})" if path else type(module).__name__, module, held)
    for path, parameter in model.named_parameters():
        if parameter.requires_grad:
            raise CannotReplayError(f"parameter {path!r} asks for gradients")
    if any(arrays.may_share_memory(x, unwrap(held)) for held in (*model.parameters(), *model.buffers())):
        raise CannotReplayError("the input shares memory with a weight")

    def forward(array):
        out = model.forward(Tensor(array))
        if type(out) is not Tensor:
            raise CannotReplayError(f"the model returns a {type(out).__name__}")
        return out.numpy()

    return _Pass(replay.record(forward, x), attributes, counted, versions, latest)


def _check_trusted(name: str, module: Module, held: _Attributes) -> None:
    """Raise where a module may do something else for the next input, or may change unseen."""
    if not type(module).__module__.startswith("fastconv."):
        raise CannotReplayError(f"{name} is no class of fastconv, and may do something else for every input")
    if module.training:
        raise CannotReplayError(f"{name} is in training mode")
    for attribute, value in held:
        if not _is_fixed(value, attribute):
            raise CannotReplayError(f"{attribute!r} of {name} is a {type(value).__name__}, which may change unseen")


def _holds(found: _Pass, model) -> bool:
    """Whether everything is as it was when the pass was recorded."""
    latest = Version.latest
    if latest != found.latest:
        if any(parameter.version != version or parameter.requires_grad for parameter, version in found.versions):
            return False
        found.latest = latest
    counted = Changes.count
    if counted != found.counted:
        attributes = [_attributes(module) for module in model.modules()]
        if len(attributes) != len(found.attributes) or not all(map(_are_same, attributes, found.attributes)):
            return False
        found.counted = counted
    return found.busy_calls < _BUSY_CALLS


def _attributes(module) -> _Attributes:
    """The class, and all that makes up a module, in order: one module may stand in several places."""
    held: _Attributes = [("__class__", type(module))]
    for name, value in module.__dict__.items():
        if name in REGISTRIES:
            held += [(f"{name}.{key}", item) for key, item in value.items()]
        elif name not in _IGNORED:
            held.append((name, value))
    return held


def _are_same(attributes, others) -> bool:
    if len(attributes) != len(others):
        return False
    return all(
        name == other_name and value is other
        for (name, value), (other_name, other) in zip(attributes, others, strict=True)
    )


def _is_fixed(value, name: str) -> bool:
    """Whether an attribute cannot be changed but by setting it."""
    if isinstance(value, tuple):
        return all(_is_fixed(item, name) for item in value)
    return isinstance(value, _FIXED) or name == "__class__" or name.startswith("_modules.")
