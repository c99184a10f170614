"""The cases of ``fastconv bench``, every result checked against float64 before it is timed.

Contestants are timed one after the other, and the machine may change in between: for ratios to be believed use
``fastconv bench``, which takes them in turns; here ``--benchmark-compare`` follows one contestant over time.
"""

import time

import pytest

from benchmarks import options
from benchmarks.jobs import parametrize
from fastconv._kernels.contract import Declined
from fastconv.bench import apart
from fastconv.bench.check import examine
from fastconv.bench.limits import fma_peak
from fastconv.bench.timing import Budget

# As the engine has it: a pause in which the threads of whoever ran before go to sleep, and calls that are not counted.
BUDGET = Budget()


def pytest_generate_tests(metafunc):
    parametrize(metafunc, options.plan(metafunc.config))


def test_case(benchmark, job, threads):
    benchmark.group = f"{job.group} threads {threads}"
    workload = job.workload()
    with job.contestant.environment(threads):
        prepared = apart.prepared(job.contestant, workload, threads)
        if isinstance(prepared, Declined):
            pytest.skip(f"{job.contestant.name} declines: {prepared.reason}")
        verdict = examine(prepared.result(prepared.call()), workload)
        if not verdict.is_right:
            pytest.fail(f"the result of {job.contestant.name} {verdict.reason}", pytrace=False)
        benchmark.extra_info |= {"variant": prepared.variant(), "threads": threads, "error_ulp": verdict.error_ulp}
        before = fma_peak(workload.dtype)
        time.sleep(BUDGET.pause)
        for _ in range(BUDGET.warm_up):
            prepared.call()
        benchmark(prepared.call)
        peaks = [peak for peak in (before, fma_peak(workload.dtype)) if peak]
    if benchmark.stats:
        speed = workload.flops / benchmark.stats.stats.median
        fraction = speed / max(peaks) if peaks and workload.multiplies else None
        benchmark.extra_info |= {"gflops": speed / 1e9, "peak_fraction": fraction}
