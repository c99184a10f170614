"""The tables of the page: losses, means, every record, and what was not timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastconv.bench import accuracy
from fastconv.bench.cases import INTEGERS
from fastconv.bench.records import TIMED, Record, Run
from fastconv.bench.report.facts import MISSING
from fastconv.bench.report.measures import BROKEN, is_loss
from fastconv.bench.report.style import percent, significant, units
from fastconv.bench.summary import means


class Cell(NamedTuple):
    """What a cell shows and, where it is a number, what it is sorted by."""

    text: str
    number: str | None = None


class Row(NamedTuple):
    """The cells of one entry, which number it is, and how the row is marked."""

    position: int
    mark: str
    cells: list[Cell]


class Table(NamedTuple):
    """Headings (whether numeric) and rows."""

    heads: list[tuple[str, bool]]
    rows: list[Row]


def losses(run: Run) -> Table:
    """Where this package is slower than the best peer, outside noise; the largest loss first."""
    found = [entry for entry in enumerate(run.records) if is_loss(entry[1])]
    return _table(_LOSSES, sorted(found, key=_severity))


def summary(run: Run) -> Table:
    """The means over each suite."""
    return _table(_MEANS, list(enumerate(means(run.records))))


def worst(run: Run) -> Table:
    """The largest errors of every contestant in data of several kinds; empty where they were not measured."""
    return _table(_WORST, list(enumerate(accuracy.worst(run.records))))


def errors(run: Run) -> Table:
    """Those of every layer, beside the speed."""
    return _table(_ERRORS, [entry for entry in enumerate(run.records) if entry[1].accuracy])


def records(run: Run) -> Table:
    """All of them."""
    return _table(_RECORDS, list(enumerate(run.records)))


def refusals(run: Run) -> Table:
    """What was not timed, joined by contestant and reason; what is wrong or failed comes first."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in run.records:
        if record.status != TIMED:
            groups.setdefault((record.status, record.contestant, record.reason), []).append(record)
    ordered = sorted(groups.items(), key=lambda item: item[0][0] not in BROKEN)
    found = [_Refusal(*key, len(members), _places(members)) for key, members in ordered]
    return _table(_REFUSALS, list(enumerate(found)))


class _Column(NamedTuple):
    """A column of a table: a number with its format, or, without a format, text."""

    title: str
    value: Callable[[Any], Any]
    format: Callable[[float], str] | None = None


class _Refusal(NamedTuple):
    """Records that were not timed for one reason."""

    status: str
    contestant: str
    reason: str
    times: int
    where: str


def _table(columns: Sequence[_Column], entries: Sequence[tuple[int, Any]]) -> Table:
    heads = [(column.title, column.format is not None) for column in columns]
    return Table(heads, [Row(index, _mark(entry), [_cell(c, entry) for c in columns]) for index, entry in entries])


def _cell(column: _Column, entry) -> Cell:
    value = column.value(entry)
    if column.format is None:
        return Cell(str(value or MISSING))
    return Cell(MISSING, "") if value is None else Cell(column.format(value), f"{value:.9g}")


def _mark(entry) -> str:
    if not isinstance(entry, Record):
        return ""
    return "loss" if is_loss(entry) else entry.status


def _severity(entry: tuple[int, Record]) -> float:
    ratio = entry[1].ratio_to_best_peer
    return ratio if ratio is not None else 1.0


def _places(records: Sequence[Record], most: int = 6) -> str:
    places = list(dict.fromkeys(f"{record.suite}: {record.case}, {record.direction}" for record in records))
    more = f" · and {len(places) - most} more" if len(places) > most else ""
    return " · ".join(places[:most]) + more


def _field(title, name, format=None) -> _Column:
    return _Column(title, lambda entry: getattr(entry, name), format)


def _milliseconds(title, name) -> _Column:
    return _field(title, name, lambda value: significant(1e3 * value))


def _error(title, place, name) -> _Column:
    """Of one kind of data."""
    return _Column(title, lambda entry: getattr(entry.accuracy[place], name), units)


def _twice(value) -> str:
    return f"{value:.2f}×"


def _interval(record: Record) -> str:
    low, high = record.ratio_low, record.ratio_high
    return "" if low is None or high is None else f"{low:.2f}–{high:.2f}"


_SETTING = (
    _field("direction", "direction"),
    _field("N", "batch", str),
    _field("layout", "layout"),
    _field("dtype", "dtype"),
    _field("threads", "threads", str),
    _field("contestant", "contestant"),
)
_CASE = (_field("suite", "suite"), _field("case", "case"))
_AGAINST = (
    _field("best peer", "best_peer"),
    _field("ratio", "ratio_to_best_peer", _twice),
    _Column("95 % interval", _interval),
)
_LOSSES = (*_CASE, *_SETTING, _field("variant", "variant"), _milliseconds("median, ms", "time_median"), *_AGAINST)
_RECORDS = (
    *_CASE,
    _field("count", "count", str),
    *_SETTING,
    _field("status", "status"),
    _field("variant", "variant"),
    _milliseconds("median, ms", "time_median"),
    _milliseconds("minimum, ms", "time_min"),
    _milliseconds("first call, ms", "time_first"),
    _field("rounds", "rounds", str),
    _field("GFLOP/s", "gflops", significant),
    _field("% of peak", "peak_fraction", percent),
    _field("% of roofline", "roofline_fraction", percent),
    _field("GB/s", "gbytes_per_s", significant),
    _field("peak memory, MiB", "peak_bytes", lambda value: significant(value / 2**20)),
    _field("max. error", "max_error", lambda value: f"{value:.1e}"),
    _field("error, ulp", "error_ulp", significant),
    *_AGAINST,
)
_MEANS = (
    _field("suite", "suite"),
    *_SETTING,
    _field("cases", "coverage"),
    _field("mean ratio", "ratio", _twice),
    _field("lowest ratio", "lowest_ratio", _twice),
    _milliseconds("network, ms", "network_seconds"),
    _field("% of peak", "peak_fraction", percent),
)
_ROUNDED = [(place, kind) for place, kind in enumerate(accuracy.KINDS) if kind != INTEGERS]
_KINDS = (
    *(_error(kind, place, "error_ulp") for place, kind in _ROUNDED),
    *(_error(f"{kind} +1", place, "grown_ulp") for place, kind in _ROUNDED),
)
_WORST = (
    *_SETTING,
    _field("layers", "cases", str),
    *_KINDS,
    _field("integers exact", "exact", str),
    _field("sums up to", "largest_sum", lambda value: f"{value:,.0f}"),
    _field("% of peak", "peak_fraction", percent),
)
_ERRORS = (
    *_CASE,
    *_SETTING,
    *_KINDS,
    _Column("integers exact", lambda record: "yes" if record.accuracy[-1].is_exact else "no"),
    _Column("sums up to", lambda record: record.accuracy[-1].largest_sum, lambda value: f"{value:,.0f}"),
    _milliseconds("median, ms", "time_median"),
    _field("GFLOP/s", "gflops", significant),
    _field("% of peak", "peak_fraction", percent),
)
_REFUSALS = (
    _field("status", "status"),
    _field("contestant", "contestant"),
    _field("reason", "reason"),
    _field("times", "times", str),
    _field("where", "where"),
)
