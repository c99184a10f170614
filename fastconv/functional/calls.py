"""What is decided about a call before its arrays are read: once, then found by shapes, dtypes and parameters."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from fastconv._kernels.contract import Problem
from fastconv.backends import Task
from fastconv.dtypes import FloatType

_NOTHING: frozenset[str] = frozenset()
# What cannot be changed while it is kept; tuples of these, too.
_IMMUTABLE = (int, bool, str, type(None))
# Above this the oldest are not worth finding: everything is forgotten at once.
_LIMIT = 1024


class Call:
    """The checked geometry of a call, and its tasks for the backends."""

    __slots__ = ("_tasks", "batched", "dtype", "geometry", "out_shape", "parameters")
    parameters: list[Any]

    def __init__(self, geometry: Any, dtype: FloatType, batched: bool):
        self.geometry = geometry
        self.dtype = dtype
        self.batched = batched
        self.out_shape = geometry.out_shape
        self._tasks: dict[tuple, Task] = {}

    def task(
        self,
        op: str,
        formats: tuple[str, ...],
        optional: frozenset[str] = _NOTHING,
        activation: str | None = None,
    ) -> Task:
        """The task for operands in these memory formats."""
        key = (op, formats, optional, activation)
        task = self._tasks.get(key)
        if task is None:
            problem = Problem(self.geometry, self.dtype.name, formats, optional, activation=activation)
            task = self._tasks[key] = Task(op, problem)
        return task


AnyCall = TypeVar("AnyCall", bound=Call)


class Calls(dict[tuple, AnyCall], Generic[AnyCall]):
    """Checked calls by shapes, dtypes and the identities of the parameters.

    By identity, because True, 1 and 1.0 are equal and only one of them is right; so each Call keeps its parameters
    alive, and calls with parameters that could change are not kept.
    """

    def keep(self, key: tuple, parameters: list, call: AnyCall) -> None:
        """Keep a call for those that come with the same key."""
        if all(map(_is_immutable, parameters)):
            if len(self) >= _LIMIT:
                self.clear()
            call.parameters = parameters
            self[key] = call


def _is_immutable(value) -> bool:
    return type(value) in _IMMUTABLE or (type(value) is tuple and all(map(_is_immutable, value)))
