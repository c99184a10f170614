"""The measuring itself: prepare all contestants of a job, check each against float64, time the right ones in turns.

The engine knows no backend, no peer and no operation by name: it gets cases and contestants, and gives records.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fastconv.bench import accuracy, apart, ratios, workloads
from fastconv.bench.cases import Case
from fastconv.bench.check import examine
from fastconv.bench.contestant import Contestant, Prepared
from fastconv.bench.limits import Limits
from fastconv.bench.records import DECLINED, FAILED, TIMED, WRONG, Record
from fastconv.bench.timing import Budget, Call, Clock, measure
from fastconv.bench.workloads import AnyWorkload

# The share of the highest multiply-add peak that a calm machine gives.
_CALM = 0.85
# Seconds until the threads that read it have stopped spinning.
_SETTLE = 0.001


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured: every case in every combination of the settings, with everybody who takes part in it.

    Without ``batches`` every case has its own. After ``deadline`` on the clock no further job begins; one whose
    contestants are not ready by ``end`` is dropped. ``accuracy``: errors are measured in data of several kinds, too.
    """

    cases: Sequence[Case]
    contestants: Sequence[Contestant]
    directions: Sequence[str] = ("forward",)
    batches: Sequence[int] | None = None
    layouts: Sequence[str] = ("nchw",)
    dtypes: Sequence[str] = ("float32",)
    threads: Sequence[int] = (1,)
    budget: Budget = field(default_factory=Budget)
    deadline: float = math.inf
    end: float = math.inf
    seed: int = 0
    on_gpu: bool = False
    accuracy: bool = False

    def workloads(self) -> list[tuple[Case, str, str]]:
        """(case with its batch, direction, dtype): what shares one float64 answer."""
        return [
            (case.with_batch(batch), direction, dtype)
            for case in self.cases
            for batch, direction, dtype in itertools.product(self.batches or case.batches, self.directions, self.dtypes)
            if direction in case.directions
        ]

    def layouts_of(self, case: Case) -> Sequence[str]:
        """The layouts in which a case is measured: one where its data has no spatial axes to order."""
        return self.layouts if len(case.x_shape) == 4 else self.layouts[:1]

    def contestants_of(self, case: Case) -> list[Contestant]:
        """Who takes part in a case."""
        return [contestant for contestant in self.contestants if contestant.takes_part(case)]

    def job_count(self) -> int:
        """How many comparisons that makes."""
        return sum(self._jobs_of(case) for case, _, _ in self.workloads())

    def record_count(self) -> int:
        """How many records a complete run gives."""
        return sum(self._jobs_of(case) * len(self.contestants_of(case)) for case, _, _ in self.workloads())

    def _jobs_of(self, case: Case) -> int:
        return len(self.layouts_of(case)) * len(self.threads)


