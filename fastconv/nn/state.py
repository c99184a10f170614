"""The state of a module: which Tensors belong to it, and how other values are put in their place."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastconv import arrays
from fastconv.autograd import Tensor, no_grad, unwrap
from fastconv.errors import ShapeError

if TYPE_CHECKING:
    from fastconv.nn.module import Module


class LoadResult(NamedTuple):
    """The keys that the state lacked, and those that the module lacks; both empty after strict loading."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"LoadResult(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def entries(module: Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Names and Tensors of the parameters and persistent buffers; a shared one comes under each of its names."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield prefix + name, parameter
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._transient:
            yield prefix + name, buffer
    for name, child in module.named_children():
        yield from entries(child, f"{prefix}{name}.")


def load(module: Module, state: Mapping[str, Any], strict: bool, assign: bool = False) -> LoadResult:
    """Check everything, then copy or assign; see ``Module.load_state_dict``."""
    if not isinstance(state, Mapping):
        raise TypeError(f"expected a mapping from names to arrays, got a {type(state).__name__}")
    targets = dict(entries(module))
    missing = [name for name in targets if name not in state]
    unexpected = [name for name in state if name not in targets]
    problems = [f"missing key {name!r}" for name in missing] if strict else []
    problems += [f"unexpected key {name!r}" for name in unexpected] if strict else []
    values = {}
    for name, target in targets.items():
        if name in state:
            values[name], reason = _fitting(state[name], target)
            problems += [f"{name!r}: {reason}"] if reason else []
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ShapeError(f"error(s) in loading state_dict for {type(module).__name__}:{lines}")
    with no_grad():
        if assign:
            _assign(values, targets)
        else:
            for name, value in values.items():
                targets[name].copy_(value)
    return LoadResult(missing, unexpected)


def _fitting(value: Any, target: Tensor) -> tuple[Any, str]:
    """The value as an array, and why it cannot be copied into the target, or an empty text."""
    try:
        array = arrays.as_array(unwrap(value), "the value", anywhere=True)
    except TypeError as error:
        return None, str(error)
    if array.shape != target.shape:
        return None, f"size mismatch: shape {array.shape} in the state, {target.shape} in the module"
    if not np.can_cast(array.dtype, target.dtype, "same_kind"):
        return None, f"dtype {array.dtype} in the state cannot be cast to {target.dtype}"
    return array, ""


def _assign(values: Mapping[str, Any], targets: Mapping[str, Tensor]) -> None:
    """Have the Tensors hold their values, no two of them the same memory: a write to one would change both.

    What is held lies in order of addresses, without overlap, so that only neighbours need to be looked at.
    """
    spans: list[_Span] = []
    for name, value in values.items():
        target = targets[name]
        held = _held(value, target)
        device, begin = arrays.address(held)
        span = _Span(device, begin, begin + held.nbytes, target)
        position = bisect.bisect(spans, span[:2], key=lambda other: other[:2])
        if any(other.overlaps(span) for other in spans[max(position - 1, 0) : position + 1]):
            held = arrays.copied(held, held.dtype)
        elif held.nbytes:
            spans.insert(position, span)
        target.hold_(held)


class _Span(NamedTuple):
    """The memory that a Tensor was given."""

    device: str
    begin: int
    end: int
    owner: Tensor

    def overlaps(self, other: _Span) -> bool:
        """Whether another Tensor was given some of it; one that has several names may have the same twice."""
        meet = self.device == other.device and self.begin < other.end and other.begin < self.end
        return meet and self.owner is not other.owner


def _held(value: Any, target: Tensor) -> Any:
    """The value itself where the target can hold it: its dtype, its device, dense, open to writes; else a copy."""
    moved = arrays.moved(value, target.device)
    fits = moved.dtype == target.dtype and moved.flags.c_contiguous and arrays.is_writeable(moved)
    return moved if fits else arrays.copied(moved, target.dtype)
