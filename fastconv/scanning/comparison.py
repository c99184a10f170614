"""The one-pass scan beside the classifier that runs on every window: are they equal, and how much faster is it?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from fastconv.nn import Module
from fastconv.scanning.finder import find_digits, scan, scan_by_window
from fastconv.scanning.forms import Form
from fastconv.scanning.matching import Score, score

# Windows at a time; the fastest counts.
BATCHES = (16, 64, 256, 1024)


@dataclass(frozen=True)
class Comparison:
    """Medians of seconds on one form, and the logits that differ in some bit; ``found`` is what the finder found."""

    positions: int
    logits: int
    different: int
    scan_seconds: float
    window_seconds: dict[int, float]
    found: Score

    @property
    def speedup(self) -> float:
        """How many times faster the scan is than the windows in the best of the batch sizes."""
        return min(self.window_seconds.values()) / self.scan_seconds


def compare(form: Form, model: Module, *, rounds: int = 5, batches: tuple[int, ...] = BATCHES) -> Comparison:
    """Check, then time: in every round the scan and the windows in all batch sizes take their turns.

    Raises what ``scan`` raises.
    """
    once, by_window = scan(form.ink, model), scan_by_window(form.ink, model, batches[0])
    scans: list[float] = []
    windows: dict[int, list[float]] = {batch: [] for batch in batches}
    for _ in range(rounds):
        scans.append(_seconds(partial(scan, form.ink, model)))
        for batch, times in windows.items():
            times.append(_seconds(partial(scan_by_window, form.ink, model, batch)))
    return Comparison(
        positions=once[0].size,
        logits=once.size,
        different=int(np.count_nonzero(once.view(np.uint32) != by_window.view(np.uint32))),
        scan_seconds=statistics.median(scans),
        window_seconds={batch: statistics.median(times) for batch, times in windows.items()},
        found=score(find_digits(form.ink, model), form.digits),
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
