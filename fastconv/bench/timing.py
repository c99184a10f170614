"""Timing that can be believed: contestants take turns in one process, medians decide."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

WARM_UP = 2


def interleaved(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    seconds: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of one call of each contestant.

    They run in turns for ``rounds`` rounds, or until ``seconds`` have passed after at least three; two calls of each
    before that are not counted.
    """
    for call in contestants.values():
        for _ in range(WARM_UP):
            call()
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    end = clock() + seconds
    for done in range(rounds):
        if done >= 3 and clock() > end:
            break
        for name, call in contestants.items():
            begin = clock()
            call()
            samples[name].append(clock() - begin)
    return {name: statistics.median(times) for name, times in samples.items()}
