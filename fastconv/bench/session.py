"""One run from a plan to a Run: the machine is described, its limits are read, the engine measures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import fastconv as fc
from fastconv.bench import blas, limits, machine
from fastconv.bench.engine import Engine, Plan
from fastconv.bench.limits import Limits
from fastconv.bench.records import Record, Run


def run(plan: Plan, settings: Mapping[str, Any], on_job: Callable[[list[Record]], object]) -> Run:
    """Measure; ``on_job`` hears of every finished job. Ctrl-C ends the run and keeps what was measured."""
    block = {**machine.describe(), "blas_threads": "as asked for" if blas.is_limitable() else "not limited"}
    block["load_before"] = machine.load()
    found: dict[int, Limits] = {}
    records: list[Record] = []
    ends_by_itself = False
    with contextlib.suppress(KeyboardInterrupt):
        found = {threads: _limits(threads) for threads in plan.threads}
        engine = Engine(plan, found, limits.fma_peak)
        for job in engine.run():
            records += job
            on_job(job)
        ends_by_itself = True
    block["load_after"] = machine.load()
    block["limits"] = [entry.as_plain() for entry in found.values()]
    return Run(block, settings, tuple(records), ends_by_itself and len(records) == plan.record_count())


def _limits(threads):
    before = fc.get_num_threads()
    fc.set_num_threads(threads)
    try:
        return limits.measure()
    finally:
        fc.set_num_threads(before)
