"""The thread in which the network learns."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from fastconv.pages.live_training.lesson import Lesson, Look
from fastconv.pages.live_training.settings import EPOCHS, Settings

READY, RUNNING, PAUSED, FINISHED, FAILED = "ready", "running", "paused", "finished", "failed"
# Seconds between two snapshots while the network learns, and those that each step leaves to other threads at least.
INTERVAL = 0.1
_BREATH = 0.001


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What others see of the training: made between two steps, changed by nobody.

    ``lesson`` counts the beginnings; ``epoch`` the complete passes over the data, ``batch`` the steps of the next one;
    ``reason`` says why training failed.
    """

    lesson: int
    status: str
    reason: str
    epoch: int
    batch: int
    batches: int
    seconds: float
    settings: Settings
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    tests: tuple[tuple[int, float, float], ...]
    look: Look

    @property
    def step(self) -> int:
        """How many steps are done."""
        return len(self.losses)


class Trainer:
    """Teaches one network after the other, in a thread that lives inside the ``with`` block.

    ``start``, ``pause``, ``reset`` and ``change`` may be called by any thread: they return a Future of the snapshot in
    which the order is done, and orders are done between two steps. ``snapshot`` is always the newest one. Training goes
    on whether anybody looks or not, until ``epochs`` passes over the data are done. It computes with the backend of the
    context in which the trainer was made.

    >>> with Trainer(seed=1) as trainer:
    ...     trainer.snapshot.status, trainer.start().result().status, trainer.pause().result().status
    ('ready', 'running', 'paused')
    """

    def __init__(self, seed: int = 0, epochs: int = EPOCHS):
        self.seed, self.epochs = seed, epochs
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._settings, self._lessons = Settings(), 0
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._work,), name="fastconv-live-training", daemon=True
        )
        self._begin()
        self._publish()

    def __enter__(self) -> Trainer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._orders.put(None)
        self._thread.join()

    def start(self) -> Future[Snapshot]:
        """Train, or go on; nothing once training is finished or has failed."""
        return self._order(self._start)

    def pause(self) -> Future[Snapshot]:
        """Stop behind the step that is being done."""
        return self._order(self._pause)

    def reset(self) -> Future[Snapshot]:
        """Forget the network and draw it anew, from the same seed; it waits to be started."""
        return self._order(self._begin)

    def change(self, values: Mapping[str, Any]) -> Future[Snapshot]:
        """Change settings; the future raises ValueError, and nothing is changed, for what is not offered."""
        return self._order(lambda: self._change(values))

    def _order(self, act: Callable[[], None]) -> Future[Snapshot]:
        answer: Future[Snapshot] = Future()

        def do() -> None:
            is_awaited = answer.set_running_or_notify_cancel()
            try:
                act()
                self._publish()
            except Exception as error:
                if is_awaited:
                    answer.set_exception(error)
            else:
                if is_awaited:
                    answer.set_result(self.snapshot)

        self._orders.put(do)
        return answer

    def _work(self) -> None:
        while True:
            try:
                order = self._orders.get(timeout=self._seconds_to_next_step())
            except queue.Empty:
                self._step()
                continue
            if order is None:
                return
            order()

    def _seconds_to_next_step(self) -> float | None:
        return max(_BREATH, self._due - time.monotonic()) if self._status == RUNNING else None

    def _begin(self) -> None:
        self._lesson, self._lessons = Lesson(self.seed, self._settings), self._lessons + 1
        self._status, self._reason, self._seconds = READY, "", 0.0
        self._looked_at = -1

    def _start(self) -> None:
        if self._status in (READY, PAUSED):
            self._status = RUNNING
            self._due = self._now = time.monotonic()

    def _pause(self) -> None:
        if self._status == RUNNING:
            self._status = PAUSED

    def _change(self, values: Mapping[str, Any]) -> None:
        self._settings = self._settings.changed(values)

    def _step(self) -> None:
        try:
            self._lesson.step(self._settings)
            if self._lesson.run.epoch >= self.epochs:
                self._status = FINISHED
            self._pass_time()
            if self._status != RUNNING or self._now - self._published >= INTERVAL:
                self._publish()
        except Exception as error:  # the page shows it; the thread is still there for a reset
            self._status, self._reason = FAILED, f"{type(error).__name__}: {error}"
            self._looked_at = self._lesson.steps  # another look could fail again
            self._publish()

    def _pass_time(self) -> None:
        """When this step was done, and when the next one is due."""
        before, self._now = self._now, time.monotonic()
        self._seconds += self._now - before
        pause = 1 / self._settings.pace if self._settings.pace else 0.0
        self._due = max(self._due + pause, self._now)

    def _publish(self) -> None:
        lesson, run = self._lesson, self._lesson.run
        if self._looked_at != lesson.steps:
            self._look, self._looked_at = lesson.look(), lesson.steps
        self._published = time.monotonic()
        self.snapshot = Snapshot(
            lesson=self._lessons,
            status=self._status,
            reason=self._reason,
            epoch=run.epoch,
            batch=run.position,
            batches=run.batches,
            seconds=self._seconds,
            settings=self._settings,
            losses=tuple(lesson.losses),
            accuracies=tuple(lesson.accuracies),
            tests=tuple(lesson.tests),
            look=self._look,
        )
