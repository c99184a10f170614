"""What is published agrees with the files that it was measured in: no figure is typed by hand."""

import importlib.util
from pathlib import Path

import pytest

from fastconv.bench import records
from fastconv.bench.ratios import FEWEST

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def _readme_table():
    spec = importlib.util.spec_from_file_location("readme_table", ROOT / "benchmarks" / "readme_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_s_table_is_what_the_command_writes():
    table = _readme_table()
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
        _readme_table().replaced("# nothing", records.load(RESULTS[0]), "x.json")
