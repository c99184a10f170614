"""One run from a plan to a Run: the machine is described, its limits are read, the engine measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import fastconv as fc
from fastconv.bench import apart, blas, gpu_limits, limits, machine
from fastconv.bench.engine import Engine, Plan
from fastconv.bench.gpu_clock import GpuClock
from fastconv.bench.records import Record, Run

INTERRUPT = "Ctrl-C"


def run(plan: Plan, settings: Mapping[str, Any], on_job: Callable[[Run], object]) -> Run:
    """Measure; ``on_job`` gets what there is after every job. Ctrl-C or an error ends the run and keeps that.

    What ended it stands as ``stopped_by`` in the machine block, None where it came to its end.
    """
    block = {**machine.describe(), "blas_threads": "as asked for" if blas.is_limitable() else "not limited"}
    block |= {"load_before": machine.load(), "load_after": None, "stopped_by": None, "gpu": None, "limits": []}
    records: list[Record] = []

    def so_far() -> Run:
        return Run(block, settings, tuple(records), len(records) == plan.record_count())

    try:
        if plan.on_gpu:
            block["gpu"] = gpu_limits.describe()
        found = {threads: _limits(threads, plan.on_gpu) for threads in plan.threads}
        block["limits"] = [entry.as_plain() for entry in found.values()]
        for job in _engine(plan, found).run():
            records += job
            on_job(so_far())
    except KeyboardInterrupt:
        block["stopped_by"] = INTERRUPT
    except Exception as error:  # hours of measuring must not be lost to the last case
        block["stopped_by"] = f"{type(error).__name__}: {error}"
    block["load_after"] = machine.load()
    return so_far()


def _engine(plan, found) -> Engine:
    if plan.on_gpu:
        return Engine(plan, found, gpu_limits.fma_peak, GpuClock())
    return Engine(plan, found, limits.fma_peak, memory=apart.peak_bytes, movers=limits.movers)


def _limits(threads, on_gpu):
    if on_gpu:
        return replace(gpu_limits.measure(), threads=threads)
    before = fc.get_num_threads()
    fc.set_num_threads(threads)
    try:
        return limits.measure()
    finally:
        fc.set_num_threads(before)
