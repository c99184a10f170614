"""How kernels reach the GPU: addresses of arrays, the stream of the caller, temporary memory."""

from __future__ import annotations

import sys

import numpy as np

from fastconv._kernels.numba_cuda.settings import SIMULATED, WORDS, configured

# Threads of kernels that work element by element.
THREADS = 64 if SIMULATED else 256
_ALIGNMENT = 16


def launch(kernel, blocks: int, threads: int, *arguments) -> None:
    """Queue a kernel on the caller's stream, after all that is queued there; nothing waits for it."""
    if blocks:
        configured(kernel, blocks, threads, _stream())(*arguments)


def launch_elements(kernel, count: int, *arguments) -> None:
    """Queue a kernel with one thread for each of so many elements."""
    launch(kernel, -(-count // THREADS), THREADS, *arguments)


def memory(array):
    """A dense array as kernels are told of it: by its address, or, simulated, as its elements in memory order."""
    if SIMULATED:
        elements = np.asarray(_Simulated(array)).ravel(order="K")
        return _Elements(elements.view(np.uint16) if array.dtype.name in WORDS else elements)
    return _address(array)


def _address(array):
    """Where an array begins. CuPy's say so themselves; the interface makes a dictionary each time it is asked."""
    pointer = getattr(getattr(array, "data", None), "ptr", None)
    return array.__cuda_array_interface__["data"][0] if pointer is None else pointer


class _Simulated:
    """An array on a simulated device as one of the host, in whose memory it is."""

    def __init__(self, array):
        self.array, self.__array_interface__ = array, array.__cuda_array_interface__


class _Elements:
    """Simulated memory: what is outside an array is neither read nor written."""

    def __init__(self, array):
        self._array = array

    def __getitem__(self, index):
        return self._array[index if index >= 0 else len(self._array)]

    def __setitem__(self, index, value):
        self._array[index if index >= 0 else len(self._array)] = value


def is_aligned(array) -> bool:
    """Whether an array begins where vectors may."""
    return _address(array) % _ALIGNMENT == 0


def temporary(near, count: int, dtype: str):
    """So many elements on the device of an array, from the pool of its library; they go back when they are dropped.

    The library hands memory that was dropped to later calls on the same stream only, so kernels may still be at it.
    """
    return np.empty_like(near, dtype=np.dtype(dtype), shape=(count,))


def _stream() -> int:
    """The address of the current stream of the library whose arrays kernels are given; 0 is the default stream."""
    cupy = sys.modules.get("cupy")
    return 0 if cupy is None or SIMULATED else cupy.cuda.get_current_stream().ptr
