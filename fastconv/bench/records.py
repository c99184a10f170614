"""What a benchmark run leaves behind: one record per case and contestant, and the machine; read and written as JSON.

The fields and their units are described in ``docs/benchmark-records.md``; ``record.schema.json`` beside this file is
the same in JSON Schema. SCHEMA_VERSION grows when a field changes its meaning or goes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fastconv.errors import FormatError
from fastconv.weights.atomic import atomic_write

SCHEMA = "fastconv-bench"
SCHEMA_VERSION = 2

# What became of a contestant in a case.
TIMED = "timed"
WRONG = "wrong"
FAILED = "failed"
DECLINED = "declined"
STATUSES = (TIMED, WRONG, FAILED, DECLINED)

OURS = "fastconv:"


@dataclass(frozen=True, slots=True)
class Errors:
    """How exact a result is, of data of one kind; ``values`` names the kind.

    ``error_ulp`` is the largest difference from float64 in units of u times the sum of magnitudes, which reaches
    ``largest_sum``; ``grown_ulp`` counts that over a window grown by one pixel, where the bound of the algorithm does.
    """

    values: str
    error_ulp: float
    grown_ulp: float | None
    is_exact: bool
    largest_sum: float


@dataclass(frozen=True, slots=True)
class Record:
    """One contestant in one case. Without a measurement the measured fields are None; a wrong result keeps its errors.

    Times are seconds of one call; a ratio above 1 says that this contestant is faster than the best peer.
    """

    case: str
    suite: str
    count: int
    direction: str
    batch: int
    layout: str
    dtype: str
    threads: int
    contestant: str
    status: str
    reason: str = ""
    variant: str = ""
    flops: int = 0
    bytes: int = 0
    time_median: float | None = None
    time_min: float | None = None
    time_first: float | None = None
    rounds: int = 0
    disturbed: int = 0
    gflops: float | None = None
    peak_gflops: float | None = None
    peak_fraction: float | None = None
    roofline_fraction: float | None = None
    gbytes_per_s: float | None = None
    peak_bytes: int | None = None
    max_error: float | None = None
    error_ulp: float | None = None
    best_peer: str | None = None
    ratio_to_best_peer: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    samples: tuple[float, ...] = ()
    accuracy: tuple[Errors, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether the contestant is one of this package's backends."""
        return self.contestant.startswith(OURS)

    @property
    def job(self) -> tuple:
        """What the contestants of one comparison share."""
        return (self.suite, self.case, self.direction, self.batch, self.layout, self.dtype, self.threads)


@dataclass(frozen=True, slots=True)
class Run:
    """The records of one run, the machine, and how was measured; ``complete`` is False where jobs are missing."""

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    records: tuple[Record, ...] = field(default=())
    complete: bool = True


def save(run: Run, path) -> None:
    """Write a run as JSON, a record a line; the old file stays whole until the new one is."""
    head = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "complete": run.complete,
        "machine": run.machine,
        "settings": run.settings,
    }
    opening = json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}")
    lines = ",\n".join(json.dumps(asdict(record), allow_nan=False) for record in run.records)
    with atomic_write(path) as file:
        file.write(f'{opening},\n "records": [\n{lines}\n]\n}}\n'.encode())


def load(path) -> Run:
    """Read a run; raises OSError, or FormatError with the path and the reason."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise FormatError(f"{path} is no record of a benchmark run: it lacks 'schema': {SCHEMA!r}")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise FormatError(
            f"{path} has schema version {content.get('schema_version')!r}; this fastconv reads version {SCHEMA_VERSION}"
        )
    try:
        _check_types(content, {"machine": dict, "settings": dict, "records": list, "complete": bool})
        records = tuple(_record(entry) for entry in content["records"])
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path} does not follow the schema: {error}") from None
    return Run(content["machine"], content["settings"], records, content["complete"])


_NUMBER = (int, float)
# The annotation of a field -> what JSON may hold there.
_JSON_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": _NUMBER,
    "int | None": (int, type(None)),
    "float | None": (*_NUMBER, type(None)),
    "str | None": (str, type(None)),
    "tuple[float, ...]": list,
    "tuple[Errors, ...]": list,
}


def _record(entry: Mapping[str, Any]) -> Record:
    _check_fields(entry, Record)
    samples = entry.get("samples", ())
    _check_types(dict(enumerate(samples)), dict.fromkeys(range(len(samples)), _NUMBER))
    accuracy = tuple(_errors(errors) for errors in entry.get("accuracy", ()))
    record = Record(**{**entry, "samples": tuple(samples), "accuracy": accuracy})
    if record.status not in STATUSES:
        raise ValueError(f"status {record.status!r} is none of {', '.join(STATUSES)}")
    if record.status == TIMED and None in (record.time_median, record.time_min):
        raise ValueError("a timed record lacks its times")
    return record


def _errors(entry: Mapping[str, Any]) -> Errors:
    _check_fields(entry, Errors)
    return Errors(**entry)


def _check_fields(entry: Any, kind: type) -> None:
    """Raise TypeError unless the entry is an object whose fields are some of the dataclass's, of their types."""
    if not isinstance(entry, dict):
        raise TypeError(f"a record is an object, not {entry!r:.60}")
    types = {item.name: _JSON_TYPES[str(item.type)] for item in fields(kind)}
    if unknown := set(entry) - set(types):
        raise TypeError(f"unknown fields {', '.join(sorted(unknown))}")
    _check_types(entry, {name: types[name] for name in entry})


def _check_types(values: Mapping[Any, Any], types: Mapping[Any, Any]) -> None:
    """Raise TypeError that names the field; True and False are no numbers."""
    for name, wanted in types.items():
        if name not in values:
            raise TypeError(f"{name!r} is missing")
        value = values[name]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise TypeError(f"{name} is {value!r:.60}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
