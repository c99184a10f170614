"""Timing that can be believed: contestants take turns in random order in one process, with a pause before each."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to measure; times in seconds.

    A contestant is timed in ``rounds`` rounds, or until its samples add up to ``seconds`` after ``least`` of them.
    ``pause`` lets the thread pool of the one before go to sleep. Calls shorter than ``sample`` are repeated within a
    sample; calls shorter than ``wake`` are first repeated uncounted for as long as a sample, so that none holds the
    waking of threads. Of a contestant's samples at most ``retakes`` that others on the machine spoiled are taken again,
    within its ``seconds``.
    """

    rounds: int = 20
    seconds: float = 3.0
    least: int = 6
    warm_up: int = 3
    pause: float = 0.02
    sample: float = 0.002
    wake: float = 0.02
    retakes: int = 20


QUICK = Budget(rounds=6, seconds=0.3, warm_up=1, sample=0.001, retakes=0)


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from; tests put a false one here."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], object] = time.sleep

    def seconds(self, call: Call, repeats: int) -> float:
        """How long so many calls take together."""
        begin = self.now()
        for _ in range(repeats):
            call()
        return self.now() - begin


def measure(
    contestants: Mapping[str, Call],
    budget: Budget,
    *,
    rests: Mapping[str, float] | None = None,
    is_calm: Callable[[], bool] = lambda: True,
    deadline: float = math.inf,
    failures: dict[str, Exception] | None = None,
    disturbed: dict[str, int] | None = None,
    clock: Clock | None = None,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Name -> seconds of one call in each round; position i of two lists is the same round.

    The pause after a contestant is at least its ``rests``. ``is_calm`` is asked in each pause; a sample between two of
    which one was not is taken again. How many such samples were left when nothing more was taken again goes into
    ``disturbed``. After ``deadline`` on the clock no round begins that is not among the ``least``. What a contestant
    raises goes into ``failures``, and the others play on; without that it is raised.
    """
    clock, rests, shuffled = clock or Clock(), rests or {}, np.random.default_rng(seed).permutation
    with _no_garbage_collection():
        runners = {name: _Runner(call, budget, clock) for name, call in contestants.items()}
        pauses = _Pauses(budget, clock, is_calm)
        pauses.make(max(rests.values(), default=0.0))
        for number in range(budget.rounds):
            if number >= budget.least and clock.now() > deadline:
                break
            for name in shuffled([name for name, runner in runners.items() if runner.goes_on()]):
                runners[name].play(partial(pauses.make, rests.get(name, 0.0)))
    found = {name: runner.error for name, runner in runners.items() if runner.error is not None}
    if failures is None and found:
        raise next(iter(found.values()))
    (failures if failures is not None else {}).update(found)
    if disturbed is not None:
        disturbed.update({name: runner.disturbed for name, runner in runners.items()})
    return {name: runner.samples for name, runner in runners.items()}


def medians(contestants: Mapping[str, Call], budget: Budget, *, clock: Clock | None = None) -> dict[str, float]:
    """Name -> median seconds of one call."""
    return {name: statistics.median(times) for name, times in measure(contestants, budget, clock=clock).items()}


class _Pauses:
    """What lies between two samples: time for threads to go to sleep, and a look at the machine."""

    def __init__(self, budget: Budget, clock: Clock, is_calm: Callable[[], bool]):
        self.budget, self.clock, self.is_calm = budget, clock, is_calm
        self.was_calm = True

    def make(self, rest: float) -> bool:
        """Pause; whether the machine was calm before and after what was done since the last pause."""
        self.clock.sleep(max(self.budget.pause, rest))
        before, self.was_calm = self.was_calm, self.is_calm()
        return before and self.was_calm


class _Runner:
    """One contestant: warmed up, and what it took so far; after an error it takes no further part."""

    def __init__(self, call: Call, budget: Budget, clock: Clock):
        self.call, self.budget, self.clock = call, budget, clock
        self.samples: list[float] = []
        self.error: Exception | None = None
        self.retakes, self.disturbed, self.spent = budget.retakes, 0, 0.0
        estimate = min(self._seconds(1) for _ in range(max(budget.warm_up, 1)))
        self.repeats = max(math.ceil(budget.sample / max(estimate, 1e-7)), 1)
        self.uncounted = self.repeats if estimate < budget.wake else 0

    def goes_on(self) -> bool:
        return self.error is None and (len(self.samples) < self.budget.least or self._has_time())

    def play(self, pause: Callable[[], bool]) -> None:
        """Take a sample, again where ``pause`` says that it was disturbed, as long as that is allowed."""
        while True:
            self._seconds(self.uncounted)
            seconds = self._seconds(self.repeats)
            self.spent += seconds * self.repeats
            is_undisturbed = pause()
            if is_undisturbed or self.error is not None or not self.retakes or not self._has_time():
                break
            self.retakes -= 1
        self.samples.append(seconds)
        self.disturbed += not is_undisturbed

    def _has_time(self) -> bool:
        return self.spent < self.budget.seconds

    def _seconds(self, repeats: int) -> float:
        try:
            return self.clock.seconds(self.call, repeats) / max(repeats, 1)
        except Exception as error:
            self.error = error
            return 0.0


@contextmanager
def _no_garbage_collection():
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
