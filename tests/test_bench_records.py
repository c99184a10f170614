"""The file of a benchmark run: what is written comes back, what is damaged is refused, every field is described."""

import json
import re
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path

import pytest
from support import bench_runs

import fastconv.bench
from fastconv.bench import records
from fastconv.bench.accuracy import KINDS
from fastconv.bench.records import DECLINED, FAILED, SCHEMA, SCHEMA_VERSION, STATUSES, WRONG, Errors, Record
from fastconv.errors import FormatError

jsonschema = pytest.importorskip("jsonschema")

SCHEMA_FILE = Path(fastconv.bench.__file__).with_name("record.schema.json")
DOCUMENT = (Path(__file__).parents[1] / "docs" / "benchmark-records.md").read_text(encoding="utf-8")
DESCRIBED = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(DESCRIBED)
DEFINITIONS = DESCRIBED["$defs"]

TIMED_RECORD = bench_runs.record(
    best_peer="torch:nchw", ratio_to_best_peer=1.25, ratio_low=1.2, ratio_high=1.3, reason="", peak_fraction=0.9
)
WRONG_RECORD = bench_runs.record(status=WRONG, reason="has shape (1,)", time_first=0.01, max_error=0.5, error_ulp=1e6)
FAILED_RECORD = bench_runs.record(status=FAILED, reason="raised ValueError: too large", variant="")
DECLINED_RECORD = bench_runs.record(status=DECLINED, reason="offers no conv2d_forward", variant="")
POOLING = bench_runs.record(case="pool", peak_gflops=None)
NETWORK = bench_runs.record(case="lenet5", suite="training", direction="step", batch=128, peak_bytes=123_456_789)
ACCURATE_RECORD = bench_runs.record(variant="winograd4", accuracy=bench_runs.errors_of(grown=0.6, is_exact=False))
# Fields that older files lack.
LATER = {"peak_bytes", "accuracy"}
RUNS = {
    "empty": bench_runs.run(),
    "of every status": bench_runs.run(TIMED_RECORD, WRONG_RECORD, FAILED_RECORD, DECLINED_RECORD, POOLING, NETWORK),
    "failed after the first call": bench_runs.run(replace(FAILED_RECORD, time_first=0.01)),
    "with errors": bench_runs.run(ACCURATE_RECORD, replace(TIMED_RECORD, accuracy=bench_runs.errors_of())),
    "few rounds": bench_runs.run(replace(TIMED_RECORD, ratio_low=None, ratio_high=None)),
    "full": bench_runs.full_run({"resnet50": 3, "pool": 2}, threads=(1, 2)),
    "not complete": bench_runs.run(TIMED_RECORD, complete=False),
    "without limits": bench_runs.run(TIMED_RECORD, machine=bench_runs.MACHINE | {"limits": []}),
    "without samples": bench_runs.run(replace(TIMED_RECORD, samples=())),
}
every_run = pytest.mark.parametrize("name", RUNS)


def written(run, tmp_path):
    path = tmp_path / "run.json"
    records.save(run, path)
    return path


def content_of(run, tmp_path):
    return json.loads(written(run, tmp_path).read_text(encoding="utf-8"))


def described_in(heading):
    """The names in the first column of the first table under a heading of the document."""
    table = re.search(rf"^{heading}\n.*?\n\n?(\|.*?)\n\n", DOCUMENT, re.DOTALL | re.MULTILINE).group(1)
    return [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]


def test_the_schema_is_a_schema():
    VALIDATOR.check_schema(DESCRIBED)
    assert re.fullmatch(r"urn:fastconv:bench:\d+", DESCRIBED["$id"])
    assert DESCRIBED["$id"].endswith(f":{SCHEMA_VERSION}")
    assert DESCRIBED["properties"]["schema"]["const"] == SCHEMA
    assert DESCRIBED["properties"]["schema_version"]["const"] == SCHEMA_VERSION


