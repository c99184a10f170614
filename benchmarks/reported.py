"""Quantities that were measured elsewhere, as rounds of a benchmark.

pytest-benchmark subtracts two readings of its timer around a call. ``clock`` stands still but for the seconds that the
call tells it, so that tables, comparisons and ``--benchmark-json`` show exactly the quantity that was measured in
another process or by another instrument, and nothing of what it took to get it.
"""

import pytest

_now = 0.0


def clock():
    """Seconds told so far."""
    return _now


show_reported = pytest.mark.benchmark(timer=clock)


def show(benchmark, samples):
    """Enter seconds as the rounds of a benchmark; the test must be marked ``show_reported``."""
    waiting = iter(samples)
    benchmark.pedantic(lambda: _advance(next(waiting)), rounds=len(samples))


def _advance(seconds):
    global _now
    _now += seconds
