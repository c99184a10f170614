"""The one owner of CPU threads: how many there are, and the native pool that runs on them."""

from __future__ import annotations

import importlib
import operator
from functools import cache
from types import ModuleType, SimpleNamespace

from fastconv._kernels.pool.limits import default_num_threads

__all__ = ["default_num_threads", "get_num_threads", "is_native", "launcher", "native_reason", "run", "set_num_threads"]


def get_num_threads() -> int:
    """Threads that kernels use; ValueError where ``FASTCONV_NUM_THREADS`` decides and is not a positive integer."""
    holder = _holder()
    count = holder.thread_count()
    if count == 0:
        holder.set_thread_count(default_num_threads())
        count = holder.thread_count()
    return count


def set_num_threads(n: int) -> None:
    """Set the threads that kernels use, for the whole process; the native pool counts more than 256 as 256.

    A region that runs keeps the number that it began with. Raises TypeError where ``n`` is no integer (a bool is
    none) and ValueError where it is below 1.
    """
    if isinstance(n, bool):
        raise TypeError(f"the number of threads must be an int, got {n!r}")
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"the number of threads must be an int, got {n!r}") from None
    if count < 1:
        raise ValueError(f"the number of threads must be at least 1, got {count}")
    _holder().set_thread_count(count)


def is_native() -> bool:
    """Whether the compiled pool is there; loads it."""
    return _load()[0] is not None


def native_reason() -> str | None:
    """Why the compiled pool cannot be loaded; None where it is there."""
    return _load()[1]


def run(function_address: int, context_address: int, n: int, grain: int, threads: int | None = None) -> None:
    """Call a C function ``void (void* ctx, ssize lo, ssize hi, ssize slot)`` over all of [0, n), the GIL released.

    Chunks begin at multiples of ``grain`` items; ``slot`` is below 256, and below ``threads``, by default
    ``get_num_threads()`` as it is at the call. Who has a block of memory per slot passes the number of blocks:
    another thread may change that of threads at any time. Raises ValueError where the function's address is 0 and
    ImportError without the compiled pool.
    """
    native, reason = _load()
    if native is None:
        raise ImportError(f"the compiled thread pool is not available: {reason}")
    native.run(function_address, context_address, n, grain, threads)


def launcher(function_address: int, words: bytes, slots: tuple[int, ...], n: int, grain: int):
    """``run`` as a function of values, with a copy of ``words``, of 64 bits, as the context; it returns 0.

    Each value is put into its slot: an int, or an array's address. ``launcher(...).on(values, threads)`` does the same
    on so many threads. Raises as ``run``, and ValueError for more than 128 words or a slot beyond them, or, of what it
    returns, for another number of values than of slots.
    """
    native, reason = _load()
    if native is None:
        raise ImportError(f"the compiled thread pool is not available: {reason}")
    return native.Launch(function_address, words, slots, n, grain)


@cache
def _load() -> tuple[ModuleType | None, str | None]:
    try:
        return importlib.import_module("fastconv._kernels.pool._native"), None
    except ImportError as error:
        return None, f"{type(error).__name__}: {error}"


@cache
def _holder():
    """What holds the thread count: the extension, whose kernels read it without the GIL, or a stand-in for it."""
    native, _ = _load()
    if native is not None:
        return native
    value = [0]
    return SimpleNamespace(thread_count=lambda: value[0], set_thread_count=lambda count: value.__setitem__(0, count))
