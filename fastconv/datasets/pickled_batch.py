"""Reading the pickled batches of CIFAR-10 without unpickling them.

A pickle is a program for a stack machine that may call any function. This reader runs a machine of its own that knows
only the instructions of such a batch (a dict of bytes, lists of integers and one uint8 array) and the four names that
NumPy needs for it. The names stand for constructors written here, so that a file can call nothing else.
"""

import math
import os
import pickletools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.errors import FormatError, UnsafeFileError

_MAX_RANK = 8


class _Mark:
    """Where the arguments of a variadic instruction begin on the stack."""


class _Array:
    """A uint8 array in the making: rebuilt empty, filled once its state has been checked."""

    values: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        """Take (version, shape, dtype, Fortran order, bytes), as NumPy pickles an array."""
        if not (isinstance(state, tuple) and len(state) == 5):
            raise FormatError("an array is described by something else than five values")
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Uint8) or not isinstance(content, bytes):
            raise FormatError("an array is not of dtype uint8")
        if not isinstance(shape, tuple) or len(shape) > _MAX_RANK or any(type(n) is not int or n < 0 for n in shape):
            raise FormatError(f"the shape of an array is not a tuple of at most {_MAX_RANK} sizes")
        if math.prod(shape) != len(content) or not content:
            raise FormatError(f"an array of shape {shape} comes with {len(content)} bytes")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


class _Uint8:
    """The only dtype of a batch."""

    def set_state(self, state: Any) -> None:
        """Accept the state that NumPy writes for a dtype; a plain uint8 has nothing to say."""


def _reconstruct(machine: "_Machine", arguments: tuple) -> _Array:
    if len(arguments) != 3 or arguments[0] is not _NDARRAY:
        raise FormatError("an array subclass is asked for")
    return _Array()


def _dtype(machine: "_Machine", arguments: tuple) -> _Uint8:
    if not arguments or arguments[0] not in ("u1", b"u1", "|u1", b"|u1"):
        raise FormatError("an array is not of dtype uint8")
    return _Uint8()


def _encode(machine: "_Machine", arguments: tuple) -> bytes:
    match arguments:
        case (str(text), "latin1" | b"latin1"):
            machine.charge(len(text))
            return text.encode("latin-1")
    raise FormatError("a text is encoded as something else than latin1")


_NDARRAY = object()
_NAMES: dict[str, Any] = {
    "numpy ndarray": _NDARRAY,
    "numpy dtype": _dtype,
    "numpy.core.multiarray _reconstruct": _reconstruct,
    "numpy._core.multiarray _reconstruct": _reconstruct,
    "_codecs encode": _encode,
}
_CALLABLE = (_dtype, _reconstruct, _encode)