@dataclass(slots=True)
class Engine:
    """Runs a plan; ``limits`` are known per thread count.

    ``peak`` reads the multiply-add peak of a dtype: again around each job, and, for 0 seconds, around each sample,
    because neighbours on a shared machine may take half of it. ``movers`` makes calls that move so many bytes: read,
    written, held; beside what multiplies nothing they are timed as contestants are, because what neighbours leave of
    the memory's bandwidth changes within seconds. ``memory`` reads how much memory a contestant needs, for workloads
    that want it known. ``clock`` is replaced in tests.
    """

    plan: Plan
    limits: Mapping[int, Limits] = field(default_factory=dict)
    peak: Callable[..., float | None] = lambda dtype, seconds=None: None
    clock: Clock = field(default_factory=Clock)
    memory: Callable[[Contestant, Any, int], int | None] = lambda contestant, workload, threads: None
    movers: Callable[[int, int, int], Sequence[Call]] = lambda read, written, held: ()

    def run(self) -> Iterator[list[Record]]:
        """The records of one job after the other; a job that does not end gives none."""
        for case, direction, dtype in self.plan.workloads():
            if self.clock.now() > self.plan.deadline:
                return
            workload = workloads.make(case, direction, dtype, self.plan.seed)
            for layout, threads in itertools.product(self.plan.layouts_of(case), self.plan.threads):
                if self.clock.now() <= self.plan.deadline and (job := self._job(workload.in_layout(layout), threads)):
                    yield job

    def _job(self, workload: AnyWorkload, threads: int) -> list[Record]:
        """Empty where time is up."""
        contestants = self.plan.contestants_of(workload.case)
        entries = []
        with contextlib.ExitStack() as stack:
            for contestant in contestants:
                stack.enter_context(contestant.environment(threads))
            for contestant in contestants:
                if self.clock.now() > self.plan.end:
                    return []
                entries.append(self._enter(contestant, workload, threads))
            playing = [entry for entry in entries if entry.prepared is not None]
            # Warming up and the rounds that no deadline cuts: at least that many calls of everybody.
            calls = self.plan.budget.warm_up + self.plan.budget.least
            if self.clock.now() + calls * sum(entry.record.time_first or 0.0 for entry in playing) > self.plan.end:
                return []
            if self.plan.accuracy:
                playing = self._examined(playing, workload)
            self._time(playing, workload, self.limits.get(threads))
            for entry in playing:
                entry.prepared = None  # room for those that are measured next
        if workload.measures_memory:
            self._measure_memory(zip(contestants, entries, strict=True), workload, threads)
        peers = {contestant.name for contestant in contestants if contestant.is_peer}
        return _compared([entry.record for entry in entries], peers)

    def _examined(self, playing: Sequence[_Entry], workload: Any) -> list[_Entry]:
        """Those that go on, with their errors in other data."""
        names = [entry.record.contestant for entry in playing]
        contestants = [contestant for contestant in self.plan.contestants if contestant.name in names]
        found = accuracy.measure(contestants, workload)
        for entry in playing:
            errors = found[entry.record.contestant]
            if isinstance(errors, Exception):
                entry.record, entry.prepared = _failed(entry.record, errors), None
            else:
                entry.record = replace(entry.record, accuracy=tuple(errors))
        return [entry for entry in playing if entry.prepared is not None]

    def _measure_memory(self, entries: Iterable[tuple[Contestant, _Entry]], workload: AnyWorkload, threads: int):
        for contestant, entry in entries:
            if entry.record.status == TIMED and self.clock.now() <= self.plan.deadline:
                entry.record = replace(entry.record, peak_bytes=self.memory(contestant, workload, threads))

    def _enter(self, contestant: Contestant, workload: AnyWorkload, threads: int) -> _Entry:
        """Prepare, run once, and check what came out; whatever a contestant raises is its result."""
        record = _blank(contestant.name, workload, threads)
        try:
            prepared = apart.prepared(contestant, workload, threads)
            if not isinstance(prepared, Prepared):
                return _Entry(replace(record, status=DECLINED, reason=prepared.reason))
            begin = self.clock.now()
            returned = prepared.call()
            record = replace(record, time_first=self.clock.now() - begin)
            verdict = examine(prepared.result(returned), workload, prepared.coarseness)
            record = replace(record, variant=prepared.variant())
        except Exception as error:
            return _Entry(_failed(record, error))
        record = replace(record, max_error=verdict.max_error, error_ulp=verdict.error_ulp)
        if not verdict.is_right:
            return _Entry(replace(record, status=WRONG, reason=verdict.reason))
        return _Entry(record, prepared)

    def _rest_of(self, name: str) -> float:
        return next(contestant.rest for contestant in self.plan.contestants if contestant.name == name)

    def _peak(self, dtype: str, rests: Mapping[str, float]) -> float | None:
        """The multiply-add peak, when everybody has come to rest."""
        self.clock.sleep(max(rests.values(), default=0.0))
        return self.peak(dtype)

    def _is_calm(self, dtype: str, highest: float) -> bool:
        """Whether the machine gives what it can; the threads that looked are asleep again afterwards."""
        found = self.peak(dtype, 0.0)
        self.clock.sleep(_SETTLE)
        return (found or 0.0) >= _CALM * highest

    def _time(self, playing: Sequence[_Entry], workload: AnyWorkload, limits: Limits | None) -> None:
        """Time those whose result was right, and look once more: later calls must be right, too."""
        calls = {entry.record.contestant: entry.prepared.call for entry in playing}
        failures: dict[str, Exception] = {}
        disturbed: dict[str, int] = {}
        rests = {name: self._rest_of(name) for name in calls}
        before = self._peak(workload.dtype, rests)
        highest = max(before or 0.0, limits.peaks.get(workload.dtype, 0.0) if limits else 0.0)
        movers = self._movers(workload, limits)
        samples = measure(
            calls | movers,
            self.plan.budget,
            rests=rests,
            is_calm=partial(self._is_calm, workload.dtype, highest),
            deadline=self.plan.deadline,
            failures=failures,
            disturbed=disturbed,
            clock=self.clock,
            seed=_seed(workload, self.plan.seed),
        )
        peak = max((peak for peak in (before, self._peak(workload.dtype, rests)) if peak), default=None)
        moved = [min(times) for times in zip(*(samples[name] for name in movers), strict=False)]
        for entry in playing:
            name = entry.record.contestant
            if name in failures:
                entry.record = _failed(entry.record, failures[name])
            elif reason := _late_error(entry.prepared, workload):
                entry.record = replace(entry.record, status=WRONG, reason=f"right at first, after many calls: {reason}")
            else:
                record = replace(entry.record, disturbed=disturbed[name])
                record = _timed(record, samples[name], workload, peak)
                entry.record = replace(record, roofline_fraction=_roofline_fraction(record, workload, limits, moved))

    def _movers(self, workload: AnyWorkload, limits: Limits | None) -> dict[str, Call]:
        """None where multiply-adds are the limit; without memory for them none either: the limits have to serve."""
        moves = workload.read, workload.written, workload.held
        if workload.multiplies and not (limits and limits.is_memory_bound(workload.dtype, workload.flops, *moves)):
            return {}
        try:
            return {f"mover {number}": call for number, call in enumerate(self.movers(*moves))}
        except MemoryError:
            return {}


