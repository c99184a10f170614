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

    def bound(
        self, template: np.ndarray, operands: tuple[str, ...], items: int, grain: int, scratch_bytes: int = 0
    ) -> Callable[..., int]:
        """A function of the arrays whose addresses go into the fields ``operands`` of the template.

        It does all items in chunks of at least ``grain``; every slot has a block of ``scratch_bytes`` of its own.
        Returns OK, or OUT_OF_MEMORY where there is none for the scratch.
        """
        step = -(-scratch_bytes // _ALIGNMENT) * _ALIGNMENT
        if step:
            operands = (*operands, "scratch")
            template["scratch_step"] = step
        names = template.dtype.names
        slots, words = tuple(names.index(name) for name in operands), template.tobytes()

        def run(*values) -> int:
            # Read once: another thread may change it, and there must be a block for every slot.
            threads = pool.get_num_threads()
            if step:
                try:
                    _memory, block = _kept.block(threads * step)
                except MemoryError:
                    return OUT_OF_MEMORY
                values = (*values, block)
            launch = pool.launch if pool.is_native() else _launch_threaded
            launch(self.native.address, words, slots, values, items, grain, threads)
            return OK

        return run


def _launch_threaded(address, words, slots, values, items, grain, threads) -> None:
    """What ``pool.launch`` does, by Numba's own threads."""
    context = np.frombuffer(words, np.int64).copy()
    for slot, value in zip(slots, values, strict=True):
        context[slot] = value if isinstance(value, int) else value.ctypes.data
    settings.run_threaded(address, context.ctypes.data, items, grain, threads)
