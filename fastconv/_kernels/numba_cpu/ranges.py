"""Kernels over ranges of items, run by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from fastconv._kernels import pool
from fastconv._kernels.contract import OK, OUT_OF_MEMORY
from fastconv._kernels.numba_cpu import settings
from fastconv._kernels.numba_cpu.compiler import NativeFunction

# Fields of a context whose kernel wants scratch: the block of slot s is at scratch + s * scratch_step.
SCRATCH = ("scratch", "scratch_step")
# Two cache lines: processors fetch them in pairs, and no two threads should write to one.
_ALIGNMENT = 128
_KEPT_BYTES = 1 << 20


class _Kept(threading.local):
    """A block of memory per calling thread, kept from call to call unless it is large."""

    def __init__(self):
        self.memory, self.address, self.size = None, 0, -1

    def block(self, size: int) -> tuple[object, int]:
        """What owns a block of at least ``size`` bytes, and its aligned address."""
        if size <= self.size:
            return self.memory, self.address
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        address = -(-memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        if size <= _KEPT_BYTES:
            self.memory, self.address, self.size = memory, address, size
        return memory, address


_kept = _Kept()


class RangeKernel:
    """A function (context, lo, hi, slot) over items lo .. hi - 1, made by ``build(*key)``.

    ``context`` is the address of a structured array with the arguments. The native pool drives the function by its
    address; without the pool Numba's own threads do.
    """

    def __init__(self, build: Callable[..., Callable], *key):
        self.native = NativeFunction(build, key)

    def run(self, context: np.ndarray, items: int, grain: int, scratch_bytes: int = 0) -> int:
        """Do all items in chunks of at least ``grain``; every slot has a block of ``scratch_bytes`` of its own.

        Returns OK, or OUT_OF_MEMORY where there is none for the scratch.
        """
        # Read once: another thread may change it, and there must be a block for every slot.
        threads = pool.get_num_threads()
        if scratch_bytes:
            step = -(-scratch_bytes // _ALIGNMENT) * _ALIGNMENT
            try:
                _memory, context["scratch"] = _kept.block(threads * step)
            except MemoryError:
                return OUT_OF_MEMORY
            context["scratch_step"] = step
        drive = pool.run if pool.is_native() else settings.run_threaded
        drive(self.native.address, context.ctypes.data, items, grain, threads)
        return OK
