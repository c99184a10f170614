"""The kernel calls of a pass over one array, recorded once and repeated for other arrays of its kind.

What lies between two calls (finding shapes, checks, modules) takes some ten microseconds of Python; a repeated call
takes one or two.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastconv import arrays, backends
from fastconv._kernels import buffers, contract
from fastconv.errors import CannotReplayError

_LINE = 64
# Memory for what lies between two calls that a Replay holds; more of it is asked for in every pass, among the outputs.
_HELD_BYTES = 1 << 22
_BYTE = np.dtype(np.uint8)


@dataclass(slots=True, eq=False)
class _Region:
    """Memory that a call fills, as long as ``owner`` lives: its addresses, the first and the last call that see it.

    ``offset`` is its place among all others in the memory of a Replay.
    """

    low: int
    high: int
    owner: weakref.ref[np.ndarray]
    first: int
    last: int
    offset: int = 0


# How NumPy shows an operand in some memory: its shape, its dtype; where it begins, its strides.
_Place = tuple[tuple[int, ...], np.dtype, int, tuple[int, ...]]


class _Operand(NamedTuple):
    """One array of a call: where it begins in some memory, and how it lies there."""

    region: _Region
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    @property
    def place(self) -> _Place:
        """Where it is in other memory than that in which it was found."""
        return self.shape, self.dtype, self.region.offset + self.offset, self.strides


class _Changing(NamedTuple):
    """An operand that is another array in every pass: ``operands[position]`` of a call, a view as ``place`` says."""

    operands: list[Any]
    position: int
    place: _Place


def _shown(memory: np.ndarray, place: _Place) -> np.ndarray:
    """An operand in memory that is in C order."""
    shape, dtype, offset, strides = place
    return np.ndarray(shape, dtype, memory, offset, strides)


class Replay:
    """A recorded pass, which one thread at a time runs."""

    __slots__ = (
        *("_arena", "_busy", "_calls", "_filled", "_input", "_layout"),
        *("_of_arena", "_of_input", "_of_result", "_result", "_result_bytes"),
    )

    def __init__(self, layout: str, input_region: _Region, result: _Operand, arena_bytes: int):
        self._layout, self._input, self._filled, self._result = layout, input_region, result.region, result.place
        self._result_bytes = result.region.high - result.region.low
        self._arena = buffers.aligned_bytes(arena_bytes) if arena_bytes <= _HELD_BYTES else arena_bytes
        self._calls: list[tuple[Callable[..., int], list[Any]]] = []
        self._of_input: list[_Changing] = []
        self._of_result: list[_Changing] = []
        self._of_arena: list[_Changing] = []
        self._busy = threading.Lock()

    def add(self, call: Callable[..., int], given: list[Any]) -> None:
        """One more call, whose operands are in memory that it fills, or arrays."""
        operands: list[Any] = []
        self._calls.append((call, operands))
        for position, operand in enumerate(given):
            if not isinstance(operand, _Operand):
                operands.append(operand)
            elif operand.region is self._input:
                self._of_input.append(_Changing(operands, position, operand.place))
            elif operand.region is self._filled:
                self._of_result.append(_Changing(operands, position, operand.place))
            elif isinstance(self._arena, int):
                self._of_arena.append(_Changing(operands, position, operand.place))
            else:
                operands.append(_shown(self._arena, operand.place))
            operands += [None] * (position + 1 - len(operands))

    def run(self, x: np.ndarray) -> np.ndarray | None:
        """What the pass gives for an array of the same shape, strides and dtype; None where another thread runs it."""
        if not self._busy.acquire(blocking=False):
            return None
        try:
            out = arrays.empty((self._result_bytes,), _BYTE)
            self._show(x, out)
            for call, operands in self._calls:
                if call(*operands) == contract.OUT_OF_MEMORY:
                    raise MemoryError("no memory for the workspace of a kernel")
        finally:
            # What users hold, only they hold.
            for operands, position, _ in (*self._of_input, *self._of_result, *self._of_arena):
                operands[position] = None
            self._busy.release()
        return _shown(out, self._result)

    def _show(self, x, out):
        stored = arrays.stored(x, self._layout)
        for operands, position, place in self._of_input:
            operands[position] = _shown(stored, place)
        for operands, position, place in self._of_result:
            operands[position] = _shown(out, place)
        if isinstance(self._arena, int):
            arena = arrays.empty((self._arena,), _BYTE)
            for operands, position, place in self._of_arena:
                operands[position] = _shown(arena, place)


def record(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> Replay:
    """A Replay of ``function(x)``, which has given the same bits.

    Arrays that two passes find at the same place are held by somebody else, who must see to it that they keep their
    values; ``x`` must share no memory with them. Raises CannotReplayError where something but kernels fills an array.
    """
    layout = arrays.memory_format(x)
    if layout is None or not x.size:
        raise CannotReplayError("the input is in no memory format, or empty")
    before, log = _Log(x), _Log(x)
    before.follow(function)
    out = log.follow(function)
    log.compare(before)
    found = log.replay(layout)
    again = found.run(x)
    if again is None or not _are_same_bits(out, again):
        raise CannotReplayError("the recorded calls alone gave another result")
    return found


def _are_same_bits(array, other) -> bool:
    layout = arrays.memory_format(array)
    if layout is None:
        return False
    first, second = (arrays.stored(item, layout).data.cast("B") for item in (array, other))
    return first == second


class _Log(backends.Listener):
    """The calls of a pass, and for each operand whose memory it shows: the input's, that of a call before, or other.

    It holds what somebody else fills, but nothing else, so that a pass needs no more memory than any other.
    """

    result: _Operand

    def __init__(self, x: np.ndarray):
        self._x = x
        self._is_on = False
        self._input = _Region(*_bounds(x), weakref.ref(_owner(x)), -1, -1)
        self._regions: list[_Region] = []
        self._names: list[str] = []
        self._calls: list[tuple[Callable[..., int], list[Any]]] = []

    def follow(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Run it and keep what it calls."""
        try:
            with backends.listening(self):
                self._is_on = True
                out = function(self._x)
        finally:
            # Also where an interrupt has left it behind as the listener.
            self._is_on = False
        if not self._calls:
            raise CannotReplayError("no kernel ran")
        result = self._found(out)
        if result is None or result.region is self._input:
            raise CannotReplayError("the result was filled by no kernel")
        self.result = result
        return out

    def launched(self, kernels, task, kernel, weight, run, operands):
        """A kernel call."""
        if not self._is_on:
            return
        if task.op.endswith("_"):
            raise CannotReplayError(f"{task.op} changes what it reads")
        outputs = task.outputs(operands)
        self._note(task.op, run, operands[: -len(outputs)], outputs)

    def filled(self, call, sources, target):
        """What is no kernel is a call, too."""
        if self._is_on:
            self._note(getattr(call, "__name__", "a copy"), call, sources, [target])

    def compare(self, before: _Log) -> None:
        """Raise where another pass called other kernels, or found at another place what nobody was seen to fill."""
        if [call for call, _ in self._calls] != [call for call, _ in before._calls]:
            raise CannotReplayError("two passes called different kernels")
        for number, ((_, operands), (_, others)) in enumerate(zip(self._calls, before._calls, strict=True)):
            for position, (operand, other) in enumerate(zip(operands, others, strict=True)):
                of_calls = isinstance(operand, _Operand), isinstance(other, _Operand)
                if of_calls != (True, True) and (any(of_calls) or _place(operand) != _place(other)):
                    raise CannotReplayError(f"operand {position} of {self._names[number]} was filled by no kernel")

    def replay(self, layout: str) -> Replay:
        """The calls, on other memory."""
        between = [region for region in self._regions if region is not self.result.region]
        found = Replay(layout, self._input, self.result, _placed(between))
        for call, operands in self._calls:
            found.add(call, operands)
        return found

    def _note(self, name, call, inputs, outputs):
        operands = [self._found(array) or array for array in inputs]
        for array in outputs:
            if self._found(array) is None:
                low, high = _bounds(array)
                if any(self._overlaps(region, low, high) for region in (*self._regions, self._input)):
                    raise CannotReplayError("a call fills a part of what another fills, or the input")
                self._regions.append(_Region(low, high, weakref.ref(_owner(array)), len(self._calls), len(self._calls)))
            operands.append(self._found(array))
        self._names.append(name)
        self._calls.append((call, operands))

    def _found(self, array) -> _Operand | None:
        """The operand in memory of which it is known who fills it; what has been freed may have been filled again."""
        low, high = _bounds(array)
        for region in (*self._regions, self._input):
            if region.low <= low and high <= region.high and region.owner() is not None:
                region.last = max(region.last, len(self._calls))
                begin, shape, strides, dtype = _place(array)
                return _Operand(region, begin - region.low, shape, strides, dtype)
        return None

    @staticmethod
    def _overlaps(region, low, high):
        return region.low < high and low < region.high and region.owner() is not None


def _owner(array) -> np.ndarray:
    """The array that holds the memory which others show."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


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
