"""Every compiler and thread setting of the Numba kernels: nothing else calls ``njit`` or ``cfunc``."""

from __future__ import annotations

import threading
from functools import cached_property

import numba
import numpy as np
from llvmlite import binding

from fastconv._kernels import pool

# Multiply-add contraction only: no reordering, NaN, infinities and signed zeros as IEEE 754 has them.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
_RANGE = "void(int64, int64, int64, int64)"
# Numba's own threads must be entered by one Python thread at a time: one of its layers aborts the process otherwise.
_numba_threads = threading.Lock()


def _features() -> dict[str, bool]:
    try:
        return dict(binding.get_host_cpu_features())
    except RuntimeError:
        return {}


_FEATURES = _features()
HAS_FMA = bool(_FEATURES.get("fma") or _FEATURES.get("neon"))
VECTOR_BYTES = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16
# AVX-512 and NEON have 32 vector registers, the others 16.
MAX_VECTORS = 4 if _FEATURES.get("avx512f") or _FEATURES.get("neon") else 2


def serial(function):
    """Compile a function that one thread runs."""
    return numba.njit(**_OPTIONS)(function)


class RangeKernel:
    """A function (context, lo, hi, slot) over items lo .. hi - 1, run by all threads.

    ``context`` is the address of a structured array with the arguments. The native pool drives the function by its
    address; without the pool Numba's own threads do.
    """

    def __init__(self, function):
        self._function = function

    def run(self, context: np.ndarray, items: int, grain: int) -> None:
        """Do all items in chunks of at least ``grain``."""
        if pool.is_native():
            pool.run(self._native.address, context.ctypes.data, items, grain)
            return
        with _numba_threads:
            numba.set_num_threads(min(pool.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
            self._threaded(context.ctypes.data, items, grain)

    @cached_property
    def _native(self):
        return numba.cfunc(_RANGE, nopython=True, error_model="numpy", fastmath=_OPTIONS["fastmath"])(self._function)

    @cached_property
    def _threaded(self):
        chunk_of_items = serial(self._function)

        @numba.njit(parallel=True, **_OPTIONS)
        def drive(context, items, grain):
            for chunk in numba.prange((items + grain - 1) // grain):
                chunk_of_items(context, chunk * grain, min(items, (chunk + 1) * grain), 0)

        return drive
