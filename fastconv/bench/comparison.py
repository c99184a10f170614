"""Two runs, or two contestants of one run, side by side: a ratio for every case that both timed, and what lacks one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastconv.bench import ratios
from fastconv.bench.ratios import Ratio, geometric_mean
from fastconv.bench.records import DECLINED, OURS, TIMED, Record, Run
from fastconv.bench.summary import cases_by_setting, network_seconds, setting

# What makes absolute times of two runs incomparable.
_MACHINE_FACTS = ("cpu", "instruction_set", "cores_allowed", "blas_threads")
_SETTINGS = ("allocator", "quick")

MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Pair:
    """The same work done twice; ``ratio`` above 1 says that the second is faster.

    ``relative`` is the same for their ratios to the peer that was the best in both runs: a slower machine cancels out.
    None where there is no such peer.
    """

    first: Record
    second: Record
    ratio: Ratio
    relative: float | None = None


@dataclass(frozen=True, slots=True)
class Lack:
    """What the first side timed and the second did not; ``status`` and ``reason`` are those of the second."""

    first: Record
    contestant: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """The pairs of one suite, direction and setting; the two runs have ``all_cases`` there."""

    first: Record
    second: Record
    pairs: tuple[Pair, ...]
    all_cases: int

    @property
    def mean(self) -> Ratio:
        """The geometric mean over distinct shapes."""
        return ratios.mean([pair.ratio for pair in self.pairs])

    @property
    def relative(self) -> float | None:
        """The geometric mean of what is relative to a peer."""
        known = [pair.relative for pair in self.pairs if pair.relative is not None]
        return geometric_mean(known) if known else None

    @property
    def network_seconds(self) -> tuple[float, float]:
        """Of the first and of the second: the layers of all pairs, each as often as it occurs."""
        firsts, seconds = zip(*((pair.first, pair.second) for pair in self.pairs), strict=True)
        return network_seconds(firsts), network_seconds(seconds)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pairs, and what is lacking; ``counts`` says of a contestant whether it can fall below a limit."""

    pairs: tuple[Pair, ...]
    lacks: tuple[Lack, ...]
    cases: Mapping[tuple, set[str]]
    counts: Callable[[str], bool]

    def groups(self) -> list[Group]:
        """By suite, direction, setting and contestants, in the order in which they first occur."""
        return [
            Group(members[0].first, members[0].second, members, len(self.cases[setting(members[0].first)]))
            for members in _grouped(self.pairs)
        ]

    def falls_below(self, limit: float) -> list[str]:
        """What ``limit`` does not allow, in words.

        That is a contestant which is wrong, failed or missing, and a case or a geometric mean whose whole interval lies
        below the limit. Cases without an interval cannot, and are left out of the mean.
        """
        pairs = [pair for pair in self.pairs if self.counts(pair.second.contestant) and pair.ratio.high is not None]
        means = ((members[0], ratios.mean([pair.ratio for pair in members])) for members in _grouped(pairs))
        return [
            *(_lacking(lack) for lack in self.lacks if lack.status != DECLINED and self.counts(lack.contestant)),
            *(f"{_where(pair.first)}: {_at_most(pair.ratio)}" for pair in pairs if pair.ratio.is_below(limit)),
            *(
                f"geometric mean of {pair.first.suite}, {pair.first.direction}: {_at_most(mean)}"
                for pair, mean in means
                if mean.is_below(limit)
            ),
        ]


class Differences(NamedTuple):
    """What makes the ratios of two runs mean little, and what only should be known."""

    conditions: list[str]
    notes: list[str]


def runs(first: Run, second: Run) -> Comparison:
    """Every contestant against itself in another run; what peers do falls below no limit."""
    sides = [(record, record.contestant) for record in _timed(first)]
    return _compared(first, second, sides, lambda contestant: contestant.startswith(OURS))


def contestants(first: Run, second: Run, names: tuple[str, str]) -> Comparison:
    """One contestant of the first run against another of the second; rounds are paired where the runs are one.

    Raises ValueError where the first run has no timed record of its contestant, or the second none at all of the other.
    """
    for records, name in ((_timed(first), names[0]), (second.records, names[1])):
        known = dict.fromkeys(record.contestant for record in records)
        if name not in known:
            raise ValueError(f"no timed contestant {name!r}; there are: {', '.join(known) or 'none'}")
    sides = [(record, names[1]) for record in _timed(first) if record.contestant == names[0]]
    return _compared(first, second, sides, lambda contestant: True)


