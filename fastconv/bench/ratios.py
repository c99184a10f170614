"""Ratios of times, with the interval that their noise leaves, and means of ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
# Fewer samples leave no interval: what is drawn again from so few repeats itself, and looks surer than it is.
FEWEST = 6

# What a ratio says.
FASTER = "faster"
SLOWER = "slower"
EVEN = "even"
UNKNOWN = "unknown"

_STANDARD_ERRORS = 1.96


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio and its 95 % interval; without one both ends are None."""

    value: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """FASTER or SLOWER where the interval excludes 1, else EVEN; UNKNOWN without an interval.

        >>> Ratio(1.2, 1.1, 1.3).verdict, Ratio(1.2, None, None).verdict
        ('faster', 'unknown')
        """
        if self.low is None or self.high is None:
            return UNKNOWN
        if self.low > 1:
            return FASTER
        return SLOWER if self.high < 1 else EVEN

    @property
    def is_outside_noise(self) -> bool:
        """Whether the interval excludes 1."""
        return self.verdict in (FASTER, SLOWER)

    def is_below(self, limit: float) -> bool:
        """Whether the whole interval is; never without one."""
        return self.high is not None and self.high < limit


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """How many times faster ``ours`` is, from the rounds in which both were timed: the median of theirs / ours.

    The interval is the percentile bootstrap over rounds: what slows a whole round down cancels out. From fewer than
    FEWEST rounds there is none.

    >>> paired([1.0, 2.0] * 3, [2.0, 4.0] * 3)
    Ratio(value=2.0, low=2.0, high=2.0)
    >>> paired([1.0, 2.0], [2.0, 4.0])
    Ratio(value=2.0, low=None, high=None)
    """
    rounds = min(len(ours), len(theirs))
    ratios = np.asarray(theirs[:rounds]) / np.asarray(ours[:rounds])
    value = float(np.median(ratios))
    return Ratio(value, None, None) if rounds < FEWEST else _ratio(value, np.median(_resampled(ratios), axis=1))


def unpaired(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """How many times faster ``ours`` is, where the two were timed in different runs: a ratio of medians.

    >>> unpaired([1.0] * 6, [0.5] * 6)
    Ratio(value=0.5, low=0.5, high=0.5)
    """
    value = float(np.median(theirs) / np.median(ours))
    if min(len(ours), len(theirs)) < FEWEST:
        return Ratio(value, None, None)
    mine, other = (np.median(_resampled(np.asarray(times), seed), axis=1) for seed, times in enumerate((ours, theirs)))
    return _ratio(value, other / mine)


def mean(cases: Sequence[Ratio]) -> Ratio:
    """The geometric mean of independent ratios; without an interval where one of them has none.

    Half of an interval on the logarithmic scale is 1.96 standard errors, and standard errors add up as squares do.

    >>> found = mean([Ratio(2.0, 1.0, 4.0)] * 4)
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (2.0, 1.414, 2.828)
    """
    value = geometric_mean(case.value for case in cases)
    spans = [math.log(case.high / case.low) for case in cases if case.low is not None and case.high is not None]
    if len(spans) < len(cases):
        return Ratio(value, None, None)
    error = math.sqrt(sum((span / (2 * _STANDARD_ERRORS)) ** 2 for span in spans)) / len(spans)
    reach = math.exp(_STANDARD_ERRORS * error)
    return Ratio(value, value / reach, value * reach)


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