@every_run
def test_what_is_written_follows_the_schema_and_comes_back(name, tmp_path):
    path = written(RUNS[name], tmp_path)
    VALIDATOR.validate(json.loads(path.read_text(encoding="utf-8")))
    assert records.load(path) == RUNS[name]


def test_published_runs_follow_the_schema():
    for path in (Path(__file__).parents[1] / "benchmarks" / "results").glob("*.json"):
        VALIDATOR.validate(json.loads(path.read_text(encoding="utf-8")))


def test_a_record_is_a_line(tmp_path):
    lines = written(RUNS["full"], tmp_path).read_text(encoding="utf-8").splitlines()
    found = [json.loads(line.removesuffix(",")) for line in lines if line.startswith('{"case"')]
    lists = ("samples", "accuracy")
    found = [Record(**entry | {name: tuple(entry[name]) for name in lists}) for entry in found]
    assert found == list(RUNS["full"].records)


def test_a_field_of_a_record_is_described_everywhere():
    names = [field.name for field in fields(Record)]
    entry = DEFINITIONS["record"]
    assert list(entry["properties"]) == names
    assert entry["required"] == [name for name in names if name not in LATER]
    assert described_in("## Records") == names
    assert all(part["description"] for part in entry["properties"].values())


def test_the_other_blocks_are_described_everywhere(tmp_path):
    content = content_of(RUNS["of every status"], tmp_path)
    assert list(DESCRIBED["properties"]) == DESCRIBED["required"] == list(content) == described_in("# What a .*?")
    machine = DEFINITIONS["machine"]["properties"]
    assert set(machine) == set(content["machine"]) == set(described_in("## Machine"))
    assert set(DEFINITIONS["settings"]["properties"]) == set(described_in("## Settings"))
    (limits, *_) = content["machine"]["limits"]
    assert set(limits) == set(DEFINITIONS["limits"]["required"])
    names = [field.name for field in fields(Errors)]
    assert names == DEFINITIONS["errors"]["required"] == [*DEFINITIONS["errors"]["properties"]]
    assert names == described_in("### Accuracy")
    assert DEFINITIONS["errors"]["properties"]["values"]["enum"] == list(KINDS)
    assert set(limits["bandwidths"]["memory"]) == set(DEFINITIONS["bandwidth"]["required"])


def test_what_is_measured_has_a_unit_in_the_document():
    rows = [line.split("|")[1:3] for line in DOCUMENT.splitlines() if line.startswith("| `")]
    units = {name.strip(" `"): unit.strip() for name, unit in rows}
    for field in fields(Record):
        assert units[field.name] or "float" not in field.type, field.name
        in_words = DEFINITIONS["record"]["properties"][field.name]["description"]
        assert (units[field.name] == "seconds") == in_words.startswith("Seconds"), field.name


def test_the_example_of_the_document_runs(tmp_path, monkeypatch, capsys):
    made = bench_runs.full_run({"resnet50": 2}, directions=("forward",))
    records.save(made, tmp_path / "bench.json")
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL).group(1)
    exec(compile(example, "benchmark-records.md", "exec"), {})
    first, second = (r.ratio_to_best_peer for r in made.records if r.contestant == "fastconv:cython")
    expected = f"{(first * second) ** 0.5:.2f} times as fast as the best peer, over 2 comparisons\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", ["record", "sample", "machine", "settings"])
def test_no_file_holds_what_is_no_number(place, value, tmp_path):
    run = {
        "record": bench_runs.run(replace(TIMED_RECORD, max_error=value)),
        "sample": bench_runs.run(replace(TIMED_RECORD, samples=(value,))),
        "machine": bench_runs.run(machine=bench_runs.MACHINE | {"load_after": [value] * 3}),
        "settings": bench_runs.run(seconds=value),
    }[place]
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.save(run, tmp_path / "run.json")
    assert not list(tmp_path.iterdir())


