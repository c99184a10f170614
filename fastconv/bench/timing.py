"""Timing that can be believed: contestants take turns in random order in one process, with a pause before each."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to measure; times in seconds.

    A contestant is timed in ``rounds`` rounds, or until its samples add up to ``seconds`` after ``least`` of them.
    ``pause`` lets the thread pool of the one before go to sleep. Calls shorter than ``sample`` are repeated within a
    sample; calls shorter than ``wake`` are first repeated uncounted for as long as a sample, so that none holds the
    waking of threads.
    """

    rounds: int = 20
    seconds: float = 3.0
    least: int = 6
    warm_up: int = 3
    pause: float = 0.02
    sample: float = 0.002
    wake: float = 0.02


QUICK = Budget(rounds=6, seconds=0.3, warm_up=1, sample=0.001)


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from; tests put a false one here."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], object] = time.sleep


def measure(
    contestants: Mapping[str, Call],
    budget: Budget,
    *,
    rests: Mapping[str, float] | None = None,
    deadline: float = math.inf,
    failures: dict[str, Exception] | None = None,
    clock: Clock | None = None,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Name -> seconds of one call in each round; position i of two lists is the same round.

    The pause after a contestant is at least its ``rests``. After ``deadline`` on the clock no round begins that is not
    among the ``least``. What a contestant raises goes into ``failures``, and the others play on; without that it is
    raised.
    """
    clock, rests, shuffled = clock or Clock(), rests or {}, np.random.default_rng(seed).permutation
    with _no_garbage_collection():
        runners = {name: _Runner(call, budget, clock) for name, call in contestants.items()}
        rest = max(rests.values(), default=0.0)
        for number in range(budget.rounds):
            if number >= budget.least and clock.now() > deadline:
                break
            for name in shuffled([name for name, runner in runners.items() if runner.goes_on()]):
                clock.sleep(max(budget.pause, rest))
                runners[name].sample()
                rest = rests.get(name, 0.0)
    found = {name: runner.error for name, runner in runners.items() if runner.error is not None}
    if failures is None and found:
        raise next(iter(found.values()))
    (failures if failures is not None else {}).update(found)
    return {name: runner.samples for name, runner in runners.items()}


def medians(contestants: Mapping[str, Call], budget: Budget, *, clock: Clock | None = None) -> dict[str, float]:
    """Name -> median seconds of one call."""
    return {name: statistics.median(times) for name, times in measure(contestants, budget, clock=clock).items()}


class _Runner:
    """One contestant: warmed up, and what it took so far; after an error it takes no further part."""

    def __init__(self, call: Call, budget: Budget, clock: Clock):
        self.call, self.budget, self.clock = call, budget, clock
        self.samples: list[float] = []
        self.error: Exception | None = None
        estimate = min(self._seconds(1) for _ in range(max(budget.warm_up, 1)))
        self.repeats = max(math.ceil(budget.sample / max(estimate, 1e-7)), 1)
        self.uncounted = self.repeats if estimate < budget.wake else 0

    def goes_on(self) -> bool:
        spent = sum(self.samples) * self.repeats
        return self.error is None and (len(self.samples) < self.budget.least or spent < self.budget.seconds)

    def sample(self) -> None:
        self._seconds(self.uncounted)
        self.samples.append(self._seconds(self.repeats))

    def _seconds(self, repeats: int) -> float:
        begin = self.clock.now()
        try:
            for _ in range(repeats):
                self.call()
        except Exception as error:
            self.error = error
        return (self.clock.now() - begin) / max(repeats, 1)


@contextmanager
def _no_garbage_collection():
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
