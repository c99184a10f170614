"""Packed weights, kept as long as the values they were packed from."""

from __future__ import annotations

import itertools
import threading
import weakref
from typing import Any

import numpy as np

from fastconv import device_arrays, memory, parameters

_LEAST = 1 << 28
# What a kernel is given: the weight packed for this call, or kept from an earlier one, or as it is.
PACKED, KEPT, UNPACKED = "packed", "kept", "unpacked"
# Packings per weight: one for all batches most often, and for its gradient; of more, the oldest are forgotten.
_KERNELS = 64


class PackedWeights:
    """Packed weights of Parameters, from the second use of the same values on, in a bounded number of bytes.

    Training uses the values of each step once per kernel, so that nothing is kept of them. What is kept goes with the
    weight's memory, at the first use after a write to it, or, least recently used first, where the bytes exceed
    ``limit``. Plain arrays, to which anyone may write unseen, are packed at every call.
    """

    __slots__ = ("_clock", "_entries", "_limit", "_lock", "_users")

    def __init__(self, limit: int | None = None):
        self._limit = limit
        self._users: weakref.WeakSet = weakref.WeakSet()
        self._lock = threading.Lock()
        # Replaced, never changed, so that it can be read without the lock.
        self._entries: tuple[weakref.ref[_Entry], ...] = ()
        self._clock = itertools.count()

    def __repr__(self) -> str:
        return f"<packed weights: {self.nbytes:,} of at most {self.limit:,} bytes kept>"

    @property
    def limit(self) -> int:
        """The largest number of bytes to keep; 0 keeps nothing. Raises TypeError or ValueError for anything else.

        At first it is an eighth of the memory that was left to the process when it was first needed, or 256 MiB.
        """
        if self._limit is None:
            self._limit = max(_LEAST, memory.bytes_to_keep())
        return self._limit

    @limit.setter
    def limit(self, nbytes: int) -> None:
        nbytes = parameters.integer("limit", nbytes)
        if nbytes < 0:
            raise ValueError(f"limit must be a number of bytes, at least 0, got {nbytes}")
        with self._lock:
            self._limit = nbytes
            self._shrink(self._live())

    @property
    def nbytes(self) -> int:
        """The bytes kept now."""
        return sum(entry.nbytes for entry in self._live())

    def nbytes_of(self, parameter) -> int:
        """The bytes kept now of one Parameter, packed for all kernels that have used it."""
        return sum(entry.nbytes for entry in [*parameter._version.derived.values()] if entry.packed is not None)

    def clear(self) -> None:
        """Keep nothing of what is kept now."""
        with self._lock:
            for entry in self._live():
                self._drop(entry)
            self._entries = ()

    def tell(self, user) -> None:
        """Call ``user.forget()`` as soon as anything that it may hold is no longer kept; ``user`` is not kept alive."""
        with self._lock:
            self._users.add(user)

    def packed(self, kernel, weight, version, owner=None) -> tuple[Any, str]:
        """``kernel.pack(weight)`` and whether that is PACKED or KEPT; or the weight itself, UNPACKED.

        ``version`` counts all writes to the weight's memory (``count``) and has room for what is derived from it
        (``derived``, a dict); None where writes are not counted. ``owner`` stands for a weight that is a view of all of
        it, made for this call.
        """
        if version is None:
            return _once(kernel, weight)
        # Read before packing: whoever writes meanwhile counts after it, and what was packed is not found again.
        count = version.count
        known = weight if owner is None else owner
        key = _key(kernel, weight)
        entry = version.derived.get(key)
        if entry is None or entry.count != count or entry.weight() is not known:
            self._note(version, key, _Entry(kernel, known, count))
            return _once(kernel, weight)
        packed = entry.packed
        if packed is not None:
            entry.used = next(self._clock)
            return packed, KEPT
        packed = kernel.pack(weight)
        self._keep(entry, packed)
        return packed, PACKED

    def _note(self, version, key, entry: _Entry) -> None:
        """Remember that the values were used; forget what belongs to earlier ones."""
        with self._lock:
            derived = version.derived
            for old in [old for old, other in derived.items() if other.count != entry.count]:
                del derived[old]
            while len(derived) >= _KERNELS:
                del derived[next(iter(derived))]
            derived[key] = entry

    def _keep(self, entry: _Entry, packed) -> None:
        with self._lock:
            entry.nbytes = getattr(packed, "nbytes", None) or len(packed)
            if entry.nbytes > self.limit:
                return
            entry.packed, entry.used = packed, next(self._clock)
            self._shrink([*(other for other in self._live() if other is not entry), entry])

    def _live(self) -> list[_Entry]:
        found = [entry() for entry in self._entries]
        return [entry for entry in found if entry is not None and entry.packed is not None]

    def _shrink(self, entries: list[_Entry]) -> None:
        """Keep of these what fits; the lock is held."""
        total = sum(entry.nbytes for entry in entries)
        if total > self.limit:
            entries.sort(key=lambda entry: entry.used, reverse=True)
            while total > self.limit:
                oldest = entries.pop()
                self._drop(oldest)
                total -= oldest.nbytes
        self._entries = tuple([weakref.ref(entry) for entry in entries])

    def _drop(self, entry: _Entry) -> None:
        """Let what is packed go, and all who hold it; the lock is held."""
        entry.packed = None
        for user in list(self._users):
            user.forget()


def _key(kernel, weight):
    """What kernels that pack alike have in common.

    On a GPU each stream has its own: no other one would wait until it is packed, nor its memory for them to be done.
    """
    packing = id(kernel) if kernel.packing is None else kernel.packing
    return packing if type(weight) is np.ndarray else (packing, device_arrays.queue_of(weight))


def _once(kernel, weight) -> tuple[Any, str]:
    """For a call after which nothing is kept."""
    return (kernel.pack(weight), PACKED) if kernel.run_unpacked is None else (weight, UNPACKED)


class _Entry:
    """One weight packed for one kernel; without ``packed`` only the mark that these values were used once."""

    __slots__ = ("__weakref__", "count", "kernel", "nbytes", "packed", "used", "weight")

    def __init__(self, kernel, weight, count: int):
        self.kernel = kernel  # held, that no other kernel gets its identity
        self.weight = weakref.ref(weight)  # several arrays may show memory with one version, each another part of it
        self.count = count
        self.packed: Any = None
        self.nbytes = 0
        self.used = 0