def test_an_older_file_survives_a_failing_save(tmp_path):
    path = written(RUNS["full"], tmp_path)
    before = path.read_bytes()
    for broken in (replace(TIMED_RECORD, gflops=float("nan")), replace(TIMED_RECORD, reason=object())):
        with pytest.raises((ValueError, TypeError)):
            records.save(bench_runs.run(TIMED_RECORD, broken), path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = written(RUNS["full"], tmp_path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        records.save(RUNS["empty"], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def changed(**changes):
    """The text of a good file with other values at the top."""
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "complete": True, "machine": {}, "settings": {}}
    content = head | {"records": [asdict(TIMED_RECORD)]} | changes
    return json.dumps({name: value for name, value in content.items() if value is not MISSING})


def with_record(**changes):
    """The text of a good file with other values in its record."""
    entry = asdict(TIMED_RECORD) | changes
    return changed(records=[{name: value for name, value in entry.items() if value is not MISSING}])


DAMAGED = {
    "nothing": ("", "is not JSON"),
    "no JSON": ("case,time\na,1\n", "is not JSON"),
    "cut off": (changed()[:-40], "is not JSON"),
    "no text": (b"\xff\xfe\x00\x01", "is not JSON"),
    "a list": ("[]", "is no record of a benchmark run"),
    "a number": ("3", "is no record of a benchmark run"),
    "null": ("null", "is no record of a benchmark run"),
    "another schema": (changed(schema="other"), "is no record of a benchmark run: it lacks 'schema': 'fastconv-bench'"),
    "no schema": (changed(schema=MISSING), "is no record of a benchmark run"),
    "a newer version": (changed(schema_version=99), "has schema version 99; this fastconv reads version 2"),
    "no version": (changed(schema_version=MISSING), "has schema version None"),
    **{
        f"no {name}": (changed(**{name: MISSING}), f"does not follow the schema: .*'{name}'")
        for name in ("complete", "machine", "settings", "records")
    },
    "records that are no list": (changed(records=7), "does not follow the schema"),
    "a record that is a number": (changed(records=[7]), "does not follow the schema"),
    "a record that is a text": (changed(records=["timed"]), "does not follow the schema"),
    "an unknown field": (with_record(speed=3), "does not follow the schema: .*unknown fields speed"),
    "samples that are null": (with_record(samples=None), "does not follow the schema"),
    **{
        f"a record without {field.name}": (with_record(**{field.name: MISSING}), f"does not follow .*'{field.name}'")
        for field in fields(Record)
        if field.default is MISSING
    },
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_with_its_name(name, tmp_path):
    text, message = DAMAGED[name]
    path = tmp_path / "damaged.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FormatError, match=f"^{re.escape(str(path))} {message}"):
        records.load(path)


def test_what_no_file_is_cannot_be_read(tmp_path):
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        records.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "absent.json"))):
        records.load(tmp_path / "absent.json")


def test_optional_fields_may_be_missing(tmp_path):
    entry = {field.name: getattr(DECLINED_RECORD, field.name) for field in fields(Record) if field.default is MISSING}
    path = tmp_path / "short.json"
    path.write_text(changed(records=[entry]), encoding="utf-8")
    (found,) = records.load(path).records
    assert found == replace(DECLINED_RECORD, reason="", flops=0, bytes=0)


