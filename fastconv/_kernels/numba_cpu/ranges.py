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
# The field of what all slots share, for kernels that run in turn.
SHARED = "shared"
# Two cache lines: processors fetch them in pairs, and no two threads should write to one.
_ALIGNMENT = 128
_KEPT_BYTES = 1 << 22


class _Block:
    """Aligned memory."""

    def __init__(self, size: int):
        self._memory = np.empty(size + _ALIGNMENT, np.uint8)
        self.address = -(-self._memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        self.size = size


class _Kept(threading.local):
    """A block per calling thread, kept from call to call unless it is large."""

    block: _Block | None = None

    def take(self, size: int) -> _Block:
        """A block of at least ``size`` bytes that nobody else has: a finaliser may call a kernel at any time."""
        block, self.block = self.block, None
        return block if block is not None and size <= block.size else _Block(size)

    def give(self, block: _Block) -> None:
        """The block is free again."""
        if block.size <= _KEPT_BYTES:
            self.block = block


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
        return in_turn([(self, items, grain)], template, operands, scratch_bytes)


def in_turn(
    steps: list[tuple[RangeKernel, int, int]],
    template: np.ndarray,
    operands: tuple[str, ...],
    scratch_bytes: int = 0,
    shared_bytes: int = 0,
) -> Callable[..., int]:
    """``RangeKernel.bound`` for several (kernel, items, grain), each begun when the one before has done all its items.

    They have one context, one scratch, and ``shared_bytes`` that all slots share.
    """
    step = -(-scratch_bytes // _ALIGNMENT) * _ALIGNMENT
    if step:
        operands = (*operands, SCRATCH[0])
        template[SCRATCH[1]] = step
    if shared_bytes:
        operands = (*operands, SHARED)
    names = template.dtype.names
    slots, words = tuple(names.index(name) for name in operands), template.tobytes()
    launches: list[Callable[[tuple, int], None]] = []

    def launcher(kernel, items, grain):
        make = pool.launcher if pool.is_native() else _Threaded
        return make(kernel.native.address, words, slots, items, grain)

    if len(steps) == 1 and not step and pool.is_native():
        return launcher(*steps[0])

    def launch_all(values, threads) -> None:
        if not launches:
            launches[:] = [launcher(*step).on for step in steps]
        for launch in launches:
            launch(values, threads)

    def run(*values) -> int:
        # Read once: another thread may change it, and there must be a block for every slot.
        threads = pool.get_num_threads()
        if not step:
            launch_all(values, threads)
            return OK
        try:
            block = _kept.take(threads * step + shared_bytes)
        except MemoryError:
            return OUT_OF_MEMORY
        values = (*values, block.address)
        launch_all((*values, block.address + threads * step) if shared_bytes else values, threads)
        _kept.give(block)
        return OK

    return run


class _Threaded:
    """What ``pool.launcher`` makes, for Numba's own threads."""

    def __init__(self, address: int, words: bytes, slots: tuple[int, ...], items: int, grain: int):
        self._given = address, words, slots, items, grain

    def on(self, values: tuple, threads: int) -> None:
        """Run on at most so many threads."""
        address, words, slots, items, grain = self._given
        context = np.frombuffer(words, np.int64).copy()
        for slot, value in zip(slots, values, strict=True):
            context[slot] = value if isinstance(value, int) else value.ctypes.data
        settings.run_threaded(address, context.ctypes.data, items, grain, threads)
