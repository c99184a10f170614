"""Kernels as functions at an address, compiled once per machine: from the disk where they are there, else by Numba."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections.abc import Callable
from functools import cache, cached_property

from llvmlite import binding

from fastconv._kernels.numba_cpu import object_cache

_ENTRY = "fastconv_entry"
_library_numbers = itertools.count()
# Reentrant: what builds one function may ask for the address of another.
_lock = threading.RLock()


def _renew_lock() -> None:
    """A thread that compiled while another one forked does not exist in the child; its lock must not either."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class NativeFunction:
    """A compiled function of int64 arguments without a result: ``void (int64, ...)``.

    ``build(*key)``, a function of some module named ``_build_x`` for a kernel x, returns what to compile: a Python
    function for Numba, which it imports, or a llvmlite module. That may depend on nothing but the package's sources and
    ``key`` (strings, numbers, tuples of them): these name it in the cache. It allocates no memory and raises nothing.
    """

    def __init__(self, build: Callable[..., Callable], key: tuple = (), arguments: int = 4):
        self._build = build
        self._literals = key
        self._arguments = arguments
        self._address = 0

    def __repr__(self) -> str:
        return " ".join(map(str, (self._build.__name__.removeprefix("_build_"), *self._literals)))

    @cached_property
    def key(self) -> str | None:
        """The name in the cache; None where what the code depends on cannot be told."""
        return object_cache.key(self._build.__module__, self._build.__qualname__, self._literals, self._arguments)

    @property
    def address(self) -> int:
        """Where the machine code is, for as long as the process lives; loads or compiles it when first asked for."""
        if not self._address:
            with _lock:
                if not self._address:
                    self._address = self._load() or self._compile()
        return self._address

    def is_cached(self) -> bool:
        """Whether the next process finds the code on the disk."""
        return object_cache.load(self.key) is not None

    def keep(self) -> bool:
        """Compile and store the code unless the disk has it; returns whether the disk has it now."""
        if not self.is_cached():
            object_cache.store(self.key, self._code())
        return self.is_cached()

    def assembly(self) -> str:
        """The machine code as text, compiled anew by Numba."""
        from fastconv._kernels.numba_cpu import lowering

        return lowering.assembly(self._build(*self._literals), self._arguments, _ENTRY)

    def _load(self) -> int:
        code = object_cache.load(self.key)
        if code is None:
            return 0
        try:
            return _linked(code)
        except RuntimeError:  # not to be linked here: compiled anew and replaced
            return 0

    def _compile(self) -> int:
        code = self._code()
        address = _linked(code)
        object_cache.store(self.key, code)
        return address

    def _code(self) -> bytes:
        from fastconv._kernels.numba_cpu import lowering

        return lowering.object_code(self._build(*self._literals), self._arguments, _ENTRY)


def _linked(code: bytes) -> int:
    """The address of the entry of some object code, which stays in memory for good."""
    library = binding.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(_ENTRY)
    tracker = library.link(_linker(), f"fastconv.{next(_library_numbers)}")
    address = tracker[_ENTRY]
    tracker.detach()
    return address


@cache
def _linker():
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    linker = binding.create_lljit_compiler(use_jit_link=True)
    # Never disposed of: a daemon thread may still run a kernel while the interpreter ends.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(linker))
    return linker
