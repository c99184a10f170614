"""Arrays with memory of their own and nothing beside it: a compiler's checks see every access beyond an end."""

import numpy as np

from fastconv import arrays
from support.data import shaped


class Bare:
    """What ``Fenced`` is, where the compiler has put a fence around every allocation and checks each address.

    The array begins and ends where its memory does; where its size is odd it begins one element later, so that it is
    aligned to its items only. To test the checks, outputs can lack some elements and all arrays begin at a ``skew``.
    """

    def __init__(self, shape, dtype, wanted=arrays.CONTIGUOUS, values=None, *, lacking=0, skew=0):
        dtype, size = np.dtype(dtype), int(np.prod(shape))
        present = size - (lacking if values is None else 0)
        lead = size % 2 * dtype.itemsize + skew
        memory = np.empty(lead + present * dtype.itemsize, np.uint8)
        flat = np.lib.stride_tricks.as_strided(np.ndarray(present, dtype, memory, lead), (size,))
        self.array = shaped(flat, shape, wanted)
        if values is not None:
            self.array[...] = values
            self.array.flags.writeable = False

    def check(self, message=""):
        """The compiler's code has checked already."""

    check_unchanged = check
