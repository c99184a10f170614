"""Summing up: geometric means over distinct shapes, and the time of a whole network counted layer by layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fastconv.bench.ratios import geometric_mean
from fastconv.bench.records import TIMED, Record

Group = tuple[str, str, int, str, str, int]


@dataclass(frozen=True, slots=True)
class Mean:
    """One contestant over all timed cases of a suite, in one direction and setting.

    ``network_seconds`` adds up ``count`` times the median of each case; ``ratio`` is the geometric mean of the ratios
    to the best peer, None where there was no peer.
    """

    suite: str
    direction: str
    batch: int
    layout: str
    dtype: str
    threads: int
    contestant: str
    cases: int
    ratio: float | None
    lowest_ratio: float | None
    network_seconds: float
    peak_fraction: float | None


def means(records: Iterable[Record]) -> list[Mean]:
    """One Mean per contestant, suite, direction and setting, in the order in which they first occur."""
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        if record.status == TIMED:
            groups.setdefault((*setting(record), record.contestant), []).append(record)
    return [_mean(group) for group in groups.values()]


def setting(record: Record) -> Group:
    """What the records of one mean share, the contestant apart."""
    return (record.suite, record.direction, record.batch, record.layout, record.dtype, record.threads)


def network_seconds(records: Iterable[Record]) -> float:
    """Seconds of all layers of a network: the sum of count · median."""
    return sum(record.count * record.time_median for record in records if record.time_median is not None)


def _mean(group):
    ratios = [record.ratio_to_best_peer for record in group if record.ratio_to_best_peer is not None]
    flops = sum(record.count * record.flops for record in group)
    limit = sum(record.count * record.flops / record.peak_gflops / 1e9 for record in group if record.peak_gflops)
    seconds = network_seconds(group)
    return Mean(
        *setting(group[0]),
        group[0].contestant,
        len(group),
        geometric_mean(ratios) if ratios else None,
        min(ratios, default=None),
        seconds,
        limit / seconds if flops and limit else None,
    )