@dataclass(slots=True)
class _Entry:
    """A record to be completed, and what is to be timed; None for what declined, failed or is wrong."""

    record: Record
    prepared: Any = None


def _late_error(prepared, workload):
    try:
        return examine(prepared.result(prepared.call()), workload, prepared.coarseness).reason
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"


def _failed(record, error):
    return replace(record, status=FAILED, reason=f"raised {type(error).__name__}: {error}")


def _seed(workload, seed):
    """Another order of turns in every job, so that no two contestants always follow one another."""
    return zlib.crc32(repr((workload.case, workload.direction, workload.layout, workload.dtype, seed)).encode())


def _blank(name, workload, threads):
    case = workload.case
    return Record(
        case=case.name,
        suite=case.suite,
        count=case.count,
        direction=workload.direction,
        batch=case.x_shape[0],
        layout=workload.layout,
        dtype=workload.dtype,
        threads=threads,
        contestant=name,
        status=TIMED,
        flops=workload.flops,
        bytes=workload.read + workload.written,
    )


def _timed(record, samples, workload, peak):
    median = statistics.median(samples)
    peak = peak if workload.multiplies else None
    return replace(
        record,
        time_median=median,
        time_min=min(samples),
        rounds=len(samples),
        gflops=record.flops / median / 1e9,
        peak_gflops=peak and peak / 1e9,
        peak_fraction=peak and record.flops / median / peak,
        gbytes_per_s=record.bytes / median / 1e9,
        samples=tuple(float(f"{seconds:.5g}") for seconds in samples),  # more digits are noise that files would keep
    )


def _roofline_fraction(record, workload, limits, moved):
    """Of the time of moving the bytes in the same rounds where that was taken, else of what the limits allow."""
    if moved:
        return ratios.paired(record.samples, moved).value
    flops = workload.flops if workload.multiplies else 0
    roof = limits and limits.roofline_seconds(workload.dtype, flops, workload.read, workload.written, workload.held)
    return roof and roof / record.time_median


def _compared(records, peers):
    """Every timed contestant against the fastest peer of the job."""
    timed = [record for record in records if record.contestant in peers and record.status == TIMED]
    if not timed:
        return records
    fastest = [min(times) for times in zip(*(record.samples for record in timed), strict=False)]
    best = min(timed, key=lambda record: ratios.paired(fastest, record.samples).value)
    return [_against(record, best) if record.status == TIMED else record for record in records]


def _against(record, best):
    ratio = ratios.paired(record.samples, best.samples)
    return replace(
        record,
        best_peer=best.contestant,
        ratio_to_best_peer=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
    )
