"""Two runs, or two contestants of one run, side by side: a ratio for every case that both timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastconv.bench import ratios
from fastconv.bench.ratios import Ratio, geometric_mean
from fastconv.bench.records import TIMED, Record, Run
from fastconv.bench.summary import network_seconds, setting

# What makes absolute times of two runs incomparable.
_MACHINE_FACTS = ("cpu", "instruction_set", "cores_allowed", "blas_threads")


@dataclass(frozen=True, slots=True)
class Pair:
    """The same work done twice; ``ratio`` above 1 says that the second is faster."""

    first: Record
    second: Record
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Group:
    """The pairs of one suite, direction and setting."""

    first: Record
    second: Record
    pairs: tuple[Pair, ...]

    @property
    def geometric_mean(self) -> float:
        """Over distinct shapes."""
        return geometric_mean(pair.ratio.value for pair in self.pairs)

    @property
    def network_seconds(self) -> tuple[float, float]:
        """Of the first and of the second: all layers, each as often as it occurs."""
        firsts, seconds = zip(*((pair.first, pair.second) for pair in self.pairs), strict=True)
        return network_seconds(firsts), network_seconds(seconds)


def runs(first: Run, second: Run) -> list[Pair]:
    """Every contestant against itself in another run."""
    others = {(record.job, record.contestant): record for record in _timed(second)}
    found = [(record, others.get((record.job, record.contestant))) for record in _timed(first)]
    return [_pair(a, b, is_same_run=False) for a, b in found if b is not None]


def contestants(first: Run, second: Run, names: tuple[str, str]) -> list[Pair]:
    """One contestant of the first run against another of the second; rounds are paired where the runs are one.

    Raises ValueError where a run has no timed record of its contestant.
    """
    for run, name in zip((first, second), names, strict=True):
        known = dict.fromkeys(record.contestant for record in _timed(run))
        if name not in known:
            raise ValueError(f"no timed contestant {name!r}; there are: {', '.join(known) or 'none'}")
    others = {record.job: record for record in _timed(second) if record.contestant == names[1]}
    found = [(record, others.get(record.job)) for record in _timed(first) if record.contestant == names[0]]
    return [_pair(a, b, is_same_run=first is second) for a, b in found if b is not None]


def groups(pairs: Sequence[Pair]) -> list[Group]:
    """By suite, direction, setting and contestants, in the order in which they first occur."""
    found: dict[tuple, list[Pair]] = {}
    for pair in pairs:
        key = (*setting(pair.first), pair.first.contestant, pair.second.contestant)
        found.setdefault(key, []).append(pair)
    return [Group(members[0].first, members[0].second, tuple(members)) for members in found.values()]


def falls_below(pairs: Sequence[Pair], limit: float) -> list[str]:
    """What is slower than ``limit`` allows: cases whose whole interval lies below it, and geometric means."""
    cases = [
        f"{pair.first.suite}: {pair.first.case}, {pair.first.direction}: {pair.ratio.value:.3f}, "
        f"at most {pair.ratio.high:.3f}"
        for pair in pairs
        if pair.ratio.high < limit
    ]
    means = [
        f"geometric mean of {group.first.suite}, {group.first.direction}: {group.geometric_mean:.3f}"
        for group in groups(pairs)
        if group.geometric_mean < limit
    ]
    return cases + means


def differences(first: Run, second: Run) -> list[str]:
    """Facts of the two machines and runs that differ, as sentences."""
    found = [
        f"{name}: {first.machine.get(name)} / {second.machine.get(name)}"
        for name in _MACHINE_FACTS
        if first.machine.get(name) != second.machine.get(name)
    ]
    if first.settings.get("allocator") != second.settings.get("allocator"):
        found.append(f"allocator: {first.settings.get('allocator')} / {second.settings.get('allocator')}")
    return found


def _timed(run):
    return [record for record in run.records if record.status == TIMED]


def _pair(first, second, *, is_same_run):
    compute = ratios.paired if is_same_run else ratios.unpaired
    return Pair(first, second, compute(_samples(second), _samples(first)))


def _samples(record):
    """Of a file that somebody made smaller only the median is left."""
    return record.samples or (record.time_median,)
