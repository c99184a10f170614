"""The benchmarks for pytest can be collected and run, and leave behind what they promise; no time is judged."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from support.process import run_python

from fastconv.bench.cases import SUITES

pytest.importorskip("pytest_benchmark")

FOLDER = Path(__file__).parents[1] / "benchmarks"
POOLING = "pool: resnet50 64@112 k3s2-forward-N16-nchw-float32-fastconv:reference"


def run_benchmarks(tmp_path, *arguments, files=("",)):
    """What pytest prints, with the reference as the only contestant, which runs wherever the tests do."""
    return run_python(
        *("-m", "pytest", *(str(FOLDER / file) for file in files), "-q", "-p", "no:cacheprovider"),
        *("--contestants", "reference", f"--benchmark-storage=file://{tmp_path / 'storage'}", *arguments),
    )


def recorded(tmp_path, *options, files):
    """Name -> record of a short run of some files."""
    path = tmp_path / "records.json"
    short = "--benchmark-only", "--benchmark-min-rounds=1", "--benchmark-max-time=0.01", "--benchmark-warmup=off"
    run_benchmarks(tmp_path, *short, f"--benchmark-json={path}", "--threads", "1", *options, files=files)
    return {record["name"]: record for record in json.loads(path.read_text())["benchmarks"]}


def test_ids_are_unique_and_cover_the_suites(tmp_path):
    printed = run_benchmarks(tmp_path, "--suite", "all", "--collect-only").splitlines()
    ids = [line.split("::", 1)[1] for line in printed if "::" in line]
    assert len(ids) == len(set(ids))
    expected = {
        f"test_case[{suite}: {case.name}-{direction}-N{batch}-nchw-float32-fastconv:reference]"
        for suite, cases in SUITES.items()
        for case in cases
        for direction in case.directions
        for batch in case.batches
    }
    assert {name for name in ids if name.startswith("test_case[")} == expected
    others = {"test_overhead", "test_import", "test_first_conv2d", "test_compilation", "test_peak"}
    assert {name.split("[")[0] for name in ids} == {"test_case", "test_one_contestant_under_two_names"} | others


def test_a_run_leaves_its_figures(tmp_path):
    found = recorded(tmp_path, "--suite", "digits", "--direction", "forward", files=["test_cases.py"])
    (case,) = found.values()
    assert case["group"] == "digits: 1,8->16 k3s1 forward N1 nchw float32 threads 1"
    info = case["extra_info"]
    assert set(info) == {"variant", "threads", "error_ulp", "gflops", "peak_fraction"}
    assert info["threads"] == 1
    assert info["gflops"] > 0
    assert info["variant"]


def test_what_fresh_processes_report_is_recorded(tmp_path):
    startup = "test_startup.py::test_import[numpy]", "test_startup.py::test_first_conv2d[reference]"
    found = recorded(tmp_path, files=[*startup, f"test_memory.py::test_peak[{POOLING}]"])
    assert len(found["test_import[numpy]"]["stats"]["data"]) == 5
    assert found["test_import[numpy]"]["extra_info"]["modules"] > 0
    assert found["test_first_conv2d[reference]"]["extra_info"]["seconds_of_a_later_call"] > 0
    if sys.platform == "linux":
        info = found[f"test_peak[{POOLING}]"]["extra_info"]
        assert info["output_bytes"] == 16 * 64 * 56 * 56 * 4
        assert info["peak_bytes"] >= 0.9 * info["output_bytes"]


def test_the_rounds_shown_are_the_seconds_reported():
    spec = importlib.util.spec_from_file_location("reported", FOLDER / "reported.py")
    reported = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reported)
    shown = []

    class Benchmark:
        def pedantic(self, target, rounds):
            for _ in range(rounds):
                begin = reported.clock()
                target()
                shown.append(reported.clock() - begin)

    reported.show(Benchmark(), [0.5, 0.25, 2.0])
    assert shown == [0.5, 0.25, 2.0]


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        (("--suite", "origami"), "unknown: origami; there are lenet, .* and all"),
        (("--contestants", "origami"), "unknown: origami; there are reference, .*im2col"),
        (
            ("--contestants", "reference:folded"),
            "no contestant .fastconv:reference:folded.; there are: fastconv:reference, ",
        ),
    ],
)
def test_an_unknown_name_is_a_wrong_usage(tmp_path, arguments, known):
    with pytest.raises(AssertionError, match=rf"exit status 4\n(.*\n)*.*{known}"):
        run_benchmarks(tmp_path, *arguments, "--collect-only")
