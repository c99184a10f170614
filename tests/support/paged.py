"""Arrays that end, or begin, where the memory does: a read or write one byte beyond kills the process."""

import ctypes
import mmap

import numpy as np

from fastconv import arrays
from support.data import shaped

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_NO_ACCESS, _READ_ONLY = 0, 1


class Paged:
    """What ``Fenced`` is, with the memory protection as the fence; one forbidden page on each side."""

    def __init__(self, shape, dtype, wanted=arrays.CONTIGUOUS, values=None, *, at_end):
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape)) * dtype.itemsize
        room = -(-nbytes // PAGE) * PAGE
        self._memory = mmap.mmap(-1, room + 2 * PAGE)
        start = PAGE + (room - nbytes if at_end else 0)
        flat = np.frombuffer(self._memory, np.uint8, nbytes, start).view(dtype)
        self.array = shaped(flat, shape, wanted)
        self.array[...] = np.nan if dtype.kind == "f" else 0xEE
        first = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        _protect(first, PAGE, _NO_ACCESS)
        _protect(first + PAGE + room, PAGE, _NO_ACCESS)
        if values is not None:
            self.array[...] = values
            _protect(first + PAGE, room, _READ_ONLY)

    def check(self, message=""):
        """The memory protection has checked already."""

    check_unchanged = check


def _protect(address, size, access):
    if _libc.mprotect(address, size, access):
        raise OSError(ctypes.get_errno(), "mprotect")
