"""What a GPU can do at best: multiply-adds per second, and bytes per second of copies in its memory."""

from __future__ import annotations

import importlib
import statistics
from functools import cache
from typing import Any

from fastconv.bench.gpu_clock import GpuClock, cupy
from fastconv.bench.limits import MEMORY, Bandwidth, Limits

# Of doubles most GPUs do few: the convolutions measured here are of floats.
_DTYPE = "float32"
_SAMPLES = 9
# Enough threads for any GPU to fill each of its schedulers many times, and enough multiply-adds for a millisecond.
_THREADS, _ROUNDS = 1 << 20, 256
_COPIED_BYTES = 1 << 30


@cache
def measure() -> Limits:
    """The limits of the current GPU, read once: no neighbour takes a part of it."""
    loops = importlib.import_module("fastconv._kernels.numba_cuda.machine")
    out = cupy().empty(_THREADS, _DTYPE)
    flops = loops.multiply_add(out, _ROUNDS)
    peak = flops / _median(lambda: loops.multiply_add(out, _ROUNDS))
    source = cupy().zeros(_COPIED_BYTES // 4, _DTYPE)
    target = cupy().empty_like(source)
    copied = 2 * _COPIED_BYTES / _median(lambda: loops.copy(source, target))
    return Limits(1, {_DTYPE: peak}, (Bandwidth(MEMORY, 2 * _COPIED_BYTES, *[copied] * 4),))


def fma_peak(dtype: str, seconds: float | None = None) -> float | None:
    """FLOP/s as ``measure`` found them; None of a dtype that it does not measure."""
    return measure().peaks.get(dtype)


def cache_bytes() -> int:
    """The size of the last cache of the current GPU."""
    return int(cupy().cuda.Device().attributes["L2CacheSize"])


def describe() -> dict[str, Any]:
    """The current GPU, for the machine block of a record."""
    runtime = cupy().cuda.runtime
    found = runtime.getDeviceProperties(runtime.getDevice())
    return {
        "name": found["name"].decode(),
        "capability": f"{found['major']}.{found['minor']}",
        "multiprocessors": found["multiProcessorCount"],
        "memory_bytes": found["totalGlobalMem"],
        "cache_bytes": cache_bytes(),
        "driver": runtime.driverGetVersion(),
        "versions": {"cupy": cupy().__version__},
    }


def _median(call) -> float:
    clock = GpuClock()
    clock.seconds(call, 3)
    return statistics.median(clock.seconds(call, 4) / 4 for _ in range(_SAMPLES))
