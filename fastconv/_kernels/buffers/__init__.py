"""Memory of output arrays that is kept for the next ones: fresh memory costs a page fault for each of its pages."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np

from fastconv import parameters

try:
    from fastconv._kernels.buffers import _native as _found
except ImportError:
    _native: ModuleType | None = None
else:
    _native = _found

# Smaller arrays come from memory that every allocator reuses at once.
LEAST_BYTES = 1 << 14
_LINE = 64
# Of the machine's memory: what is kept at most unless somebody says otherwise.
_SHARE = 8


def empty(shape: tuple[int, ...], dtype: np.dtype, nbytes: int) -> np.ndarray:
    """An uninitialised array of ``nbytes`` in C order; a large one begins at a cache line."""
    if nbytes < LEAST_BYTES or _native is None:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, _native.Block(nbytes))


def aligned_bytes(nbytes: int) -> np.ndarray:
    """So many uninitialised bytes that begin at a cache line: vectors that cross one cost two reads each."""
    if _native is not None:
        return np.ndarray((nbytes,), np.uint8, _native.Block(nbytes))
    whole = np.empty(nbytes + _LINE, np.uint8)
    begin = -whole.ctypes.data % _LINE
    return whole[begin : begin + nbytes]


def kept_bytes() -> int:
    """The bytes kept for arrays to come."""
    return _native.kept_bytes() if _native is not None else 0


def clear() -> None:
    """Give all that is kept back to the system."""
    if _native is not None:
        _native.clear()


class Buffers:
    """The memory of output arrays that nobody holds any more, kept for the next ones in a bounded number of bytes.

    An array that is held, or any view of it, keeps its memory; nothing that a user can see is ever written again.
    """

    @property
    def nbytes(self) -> int:
        """The bytes kept now, beside those of arrays in use."""
        return kept_bytes()

    @property
    def limit(self) -> int:
        """The largest number of bytes to keep, at first an eighth of the machine's memory; 0 keeps nothing.

        Raises TypeError or ValueError for what is no number of bytes.
        """
        return _native.get_limit() if _native is not None else 0

    @limit.setter
    def limit(self, nbytes: int) -> None:
        nbytes = parameters.integer("limit", nbytes)
        if nbytes < 0:
            raise ValueError(f"limit must be a number of bytes, at least 0, got {nbytes}")
        if _native is not None:
            _native.set_limit(nbytes)

    def clear(self) -> None:
        """Give all that is kept back to the system."""
        clear()


def _machine_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


if _native is not None:
    _native.set_limit(max(1 << 28, _machine_bytes() // _SHARE))
