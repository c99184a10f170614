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
    sample, and calls shorter than ``wake`` run once uncounted after the pause, so that no sample holds the waking of
    threads.
    """

    rounds: int = 20
    seconds: float = 3.0
    least: int = 5
    warm_up: int = 3
    pause: float = 0.02
    sample: float = 0.002
    wake: float = 0.02


QUICK = Budget(rounds=7, seconds=0.3, least=3, warm_up=1, pause=0.005, sample=0.001, wake=0.005)


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from; tests put a false one here."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], object] = time.sleep


def measure(
    contestants: Mapping[str, Call],
    budget: Budget,
    *,
    deadline: float = math.inf,
    clock: Clock | None = None,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Name -> seconds of one call in each round; position i of two lists is the same round.

    After ``deadline`` on the clock no round begins that is not among the ``least``.
    """
    clock, shuffled = clock or Clock(), np.random.default_rng(seed).permutation
    with _no_garbage_collection():
        runners = {name: _Runner(call, budget, clock) for name, call in contestants.items()}
        for number in range(budget.rounds):
            if number >= budget.least and clock.now() > deadline:
                break
            for name in shuffled([name for name, runner in runners.items() if runner.goes_on()]):
                runners[name].sample()
    return {name: runner.samples for name, runner in runners.items()}


def medians(contestants: Mapping[str, Call], budget: Budget, *, clock: Clock | None = None) -> dict[str, float]:
    """Name -> median seconds of one call."""
    return {name: statistics.median(times) for name, times in measure(contestants, budget, clock=clock).items()}


class _Runner:
    """One contestant: warmed up, and what it took so far."""

    def __init__(self, call: Call, budget: Budget, clock: Clock):
        self.call, self.budget, self.clock = call, budget, clock
        self.samples: list[float] = []
        estimate = min(self._seconds(1) for _ in range(max(budget.warm_up, 1)))
        self.repeats = max(math.ceil(budget.sample / max(estimate, 1e-7)), 1)
        self.is_short = estimate < budget.wake

    def goes_on(self) -> bool:
        spent = sum(self.samples) * self.repeats
        return len(self.samples) < self.budget.least or spent < self.budget.seconds

    def sample(self) -> None:
        self.clock.sleep(self.budget.pause)
        if self.is_short:
            self.call()
        self.samples.append(self._seconds(self.repeats))

    def _seconds(self, repeats: int) -> float:
        begin = self.clock.now()
        for _ in range(repeats):
            self.call()
        return (self.clock.now() - begin) / repeats


@contextmanager
def _no_garbage_collection():
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