class _Machine:
    """The stack, the memo and the instructions of a batch."""

    def __init__(self, budget: int):
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._budget = budget

    def charge(self, size: int) -> None:
        """Count bytes that the program makes; no honest one makes more than it carries."""
        self._budget -= size
        if self._budget < 0:
            raise UnsafeFileError("it builds more bytes than the file holds")

    def run(self, program: bytes) -> Any:
        """The object that the program leaves behind."""
        for opcode, argument, _ in pickletools.genops(program):
            action = _ACTIONS.get(opcode.name)
            if action is None:
                raise UnsafeFileError(f"the pickle instruction {opcode.name} does not belong in a batch")
            action(self, argument)
        return self.pop()

    def pop(self) -> Any:
        """Take the top of the stack."""
        return self._stack.pop()

    def push(self, argument: Any) -> None:
        """Push a constant."""
        self._stack.append(argument)

    def text(self, argument: str) -> None:
        """Push a string of Python 2, which is a string of bytes."""
        self._stack.append(argument.encode("latin-1"))

    def mark(self, _: Any) -> None:
        """Push a mark."""
        self._stack.append(_Mark)

    def put(self, index: int) -> None:
        """Remember the top of the stack."""
        self._memo[index] = self._stack[-1]

    def get(self, index: int) -> None:
        """Push what was remembered."""
        self._stack.append(self._memo[index])

    def items(self) -> list[Any]:
        """Pop everything above the last mark, and the mark."""
        start = len(self._stack) - 1
        while self._stack[start] is not _Mark:
            start -= 1
            if start < 0:
                raise FormatError("a mark is missing")
        popped = self._stack[start + 1 :]
        del self._stack[start:]
        return popped

    def tuple_of(self, count: int | None) -> None:
        """Pop `count` values, or those above the mark, and push them as a tuple."""
        values = self.items() if count is None else [self.pop() for _ in range(count)][::-1]
        self._stack.append(tuple(values))

    def append(self, values: list[Any]) -> None:
        """Append to the list on top."""
        target = self._stack[-1]
        if type(target) is not list:
            raise FormatError("something is appended to what is not a list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Store key, value, key, value ... in the dict on top."""
        target = self._stack[-1]
        if type(target) is not dict or len(values) % 2 or any(type(key) not in (bytes, str) for key in values[::2]):
            raise FormatError("items are stored that are no pairs of a name and a value in a dict")
        target.update(zip(values[::2], values[1::2], strict=True))

    def name(self, argument: str) -> None:
        """Push what one of the allowed names stands for."""
        if argument not in _NAMES:
            raise UnsafeFileError(f"the pickle asks for {argument.replace(' ', '.')!r:.80}, which is not allowed")
        self._stack.append(_NAMES[argument])

    def call(self, _: Any) -> None:
        """Replace a constructor and its arguments by what it makes."""
        arguments, constructor = self.pop(), self.pop()
        if type(arguments) is not tuple or not any(constructor is allowed for allowed in _CALLABLE):
            raise UnsafeFileError("the pickle calls something that is not allowed")
        self._stack.append(constructor(self, arguments))

    def build(self, _: Any) -> None:
        """Hand a state to the array or dtype on top."""
        state, target = self.pop(), self._stack[-1]
        if type(target) not in (_Array, _Uint8):
            raise UnsafeFileError("the pickle sets the state of something that is not an array")
        target.set_state(state)


_Action = Callable[[_Machine, Any], None]
_ACTIONS: dict[str, _Action] = {
    "PROTO": lambda machine, version: None,
    "MARK": _Machine.mark,
    "STOP": lambda machine, _: None,
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "TUPLE": lambda machine, _: machine.tuple_of(None),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.items()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.items()),
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), _Machine.text),
    **dict.fromkeys(("BINUNICODE", "BINBYTES", "SHORT_BINBYTES"), _Machine.push),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1"), _Machine.push),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
}


def read_batch(program: bytes, where: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 3072) and labels uint8 (N,) of one pickled batch; `where` names it in errors.

    Raises UnsafeFileError when the pickle asks for anything but the parts of a batch (nothing of it is executed) and
    FormatError when it is damaged or holds something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            batch = _Machine(len(program)).run(program)
        return _images_and_labels(batch)
    except FormatError as error:
        raise type(error)(f"{where}: {error}") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise FormatError(f"{where}: damaged pickle ({error!s:.200})") from error


def _images_and_labels(batch: Any) -> tuple[np.ndarray, np.ndarray]:
    if type(batch) is not dict:
        raise FormatError(f"holds a {type(batch).__name__}, not a dict")
    parts = {key.decode("latin-1") if type(key) is bytes else key: value for key, value in batch.items()}
    images, labels = parts.get("data"), parts.get("labels")
    if type(images) is not _Array or images.values is None or images.values.shape[1:] != (3072,):
        raise FormatError("'data' is not an array of shape (N, 3072)")
    if type(labels) is not list or any(type(label) is not int or not 0 <= label <= 9 for label in labels):
        raise FormatError("'labels' is not a list of integers in 0..9")
    if len(labels) != len(images.values):
        raise FormatError(f"{len(labels)} labels for {len(images.values)} images")
    return images.values, np.array(labels, np.uint8)