ERRORS = asdict(ACCURATE_RECORD.accuracy[0])
BROKEN = {
    "timed without a median": (TIMED_RECORD, {"time_median": None}),
    "timed without rounds": (TIMED_RECORD, {"rounds": 0}),
    "timed with a reason": (TIMED_RECORD, {"reason": "why"}),
    "timed in no time": (TIMED_RECORD, {"time_min": 0}),
    "wrong without a reason": (WRONG_RECORD, {"reason": ""}),
    "wrong with a median": (WRONG_RECORD, {"time_median": 1e-3}),
    "wrong with samples": (WRONG_RECORD, {"samples": [1e-3]}),
    "declined without a reason": (DECLINED_RECORD, {"reason": ""}),
    "declined with a first call": (DECLINED_RECORD, {"time_first": 1.0}),
    "declined with an error": (DECLINED_RECORD, {"error_ulp": 1.0}),
    "a ratio to nobody": (TIMED_RECORD, {"best_peer": None}),
    "wrong without a first call": (WRONG_RECORD, {"time_first": None}),
    "failed without a reason": (FAILED_RECORD, {"reason": ""}),
    "failed with a median": (FAILED_RECORD, {"time_median": 1e-3}),
    "half an interval": (TIMED_RECORD, {"ratio_low": None}),
    "the other half": (TIMED_RECORD, {"ratio_high": None}),
    "a peer without a ratio": (TIMED_RECORD, {"ratio_to_best_peer": None}),
    "an unknown status": (TIMED_RECORD, {"status": "fast"}),
    "an unknown field": (TIMED_RECORD, {"speed": 1.0}),
    "a time in words": (TIMED_RECORD, {"time_median": "1 ms"}),
    "a count of yes": (TIMED_RECORD, {"count": True}),
    "a batch of none": (TIMED_RECORD, {"batch": 0}),
    "errors in unknown data": (TIMED_RECORD, {"accuracy": [ERRORS | {"values": "dreams"}]}),
    "errors below zero": (TIMED_RECORD, {"accuracy": [ERRORS | {"error_ulp": -1.0}]}),
    "errors of more": (TIMED_RECORD, {"accuracy": [ERRORS | {"colour": "red"}]}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_schema_refuses_what_contradicts_itself(name, tmp_path):
    good, changes = BROKEN[name]
    content = content_of(bench_runs.run(good), tmp_path)
    VALIDATOR.validate(content)
    content["records"][0] |= changes
    assert not VALIDATOR.is_valid(content)


@pytest.mark.parametrize("status", STATUSES)
def test_the_schema_needs_every_field(status, tmp_path):
    good = next(entry for entry in RUNS["of every status"].records if entry.status == status)
    content = content_of(bench_runs.run(good), tmp_path)
    for part in (content, content["records"][0]):
        for name in set(part) - LATER:
            value = part.pop(name)
            assert not VALIDATOR.is_valid(content), name
            part[name] = value
    assert VALIDATOR.is_valid(content)


def test_the_schema_is_open_where_more_may_come(tmp_path):
    content = content_of(bench_runs.run(TIMED_RECORD, new=1), tmp_path)
    content["machine"]["hypervisor"] = "none"
    assert VALIDATOR.is_valid(content)
    content["weather"] = "fine"
    assert not VALIDATOR.is_valid(content)


MALFORMED = {
    "a time in words": with_record(time_median="1 ms"),
    "no number": with_record(max_error=float("nan")),
    "a case that is a number": with_record(case=3),
    "a count that is no integer": with_record(count=1.5),
    "an unknown status": with_record(status="fast"),
    "timed without a median": with_record(time_median=None),
    "samples that are a text": with_record(samples="abc"),
    "samples in words": with_record(samples=["1 ms"]),
    "errors that are a number": with_record(accuracy=[3]),
    "errors that are a text": with_record(accuracy="none"),
    "errors in words": with_record(accuracy=[ERRORS | {"error_ulp": "small"}]),
    "errors that lack one": with_record(accuracy=[{"values": "normal", "error_ulp": 1.0}]),
    "exact by number": with_record(accuracy=[ERRORS | {"is_exact": 1}]),
    "errors with more": with_record(accuracy=[ERRORS | {"colour": "red"}]),
    "records that are an object": changed(records={}),
    "records that are a text": changed(records=""),
    "a machine that is a list": changed(machine=[]),
    "no settings": changed(settings=None),
    "complete in words": changed(complete="no"),
    "nested too deeply": "[" * 100_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_content_is_refused(name, tmp_path):
    path = tmp_path / "malformed.json"
    path.write_text(MALFORMED[name], encoding="utf-8")
    with pytest.raises(FormatError, match=r"malformed\.json"):
        records.load(path)
