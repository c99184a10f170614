"""Time on a GPU, between events that lie in its queue: calls only put work there, and the host does not wait for it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from fastconv.bench.timing import Call, Clock


def cupy() -> Any:
    """CuPy, which whoever computes on a GPU has."""
    return importlib.import_module("cupy")


@dataclass(frozen=True, slots=True)
class GpuClock(Clock):
    """The calls of a sample are queued one behind the other; where they are shorter than a launch, that is what counts.

    Events are recorded on the current stream, which is the default one, of CuPy as of PyTorch.
    """

    def seconds(self, call: Call, repeats: int) -> float:
        """From the event before the first call to the one behind the last."""
        cuda = cupy().cuda
        begin, end = cuda.Event(), cuda.Event()
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return cuda.get_elapsed_time(begin, end) / 1e3
