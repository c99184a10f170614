"""A stack machine for pickles that executes nothing.

A pickle is a program that may call any function. This machine knows the instructions that build plain values, and
names only from a list that its user gives it: they stand for constructors written in this package, so that a file can
call nothing else. Nothing is imported by name.
"""

import os
import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastconv.errors import FormatError, UnsafeFileError

_DAMAGE = (ValueError, IndexError, KeyError, TypeError, OverflowError)


class Buildable:
    """What an allowed constructor may make: something that a pickle may hand a state to."""

    def set_state(self, state: Any) -> None:
        """Check and take the state; ignored unless a subclass says otherwise."""


@dataclass(frozen=True)
class Constructor:
    """A function that a name in a pickle may stand for; it gets the machine and a tuple of arguments."""

    make: Callable[["Machine", tuple], Any]


@dataclass(frozen=True)
class Dialect:
    """What the pickles of one kind may hold.

    ``kind`` says in errors what such a pickle is; ``names`` maps "module name" to constructors and constants; ``keys``
    are the types of keys of a dict (hashing a hostile tuple may take for ever); ``persistent`` gives what stands for a
    reference to something outside of the pickle; ``remedy`` says what to do about a name that is not allowed.
    """

    kind: str
    names: Mapping[str, Any]
    keys: tuple[type, ...] = (bytes, str)
    persistent: Callable[[Any], Any] | None = None
    remedy: str = ""


def interpret(program: bytes, dialect: Dialect, where: str | os.PathLike) -> Any:
    """The value that the program leaves behind; ``where`` names it in errors.

    Raises UnsafeFileError when it asks for an instruction or a name that the dialect does not have (nothing of it is
    executed), and FormatError when it is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return Machine(dialect, len(program)).run(program)
    except FormatError as error:
        raise type(error)(f"{where}: {error}") from error
    except _DAMAGE as error:
        raise FormatError(f"{where}: damaged pickle ({error!s:.200})") from error


class _Mark:
    """Where the arguments of a variadic instruction begin on the stack."""


class Machine:
    """The stack, the memo and the instructions."""

    def __init__(self, dialect: Dialect, budget: int):
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._dialect, self._budget = dialect, budget

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
                raise UnsafeFileError(f"the pickle instruction {opcode.name} does not belong in {self._dialect.kind}")
            action(self, argument)
        return self.pop()

    def pop(self) -> Any:
        """Take the top of the stack."""
        return self._stack.pop()

    def push(self, argument: Any) -> None:
        """Push a constant."""
        self._stack.append(argument)

    def integer(self, argument: int) -> None:
        """Push an integer of 64 bits; as keys of a dict, longer ones can be made to collide all with each other."""
        if not -(2**63) <= argument < 2**64:
            raise FormatError("an integer has more than 64 bits")
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

    def memoize(self, _: Any) -> None:
        """Remember the top of the stack under the next number."""
        self.put(len(self._memo))

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
        target, keys = self._stack[-1], self._dialect.keys
        if not isinstance(target, dict) or len(values) % 2 or any(type(key) not in keys for key in values[::2]):
            raise FormatError("items are stored that are no pairs of a name and a value in a dict")
        target.update(zip(values[::2], values[1::2], strict=True))

    def name(self, argument: str) -> None:
        """Push what one of the allowed names stands for."""
        if argument not in self._dialect.names:
            asked = argument.replace(" ", ".")
            raise UnsafeFileError(f"the pickle asks for {asked!r:.80}, which is not allowed{self._dialect.remedy}")
        self._stack.append(self._dialect.names[argument])

    def name_from_stack(self, _: Any) -> None:
        """The same for a module and a name that were pushed before."""
        attribute, module = self.pop(), self.pop()
        if type(attribute) is not str or type(module) is not str:
            raise FormatError("a name is not a text")
        self.name(f"{module} {attribute}")

    def refer(self, _: Any) -> None:
        """Replace an identifier by what it stands for outside of the pickle."""
        if self._dialect.persistent is None:
            raise UnsafeFileError(f"a reference to something outside does not belong in {self._dialect.kind}")
        self._stack.append(self._dialect.persistent(self.pop()))

    def call(self, _: Any) -> None:
        """Replace a constructor and its arguments by what it makes."""
        arguments, constructor = self.pop(), self.pop()
        if type(arguments) is not tuple or type(constructor) is not Constructor:
            raise UnsafeFileError("the pickle calls something that is not allowed")
        self._stack.append(constructor.make(self, arguments))

    def build(self, _: Any) -> None:
        """Hand a state to what an allowed constructor made."""
        state, target = self.pop(), self._stack[-1]
        if not isinstance(target, Buildable):
            raise UnsafeFileError("the pickle sets the state of something that has none")
        target.set_state(state)


_Action = Callable[[Machine, Any], None]
_ACTIONS: dict[str, _Action] = {
    "MARK": Machine.mark,
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
    "MEMOIZE": Machine.memoize,
    "LONG1": Machine.integer,
    "GLOBAL": Machine.name,
    "STACK_GLOBAL": Machine.name_from_stack,
    "BINPERSID": Machine.refer,
    "REDUCE": Machine.call,
    "BUILD": Machine.build,
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), Machine.text),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"), Machine.push),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "BINFLOAT"), Machine.push),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), Machine.get),
}
