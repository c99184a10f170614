"""What the machine can do at best: multiply-adds per second, and bytes per second from each level of memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fastconv import get_num_threads, memory
from fastconv.bench import machine
from fastconv.dtypes import FLOAT_TYPES

MEMORY = "memory"
# From here on a cache no longer helps: four times the last level (and more where that is small).
_LEAST_MEMORY_BYTES = 1 << 27


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Bytes per second over arrays of ``nbytes`` together; copies count both directions."""

    level: str
    nbytes: int
    read: float
    write: float
    copy: float
    streaming: float

    @property
    def best(self) -> float:
        """The most that any mixture of reads and writes moved."""
        return max(self.read, self.write, self.copy, self.streaming)


@dataclass(frozen=True, slots=True)
class Limits:
    """Peaks (FLOP/s by dtype) and bandwidths, nearest level first, with ``threads`` threads."""

    threads: int
    peaks: Mapping[str, float]
    bandwidths: tuple[Bandwidth, ...]

    def roofline_seconds(
        self, dtype: str, flops: int, read: int, written: int, held: int | None = None
    ) -> float | None:
        """The least time that the limits allow: all multiply-adds at peak, all bytes from where they fit.

        max(FLOP / peak, read / read bandwidth, (read + written) / best bandwidth); None where nothing was measured.
        ``held`` bytes are to fit: other than read + written where something is read twice or written over.
        """
        if not self.bandwidths:
            return None
        held = read + written if held is None else held
        return max(flops / self.peaks[dtype], self._memory_seconds(read, written, held))

    def is_memory_bound(self, dtype: str, flops: int, read: int, written: int, held: int) -> bool:
        """Whether moving the bytes takes longer than the multiply-adds."""
        return bool(self.bandwidths) and flops / self.peaks[dtype] < self._memory_seconds(read, written, held)

    def _memory_seconds(self, read, written, held):
        level = next((entry for entry in self.bandwidths if held <= entry.nbytes), self.bandwidths[-1])
        return max(read / level.read, (read + written) / level.best)

    def as_plain(self) -> dict[str, Any]:
        """For the machine block of a record: GFLOP/s and GB/s."""
        speeds = ("read", "write", "copy", "streaming")
        return {
            "threads": self.threads,
            "peak_gflops": {dtype: peak / 1e9 for dtype, peak in self.peaks.items()},
            "bandwidths": {
                entry.level: {"bytes": entry.nbytes} | {name: asdict(entry)[name] / 1e9 for name in speeds}
                for entry in self.bandwidths
            },
        }


def measure(seconds: float = 0.3) -> Limits:
    """The limits with the thread count that is set; empty where the compiled extension is missing."""
    threads = get_num_threads()
    peaks = {dtype: value for dtype in FLOAT_TYPES if (value := fma_peak(dtype, seconds))}
    return Limits(
        threads, peaks, tuple(_bandwidth(name, nbytes, seconds) for name, nbytes in _levels(threads)) if peaks else ()
    )


def fma_peak(dtype: str, seconds: float = 0.05) -> float | None:
    """FLOP/s of a loop that does nothing but multiply-adds in registers, now; None without the compiled extension.

    The best of several readings within the ``seconds``, of which some milliseconds are the least.
    """
    loops = machine.loops()
    return None if loops is None else loops.fma_peak(dtype, seconds)


def movers(read: int, written: int, held: int) -> list[Any]:
    """Calls that move as many bytes as a pass must, with and without streaming stores, and compute nothing.

    The faster one takes the least time of a pass over arrays of ``held`` bytes together, with the threads that are set.
    Empty without the compiled extension.
    """
    loops = machine.loops()
    return [] if loops is None else [loops.Mover(read, written, held, streaming) for streaming in (False, True)]


def _levels(threads):
    """(name, bytes of the arrays together): half of each cache that the threads have, and well beyond the last."""
    found = sorted(machine.caches().items())
    last, last_size = found[-1] if found else ("", 0)
    for level, size in found[1:]:  # data in the first level is gone before the next call
        yield level, size * (1 if level == last else threads) // 2
    left = memory.available_bytes()
    beyond = max(4 * last_size, _LEAST_MEMORY_BYTES)
    yield MEMORY, beyond if left is None else min(beyond, left // 4)


def _bandwidth(level, nbytes, seconds):
    return Bandwidth(level, nbytes, **machine.loops().bandwidths(nbytes, seconds / 4))
