"""What is published agrees with the files that it was measured in: no figure is typed by hand."""

import importlib.util
from pathlib import Path

import pytest

from fastconv.bench import records
from fastconv.bench.ratios import FEWEST

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
ACCURATE = [path for path in RESULTS if any(record.accuracy for record in records.load(path).records)]


def _script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_s_table_is_what_the_command_writes():
    table = _script("readme_table")
    name = table.published_name(README)
    assert table.replaced(README, records.load(ROOT / name), name) == README


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_published_runs_are_complete_and_right(path):
    found = records.load(path)
    assert found.complete
    assert found.machine["limits"]
    assert {record.status for record in found.records if record.is_ours} <= {records.TIMED, records.DECLINED}
    assert all(record.rounds >= FEWEST for record in found.records if record.status == records.TIMED)


def test_a_readme_without_a_place_is_refused():
    with pytest.raises(ValueError, match="no speed table to replace"):
        _script("readme_table").replaced("# nothing", records.load(RESULTS[0]), "x.json")


def test_the_errors_that_were_published_keep_what_is_promised():
    assert ACCURATE
    measured = [record for path in ACCURATE for record in records.load(path).records if record.accuracy]
    for record in measured:
        *rounded, integers = record.accuracy
        bounded = [errors.error_ulp if errors.grown_ulp is None else errors.grown_ulp for errors in rounded]
        is_fast = record.variant == "winograd4"
        if record.is_ours:
            assert integers.is_exact != is_fast
            assert integers.largest_sum < 2**18
            assert bounded[0] <= (64 if is_fast else 32 if record.direction == "grad_weight" else 16)
            assert bounded[1] <= 64
    assert {"direct", "winograd2", "winograd4"} <= {record.variant for record in measured}
    assert {"forward", "grad_input", "grad_weight"} == {record.direction for record in measured}


def test_the_table_of_errors_is_what_the_command_prints():
    found = (ROOT / "benchmarks" / "results" / "README.md").read_text(encoding="utf-8")
    assert "\n".join(_script("accuracy_table").lines(*map(records.load, ACCURATE))) in found
