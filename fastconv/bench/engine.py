"""The measuring itself: prepare all contestants of a job, check each against float64, time the right ones in turns.

The engine knows no backend, no peer and no operation by name: it gets cases and contestants, and gives records.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fastconv.bench import ratios, workloads
from fastconv.bench.cases import Case
from fastconv.bench.check import examine
from fastconv.bench.contestant import Contestant, Prepared
from fastconv.bench.limits import Limits
from fastconv.bench.records import DECLINED, TIMED, WRONG, Record
from fastconv.bench.timing import Budget, Clock, measure
from fastconv.bench.workloads import Workload


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured: every case in every combination of the settings, with every contestant.

    After ``deadline`` on the clock no further job begins; one whose contestants are not ready by ``end`` is dropped.
    """

    cases: Sequence[Case]
    contestants: Sequence[Contestant]
    directions: Sequence[str] = ("forward",)
    batches: Sequence[int] = (1,)
    layouts: Sequence[str] = ("nchw",)
    dtypes: Sequence[str] = ("float32",)
    threads: Sequence[int] = (1,)
    budget: Budget = field(default_factory=Budget)
    deadline: float = math.inf
    end: float = math.inf
    seed: int = 0

    def workloads(self) -> list[tuple[Case, str, str]]:
        """(case with its batch, direction, dtype): what shares one float64 answer."""
        return [
            (case.with_batch(batch), direction, dtype)
            for case, batch, direction, dtype in itertools.product(
                self.cases, self.batches, self.directions, self.dtypes
            )
            if direction in case.directions
        ]

    def job_count(self) -> int:
        """How many comparisons that makes."""
        settings = len(self.threads) * len(self.dtypes) * len(self.batches)
        return settings * sum(
            (len(self.layouts) if has_layout(case) else 1) * len([d for d in self.directions if d in case.directions])
            for case in self.cases
        )

    def record_count(self) -> int:
        """How many records a complete run gives."""
        return self.job_count() * len(self.contestants)


@dataclass(slots=True)
class Engine:
    """Runs a plan; ``limits`` are known per thread count, ``peak`` reads the multiply-add peak again around each job.

    ``clock`` is replaced in tests.
    """

    plan: Plan
    limits: Mapping[int, Limits] = field(default_factory=dict)
    peak: Callable[[str], float | None] = lambda dtype: None
    clock: Clock = field(default_factory=Clock)

    def run(self) -> Iterator[list[Record]]:
        """The records of one job after the other; a job that does not end gives none."""
        for case, direction, dtype in self.plan.workloads():
            if self.clock.now() > self.plan.deadline:
                return
            workload = workloads.make(case, direction, dtype, self.plan.seed)
            for layout in self.plan.layouts if has_layout(case) else self.plan.layouts[:1]:
                for threads in self.plan.threads:
                    if job := self._job(workload.in_layout(layout), threads):
                        yield job

    def _job(self, workload: Workload, threads: int) -> list[Record]:
        """Empty where time is up."""
        entries = []
        with contextlib.ExitStack() as stack:
            for contestant in self.plan.contestants:
                stack.enter_context(contestant.environment(threads))
            for contestant in self.plan.contestants:
                if self.clock.now() > self.plan.end:
                    return []
                entries.append(self._enter(contestant, workload, threads))
            calls = {entry.record.contestant: entry.call for entry in entries if entry.call is not None}
            before = self.peak(workload.dtype)
            samples = measure(
                calls, self.plan.budget, deadline=self.plan.deadline, clock=self.clock, seed=self.plan.seed
            )
            peaks = [peak for peak in (before, self.peak(workload.dtype)) if peak]
        limits = self.limits.get(threads)
        timed = [
            _timed(entry.record, samples[entry.record.contestant], workload, max(peaks, default=None), limits)
            if entry.call is not None
            else entry.record
            for entry in entries
        ]
        peers = {contestant.name for contestant in self.plan.contestants if contestant.is_peer}
        return _compared(timed, peers)

    def _enter(self, contestant: Contestant, workload: Workload, threads: int) -> _Entry:
        """Prepare, run once, and check what came out."""
        record = _blank(contestant.name, workload, threads)
        prepared = contestant.prepare(workload)
        if not isinstance(prepared, Prepared):
            return _Entry(replace(record, status=DECLINED, reason=prepared.reason))
        begin = self.clock.now()
        returned = prepared.call()
        record = replace(record, time_first=self.clock.now() - begin)
        verdict = examine(prepared.result(returned), workload)
        record = replace(record, max_error=verdict.max_error, error_ulp=verdict.error_ulp, variant=prepared.variant())
        if not verdict.is_right:
            return _Entry(replace(record, status=WRONG, reason=verdict.reason))
        return _Entry(record, prepared.call)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record to be completed, and the call to be timed; None for what was declined or is wrong."""

    record: Record
    call: Callable[[], object] | None = None


def has_layout(case: Case) -> bool:
    """Whether the data of a case has spatial axes, which a layout orders."""
    return len(case.x_shape) == 4


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


def _timed(record, samples, workload, peak, limits):
    median = statistics.median(samples)
    peak = peak if workload.multiplies else None
    flops = workload.flops if workload.multiplies else 0
    roof = limits and limits.roofline_seconds(workload.dtype, flops, workload.read, workload.written)
    return replace(
        record,
        time_median=median,
        time_min=min(samples),
        rounds=len(samples),
        gflops=record.flops / median / 1e9,
        peak_gflops=peak and peak / 1e9,
        peak_fraction=peak and record.flops / median / peak,
        roofline_fraction=roof and roof / median,
        gbytes_per_s=record.bytes / median / 1e9,
        samples=tuple(float(f"{seconds:.5g}") for seconds in samples),  # more digits are noise that files would keep
    )


def _compared(records, peers):
    """Every timed contestant against the fastest peer of the job."""
    timed = [record for record in records if record.contestant in peers and record.status == TIMED]
    if not timed:
        return records
    best = min(timed, key=lambda record: record.time_median)
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
