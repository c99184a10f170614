"""The kernel calls of a pass over one array, recorded once and repeated for other arrays of its kind.

What lies between two calls (finding shapes, checks, modules) takes some ten microseconds of Python; a repeated call
takes one or two.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastconv import arrays, backends
from fastconv._kernels import buffers, contract

_LINE = 64


class CannotReplayError(Exception):
    """Why a pass cannot be repeated."""


@dataclass(slots=True, eq=False)
class _Region:
    """Memory that a call fills: its addresses, the first and the last call that see it, its place among all others."""

    low: int
    high: int
    first: int
    last: int
    offset: int = 0


class _Operand(NamedTuple):
    """One array of a call: where it begins in some memory, and how it lies there."""

    region: _Region
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    def shown_in(self, memory: np.ndarray) -> np.ndarray:
        """The same operand in other memory, which is in C order."""
        return np.ndarray(self.shape, self.dtype, memory, self.region.offset + self.offset, self.strides)


class _Step(NamedTuple):
    """``call(*operands)``, after those that show the input and the result have been filled in, by their positions."""

    call: Callable[..., int]
    operands: list[Any]
    of_input: list[tuple[int, _Operand]]
    of_result: list[tuple[int, _Operand]]


@dataclass(slots=True, eq=False)
class _Launch:
    """``call(*operands)``, whose last ``outputs`` operands are filled."""

    call: Callable[..., int]
    operands: list[np.ndarray]
    outputs: int


class _Log(backends.Listener):
    """Everything that happens in a pass; holds all arrays, so that no two of them have the same address."""

    def __init__(self):
        self.launches: list[_Launch] = []

    def launched(self, kernels, task, kernel, weight, run, operands):
        """A kernel call."""
        if task.op.endswith("_"):
            raise CannotReplayError(f"{task.op} changes what it reads")
        operation, present = contract.OPERATIONS[task.op], task.problem.optional
        outputs = [name for name in operation.outputs if name not in operation.optional or name in present]
        self.launches.append(_Launch(run, operands, len(outputs)))

    def copied(self, source, target):
        """A copy, which is a call, too."""
        self.launches.append(_Launch(_copy, [source, target.reshape(source.shape)], 1))


def _copy(source: np.ndarray, target: np.ndarray) -> int:
    np.copyto(target, source)
    return contract.OK


class Replay:
    """A recorded pass. Its memory for what lies between two calls is its own: one thread at a time runs it."""

    __slots__ = ("_busy", "_layout", "_result", "_steps")

    def __init__(self, steps: list[_Step], layout: str, result: _Operand):
        self._steps, self._layout, self._result = steps, layout, result
        self._busy = threading.Lock()

    def run(self, x: np.ndarray) -> np.ndarray | None:
        """What the pass gives for an array of the same shape, strides and dtype; None where another thread runs it."""
        if not self._busy.acquire(blocking=False):
            return None
        try:
            region = self._result.region
            out = arrays.empty((region.high - region.low,), np.dtype(np.uint8))
            self._run(arrays.stored(x, self._layout), out)
        finally:
            self._forget()
            self._busy.release()
        return self._result.shown_in(out)

    def _run(self, x, out):
        for call, operands, of_input, of_result in self._steps:
            for position, operand in of_input:
                operands[position] = operand.shown_in(x)
            for position, operand in of_result:
                operands[position] = operand.shown_in(out)
            if call(*operands) == contract.OUT_OF_MEMORY:
                raise MemoryError("no memory for the workspace of a kernel")

    def _forget(self):
        """What users hold, only they hold."""
        for _, operands, of_input, of_result in self._steps:
            for position, _ in (*of_input, *of_result):
                operands[position] = None


def record(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> tuple[np.ndarray, Replay]:
    """The result of ``function(x)`` and its Replay, which gave the same bits.

    Arrays that two passes find at the same place are held by somebody else, who must see to it that they keep their
    values. Raises CannotReplayError where something but kernels fills an array.
    """
    layout = arrays.memory_format(x)
    if layout is None or not x.size:
        raise CannotReplayError("the input is in no memory format, or empty")
    first, _ = _logged(function, x)
    log, out = _logged(function, x)
    if [launch.call for launch in first] != [launch.call for launch in log]:
        raise CannotReplayError("two passes called different kernels")
    found = Replay(*_Pass(x, first, log, out).steps(layout))
    again = found.run(x)
    if again is None or again.tobytes() != out.tobytes():
        raise CannotReplayError("the recorded calls alone gave another result")
    return out, found


def _logged(function, x):
    log = _Log()
    with backends.listening(log):
        out = function(x)
    if not log.launches:
        raise CannotReplayError("no kernel ran")
    return log.launches, out


class _Pass:
    """Finds out for every operand whose memory it shows: the input's, that of an earlier call, or somebody else's."""

    def __init__(self, x, before: list[_Launch], log: list[_Launch], out: np.ndarray):
        self._before, self._log, self._out = before, log, out
        self._input = _Region(*_bounds(x), -1, -1)
        self._regions: list[_Region] = []

    def steps(self, layout: str) -> tuple[list[_Step], str, _Operand]:
        """The parts of a Replay."""
        placed = [[self._read(*place) for place in self._places(number)] for number in range(len(self._log))]
        result = self._found(self._out, len(placed), self._regions)
        if result is None:
            raise CannotReplayError("the result was filled by no kernel")
        arena = buffers.aligned_bytes(_placed([region for region in self._regions if region is not result.region]))
        calls = [launch.call for launch in self._log]
        steps = [self._bound(call, given, result.region, arena) for call, given in zip(calls, placed, strict=True)]
        return steps, layout, result

    def _places(self, number):
        """(number, position) of all operands of a call, after the memory of those that it fills is known."""
        launch = self._log[number]
        for array in launch.operands[len(launch.operands) - launch.outputs :]:
            if self._found(array, number, self._regions) is None:
                low, high = _bounds(array)
                if any(region.low < high and low < region.high for region in (*self._regions, self._input)):
                    raise CannotReplayError(f"call {number} fills a part of what others fill, or the input")
                self._regions.append(_Region(low, high, number, number))
        return [(number, position) for position in range(len(launch.operands))]

    def _read(self, number, position):
        """An operand, as what it is in every pass."""
        array, before = (launches[number].operands[position] for launches in (self._log, self._before))
        found = self._found(array, number, [*self._regions, self._input])
        if found is None and _place(array) != _place(before):
            raise CannotReplayError(f"operand {position} of call {number} was filled by no kernel")
        return array if found is None else found

    def _found(self, array, number, regions) -> _Operand | None:
        """The operand in memory of which it is known who fills it."""
        low, high = _bounds(array)
        for region in regions:
            if region.low <= low and high <= region.high:
                region.last = max(region.last, number)
                begin, shape, strides, dtype = _place(array)
                return _Operand(region, begin - region.low, shape, strides, dtype)
        return None

    def _bound(self, call, given, result: _Region, arena) -> _Step:
        step = _Step(call, [], [], [])
        for position, operand in enumerate(given):
            region = operand.region if isinstance(operand, _Operand) else None
            if region is self._input or region is result:
                (step.of_result if region is result else step.of_input).append((position, operand))
                step.operands.append(None)
            else:
                step.operands.append(operand if region is None else operand.shown_in(arena))
        return step


def _bounds(array) -> tuple[int, int]:
    return np.lib.array_utils.byte_bounds(array)


def _place(array):
    """Equal where two arrays show the same elements in the same order."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype


def _placed(regions: list[_Region]) -> int:
    """Gives every region a place; those that are never needed together may have the same. Returns the bytes of all."""
    placed: list[_Region] = []
    for region in sorted(regions, key=lambda region: region.low - region.high):
        size, place = region.high - region.low, 0
        for other in sorted(placed, key=lambda other: other.offset):
            meets = other.first <= region.last and region.first <= other.last
            if meets and other.offset < place + size:
                place = max(place, _whole_lines(other.offset + other.high - other.low))
        region.offset = place
        placed.append(region)
    return max((region.offset + region.high - region.low for region in placed), default=_LINE)


def _whole_lines(nbytes: int) -> int:
    return -(-nbytes // _LINE) * _LINE
