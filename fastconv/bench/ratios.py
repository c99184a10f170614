"""Ratios of times, with the interval that their noise leaves, and means of ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def is_outside_noise(self) -> bool:
        """Whether the interval excludes 1."""
        return self.low > 1 or self.high < 1


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """How many times faster ``ours`` is, from the rounds in which both were timed: the median of theirs / ours.

    The interval is the percentile bootstrap over rounds: what slows a whole round down cancels out.

    >>> paired([1.0, 2.0, 1.0], [2.0, 4.0, 2.0])
    Ratio(value=2.0, low=2.0, high=2.0)
    """
    rounds = min(len(ours), len(theirs))
    ratios = np.asarray(theirs[:rounds]) / np.asarray(ours[:rounds])
    return _ratio(float(np.median(ratios)), np.median(_resampled(ratios), axis=1))


def unpaired(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """How many times faster ``ours`` is, where the two were timed in different runs: a ratio of medians.

    >>> unpaired([1.0, 1.0], [0.5, 0.5])
    Ratio(value=0.5, low=0.5, high=0.5)
    """
    mine, other = (np.median(_resampled(np.asarray(times), seed), axis=1) for seed, times in enumerate((ours, theirs)))
    return _ratio(float(np.median(theirs) / np.median(ours)), other / mine)


def geometric_mean(values: Iterable[float]) -> float:
    """The mean that treats twice as fast and half as fast alike.

    >>> geometric_mean([2.0, 0.5])
    1.0
    """
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))


def _resampled(values, seed=0):
    picks = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    return values[picks]


def _ratio(value, resampled):
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Ratio(value, float(low), float(high))
