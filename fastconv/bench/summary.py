"""Summing up: geometric means over distinct shapes, and the time of a whole network counted layer by layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fastconv.bench.ratios import geometric_mean
from fastconv.bench.records import TIMED, Record

Group = tuple[str, str, int, str, str, int]


@dataclass(frozen=True, slots=True)
class Mean:
    """One contestant over the ``cases`` of a suite that it timed, in one direction and setting.

    ``all_cases`` is how many the run has there, whoever timed them. ``ratio`` is the geometric mean of the ratios to
    the best peer, None where there was no peer; ``network_seconds`` adds up ``count`` times the median of each case,
    None unless all cases were timed; ``peak_fraction`` is that of the cases which multiply together.
    """

    suite: str
    direction: str
    batch: int
    layout: str
    dtype: str
    threads: int
    contestant: str
    cases: int
    all_cases: int
    ratio: float | None
    lowest_ratio: float | None
    network_seconds: float | None
    peak_fraction: float | None

    @property
    def coverage(self) -> str:
        """How many of the cases were timed, in words."""
        return share(self.cases, self.all_cases)


def means(records: Iterable[Record]) -> list[Mean]:
    """One Mean per contestant, suite, direction and setting, in the order in which they first occur."""
    records = list(records)
    cases = cases_by_setting(records)
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        if record.status == TIMED:
            groups.setdefault((*setting(record), record.contestant), []).append(record)
    return [_mean(group, len(cases[setting(group[0])])) for group in groups.values()]


def cases_by_setting(records: Iterable[Record]) -> dict[Group, set[str]]:
    """The names of all cases, whatever became of them."""
    found: dict[Group, set[str]] = {}
    for record in records:
        found.setdefault(setting(record), set()).add(record.case)
    return found


def share(number: int, of: int) -> str:
    """A number, and of how many where these are more.

    >>> share(3, 3), share(3, 5)
    ('3', '3 of 5')
    """
    return str(number) if number == of else f"{number} of {of}"


def setting(record: Record) -> Group:
    """What the records of one mean share, the contestant apart."""
    return (record.suite, record.direction, record.batch, record.layout, record.dtype, record.threads)


def network_seconds(records: Iterable[Record]) -> float:
    """Seconds of all layers of a network: the sum of count · median."""
    return sum(record.count * record.time_median for record in records if record.time_median is not None)


def _mean(group, all_cases):
    ratios = [record.ratio_to_best_peer for record in group if record.ratio_to_best_peer is not None]
    limited = [record for record in group if record.peak_gflops]
    limit = sum(record.count * record.flops / record.peak_gflops / 1e9 for record in limited)
    return Mean(
        *setting(group[0]),
        group[0].contestant,
        len(group),
        all_cases,
        geometric_mean(ratios) if ratios else None,
        min(ratios, default=None),
        network_seconds(group) if len(group) == all_cases else None,
        limit / network_seconds(limited) if limited else None,
    )