def differences(first: Run, second: Run) -> Differences:
    """Facts of the two machines and runs that differ; two commits and versions of this package are there to differ."""
    versions = [run.machine.get("versions") or {} for run in (first, second)]
    packages = [name for name in dict.fromkeys([*versions[0], *versions[1]]) if name != "fastconv"]
    conditions = [
        *_differing(_MACHINE_FACTS, first.machine, second.machine),
        *_differing(_SETTINGS, first.settings, second.settings),
        *_differing(packages, *versions),
    ]
    sides = [("the run", first)] if first is second else [("the first run", first), ("the second run", second)]
    return Differences(
        conditions,
        [
            *(f"{name} is not complete: cases are missing" for name, run in sides if not run.complete),
            *_differing(["fastconv"], *versions),
            *_differing(["commit"], first.machine, second.machine),
        ],
    )


def _differing(names, first, second):
    return [f"{name}: {first.get(name)} / {second.get(name)}" for name in names if first.get(name) != second.get(name)]


def _compared(first, second, sides, counts):
    """``sides``: timed records of the first run, each with the contestant that it is set against."""
    others = {(record.job, record.contestant): record for record in second.records}
    pairs, lacks = [], []
    for record, contestant in sides:
        other = others.get((record.job, contestant))
        if other is None and not _was_asked(record, contestant, second):
            continue
        if other is None:
            lacks.append(Lack(record, contestant, MISSING, _why_missing(record, second)))
        elif other.status != TIMED:
            lacks.append(Lack(record, contestant, other.status, other.reason))
        else:
            pairs.append(_pair(record, other, is_same_run=first is second))
    cases = cases_by_setting([*first.records, *second.records])
    return Comparison(tuple(pairs), tuple(lacks), cases, counts)


def _was_asked(record, contestant, run):
    """Whether the settings of a run cover a job and a contestant; settings that say nothing cover all."""
    fields = ("suite", "direction", "batch", "layout", "dtype", "threads")
    lists = [(getattr(record, name), run.settings.get(name)) for name in fields]
    lists.append((contestant, run.settings.get("contestants")))
    part = run.settings.get("case") or ""
    return part in record.case and all(wanted is None or value in wanted for value, wanted in lists)


def _why_missing(record, run):
    if any(other.job == record.job for other in run.records):
        return "this contestant took no part in the job"
    return "the job is missing" + ("" if run.complete else ": the run is not complete")


def _pair(first, second, *, is_same_run):
    compute = ratios.paired if is_same_run else ratios.unpaired
    relative = None if is_same_run else _relative(first, second)
    return Pair(first, second, compute(_samples(second), _samples(first)), relative)


def _relative(first, second):
    is_comparable = first.is_ours and first.best_peer is not None and first.best_peer == second.best_peer
    before, after = first.ratio_to_best_peer, second.ratio_to_best_peer
    return after / before if is_comparable and before is not None and after is not None else None


def _samples(record):
    """Of a file that somebody made smaller only the median is left."""
    return record.samples or (record.time_median,)


def _timed(run):
    return [record for record in run.records if record.status == TIMED]


def _grouped(pairs: Sequence[Pair]) -> list[tuple[Pair, ...]]:
    found: dict[tuple, list[Pair]] = {}
    for pair in pairs:
        key = (*setting(pair.first), pair.first.contestant, pair.second.contestant)
        found.setdefault(key, []).append(pair)
    return [tuple(members) for members in found.values()]


def _lacking(lack):
    return f"{_where(lack.first)}: {lack.contestant} {lack.status}: {lack.reason}"


def _where(record):
    setting = f"N {record.batch}, {record.layout}, {record.dtype}, threads {record.threads}"
    return f"{record.suite}: {record.case}, {record.direction}, {setting}"


def _at_most(ratio):
    return f"{ratio.value:.3f}, at most {ratio.high:.3f}"
