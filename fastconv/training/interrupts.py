"""Ctrl-C at the right moment: blocks that must not be torn finish first."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Iterator
from typing import Any

NEVER = math.inf


class Interrupts:
    """Inside the ``with`` block, ``patient`` decides how many presses of Ctrl-C wait until its own block ends.

    The handler that was installed before (by default the one that raises KeyboardInterrupt) is called then, and at once
    outside of patient blocks. In threads other than the main one nothing is installed: no Ctrl-C arrives there.
    """

    def __init__(self):
        self._previous: Any = None
        self._patience: float = 0
        self._waiting = 0

    def __enter__(self) -> Interrupts:
        current = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(current):
            self._previous = current
            signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(self, *exc_info) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    @contextlib.contextmanager
    def patient(self, presses: float) -> Iterator[None]:
        """Let this many presses wait for the end of the block, NEVER for all of them."""
        outer, self._patience = self._patience, presses
        try:
            yield
        finally:
            self._patience = outer
        if self._waiting > self._patience:
            self._deliver(None)

    def _receive(self, number: int, frame: Any) -> None:
        self._waiting += 1
        if self._waiting > self._patience:
            self._deliver(frame)

    def _deliver(self, frame: Any) -> None:
        self._waiting = 0
        self._previous(signal.SIGINT, frame)
