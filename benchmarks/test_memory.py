"""The memory that one call needs at its peak, beside its inputs: the output, and whatever the algorithm puts aside.

Each figure comes from a fresh process, in which the same contestant has run a smaller batch before, so that neither
loading nor compiling is counted. ``peak_bytes`` counts from just before the call; ``held_bytes`` is what preparing the
workload has left in memory before it (packed weights, offsets of a pooling, and the whole of onnxruntime's arena with
its output). The time shown is that one call's, which gets its output's pages from the system. Linux counts the pages
of each thread in batches: differences below about a quarter of a MiB per thread say nothing.
"""

import json
import sys

import pytest

from benchmarks import fresh, options
from benchmarks.jobs import parametrize
from benchmarks.reported import show, show_reported
from fastconv.bench.cases import SUITES
from fastconv.bench.engine import Plan

BATCH = 16
# Large activations and few weights, the reverse, and a pooling.
NAMES = ("64,56->64 k3s1", "512,7->512 k3s1", "resnet50 64@112 k3s2")
CASES = [case for suite in ("resnet50", "pool") for case in SUITES[suite] if case.name in NAMES]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc, which Linux has")


def pytest_generate_tests(metafunc):
    chosen = metafunc.config.option
    plan = Plan(
        cases=CASES,
        contestants=options.contestants(metafunc.config),
        directions=chosen.direction,
        batches=[BATCH],
        layouts=chosen.layout,
        dtypes=chosen.dtype,
    )
    parametrize(metafunc, plan)


@show_reported
def test_peak(benchmark, job, threads):
    benchmark.group = f"peak memory {job.group} threads {threads}"
    asked = {
        "suite": job.case.suite,
        "case": job.case.name,
        "batch": BATCH,
        "direction": job.direction,
        "dtype": job.dtype,
        "layout": job.layout,
        "contestant": job.contestant.name,
        "threads": threads,
    }
    report = fresh.run("peak_memory", json.dumps(asked), **fresh.RETURNING)
    if "skip" in report:
        pytest.skip(f"{job.contestant.name}: {report['skip']}")
    assert not report["wrong"]
    show(benchmark, [report["seconds"]])
    figures = ("input_bytes", "output_bytes", "held_bytes", "peak_bytes")
    benchmark.extra_info |= {name: report[name] for name in figures}
    benchmark.extra_info["peak_over_output"] = report["peak_bytes"] / report["output_bytes"]
