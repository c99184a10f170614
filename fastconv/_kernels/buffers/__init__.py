"""Memory of outputs, packed weights and scratch, kept for the next ones: each page of fresh memory costs a fault."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

import numpy as np

from fastconv import memory, parameters

# Smaller arrays come from memory that every allocator reuses at once.
LEAST_BYTES = 1 << 14
_LINE = 64


@cache
def _load() -> ModuleType | None:
    """The compiled part, loaded when first memory is needed; None where it is missing."""
    try:
        native = importlib.import_module("fastconv._kernels.buffers._native")
    except ImportError:
        return None
    native.set_limit(memory.bytes_to_keep())
    return native


def empty(shape: tuple[int, ...], dtype: np.dtype, nbytes: int) -> np.ndarray:
    """An uninitialised array of ``nbytes`` in C order; a large one begins at a cache line."""
    if nbytes < LEAST_BYTES or (native := _load()) is None:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, native.Block(nbytes))


def aligned_bytes(nbytes: int) -> np.ndarray:
    """So many uninitialised bytes that begin at a cache line: vectors that cross one cost two reads each."""
    if (native := _load()) is not None:
        return np.ndarray((nbytes,), np.uint8, native.Block(nbytes))
    whole = np.empty(nbytes + _LINE, np.uint8)
    begin = -whole.ctypes.data % _LINE
    return whole[begin : begin + nbytes]


def kept_bytes() -> int:
    """The bytes kept for arrays to come."""
    return native.kept_bytes() if (native := _load()) is not None else 0


def clear() -> None:
    """Give all that is kept back to the system."""
    if (native := _load()) is not None:
        native.clear()


class Buffers:
    """The memory of outputs that nobody holds any more, kept for the next ones in a bounded number of bytes.

    An array that is held, or any view of it, keeps its memory; nothing that a user can see is ever written again. Such
    arrays do not own their memory (``flags.owndata``), so that they cannot be resized in place. Scratch memory and
    packed weights come from here and go back here, too.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<output buffers: {self.nbytes:,} of at most {self.limit:,} bytes kept>"

    @property
    def nbytes(self) -> int:
        """The bytes kept now, beside those of arrays in use."""
        return kept_bytes()

    @property
    def limit(self) -> int:
        """The largest number of bytes to keep; 0 keeps nothing.

        At first it is an eighth of the memory that was left to the process when it was first needed.

        Raises TypeError or ValueError for what is no number of bytes.
        """
        return native.get_limit() if (native := _load()) is not None else 0

    @limit.setter
    def limit(self, nbytes: int) -> None:
        nbytes = parameters.integer("limit", nbytes)
        if nbytes < 0:
            raise ValueError(f"limit must be a number of bytes, at least 0, got {nbytes}")
        if (native := _load()) is not None:
            native.set_limit(min(nbytes, sys.maxsize))  # more than that nobody has

    def clear(self) -> None:
        """Give all that is kept back to the system."""
        clear()
