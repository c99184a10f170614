"""Test data: small integers, fenced buffers, memory formats."""

import zlib

import numpy as np

from fastconv import arrays

FORMATS = (arrays.CONTIGUOUS, arrays.CHANNELS_LAST)
DTYPES = ("float32", "float64")
# Odd, so that the fenced array is aligned to its items only.
FENCE = 67
LINE = 64


def named_rng(*names) -> np.random.Generator:
    """A generator that depends on the names alone."""
    return np.random.default_rng(zlib.crc32("|".join(map(str, names)).encode()))


def integers(rng, shape, dtype="float32", largest=3):
    """Small integers, on which every order of summation gives the same bits."""
    return rng.integers(-largest, largest + 1, shape).astype(dtype)


def in_format(array, wanted):
    """A copy in a memory format; formats mean something for four axes only."""
    return arrays.to_format(array, wanted).copy(order="K") if array.ndim == 4 else array.copy()


def bits(array):
    """Values as integers, so that NaN equals itself and -0.0 differs from 0.0."""
    array = np.ascontiguousarray(array)
    return array.view(f"u{array.itemsize}") if array.dtype.kind in "fV" else array


def assert_same_bits(found, expected, message=""):
    """Equal shape, dtype and bits."""
    assert found.shape == expected.shape, message
    assert found.dtype == expected.dtype, message
    np.testing.assert_array_equal(bits(found), bits(expected), err_msg=str(message))


def shaped(flat, shape, wanted):
    """A view of dense memory as an array in a memory format."""
    if wanted != arrays.CHANNELS_LAST:
        return flat.reshape(shape)
    N, C, H, W = shape
    return flat.reshape(N, H, W, C).transpose(0, 3, 1, 2)


def on_host(array):
    """What NumPy sees of an array of any device."""
    return array if isinstance(array, np.ndarray) else arrays.moved(array, arrays.HOST)


class Fenced:
    """A dense array inside a larger buffer; ``check`` fails where something was written beside it."""

    def __init__(self, shape, dtype, wanted=arrays.CONTIGUOUS, values=None):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape))
        memory = self._memory(size + 2 * FENCE, dtype)
        memory[...] = np.nan if dtype.kind in "fV" else 0xEE
        inside = slice(FENCE, FENCE + size)
        if values is not None:
            shaped(memory[inside], shape, wanted)[...] = values
            memory.flags.writeable = False
        self.before = memory.copy()
        self.buffer = self._placed(memory)
        self.array = shaped(self.buffer[inside], shape, wanted)

    def _memory(self, count, dtype):
        return np.empty(count, dtype)

    def _placed(self, memory):
        """The same memory, or a copy on some device."""
        return memory

    def write(self, values):
        """What an output holds before."""
        self.array[...] = values

    def check(self, message=""):
        """The fence is as it was."""
        found = on_host(self.buffer)
        for side in (slice(None, FENCE), slice(len(found) - FENCE, None)):
            assert_same_bits(found[side], self.before[side], f"{message}: written outside an array")

    def check_unchanged(self, message=""):
        """Everything is as it was."""
        assert_same_bits(on_host(self.buffer), self.before, f"{message}: an input was written")


class Aligned(Fenced):
    """The same where the array begins with a cache line."""

    def _memory(self, count, dtype):
        spare = np.empty(count + LINE // dtype.itemsize, dtype)
        begin = self.lead(dtype, spare.ctypes.data)
        return spare[begin : begin + count]

    @staticmethod
    def lead(dtype, address):
        """How many elements behind an address the fence must begin for the array to begin with a line."""
        return -(address + FENCE * dtype.itemsize) % LINE // dtype.itemsize
