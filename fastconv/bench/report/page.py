"""One HTML page that shows a run and loads nothing: tables, charts and the machine. Needs matplotlib and jinja2."""

from __future__ import annotations

import html
import importlib
import importlib.resources
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastconv.bench.records import TIMED, WRONG, Record, Run
from fastconv.bench.report import charts
from fastconv.bench.summary import means
from fastconv.errors import missing_extra
from fastconv.weights.atomic import atomic_write

_MISSING = "–"
_UNITS = {"peak_gflops": "peak, GFLOP/s", "bandwidths": "bandwidths, GB/s", "memory_bytes": "memory"}


def save_page(run: Run, path) -> Path:
    """Write the page of a run; an old file gives way only to a whole new one."""
    text = render(run)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))
    return Path(path)


def render(run: Run) -> str:
    """The page of a run as text."""
    jinja2 = _jinja2()
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["fact"] = _fact
    environment.filters["caption"] = _caption
    environment.tests["matrix"] = _is_matrix
    source = importlib.resources.files(__package__).joinpath("page.html.j2").read_text("utf-8")
    entries = list(enumerate(run.records))
    losses = sorted((entry for entry in entries if charts.is_loss(entry[1])), key=_severity)
    figures = {suite: charts.suite_figure(run, suite) for suite in charts.suites(run)}
    return environment.from_string(source).render(
        run=run,
        tally=_tally(run),
        losses=_table(_LOSSES, losses),
        summary=_table(_MEANS, list(enumerate(means(run.records)))),
        refusals=_table(_REFUSALS, _refusals(run)),
        records=_table(_RECORDS, entries),
        charts={suite: _embedded(run, figure, f"suite {suite}") for suite, figure in figures.items()},
        roofline=_embedded(run, charts.roofline_figure(run), "roofline"),
    )


class _Column(NamedTuple):
    """A column of a table: a number with its format, or, without a format, text."""

    title: str
    value: Callable[[Any], Any]
    format: Callable[[float], str] | None = None


class _Cell(NamedTuple):
    """What a cell shows and, where it is a number, what it is sorted by."""

    text: str
    number: str | None = None


class _Row(NamedTuple):
    """The cells of one entry, which number it is, and how the row is marked."""

    position: int
    mark: str
    cells: list[_Cell]


class _Table(NamedTuple):
    """Headings (whether numeric) and rows."""

    heads: list[tuple[str, bool]]
    rows: list[_Row]


def _table(columns: Sequence[_Column], entries: Sequence[tuple[int, Any]]) -> _Table:
    heads = [(column.title, column.format is not None) for column in columns]
    return _Table(heads, [_Row(index, _mark(entry), [_cell(c, entry) for c in columns]) for index, entry in entries])


def _cell(column: _Column, entry) -> _Cell:
    value = column.value(entry)
    if column.format is None:
        return _Cell(str(value or _MISSING))
    return _Cell(_MISSING, "") if value is None else _Cell(column.format(value), f"{value:.9g}")


def _mark(entry) -> str:
    if not isinstance(entry, Record):
        return ""
    return "loss" if charts.is_loss(entry) else entry.status


def _field(title, name, format=None) -> _Column:
    return _Column(title, lambda entry: getattr(entry, name), format)


def _milliseconds(title, name) -> _Column:
    return _field(title, name, lambda value: charts.significant(1e3 * value))


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
    _field("GFLOP/s", "gflops", charts.significant),
    _field("% of peak", "peak_fraction", charts.percent),
    _field("% of roofline", "roofline_fraction", charts.percent),
    _field("GB/s", "gbytes_per_s", charts.significant),
    _field("max. error", "max_error", lambda value: f"{value:.1e}"),
    _field("error, ulp", "error_ulp", charts.significant),
    *_AGAINST,
)
_MEANS = (
    _field("suite", "suite"),
    *_SETTING,
    _field("cases", "cases", str),
    _field("mean ratio", "ratio", _twice),
    _field("lowest ratio", "lowest_ratio", _twice),
    _milliseconds("network, ms", "network_seconds"),
    _field("% of peak", "peak_fraction", charts.percent),
)
_REFUSALS = (
    _field("status", "status"),
    _field("contestant", "contestant"),
    _field("reason", "reason"),
    _field("times", "times", str),
    _field("where", "where"),
)


class _Refusal(NamedTuple):
    """Records that were not timed for one reason."""

    status: str
    contestant: str
    reason: str
    times: int
    where: str


def _refusals(run: Run) -> list[tuple[int, _Refusal]]:
    """What was declined or wrong, joined by contestant and reason; wrong results first."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in run.records:
        if record.status != TIMED:
            groups.setdefault((record.status, record.contestant, record.reason), []).append(record)
    ordered = sorted(groups.items(), key=lambda item: item[0][0] != WRONG)
    return [(index, _Refusal(*key, len(members), _places(members))) for index, (key, members) in enumerate(ordered)]


def _places(records: Sequence[Record], most: int = 6) -> str:
    places = list(dict.fromkeys(f"{record.suite}: {record.case}, {record.direction}" for record in records))
    more = f" · and {len(places) - most} more" if len(places) > most else ""
    return " · ".join(places[:most]) + more


def _severity(entry: tuple[int, Record]) -> float:
    ratio = entry[1].ratio_to_best_peer
    return ratio if ratio is not None else 1.0


def _tally(run: Run) -> dict[str, int]:
    compared = [record for record in run.records if record.is_ours and record.ratio_low is not None]
    return {
        "timed": sum(record.status == TIMED for record in run.records),
        "wrong": sum(record.status == WRONG for record in run.records),
        "declined": sum(record.status not in (TIMED, WRONG) for record in run.records),
        "compared": len(compared),
        "ahead": sum(record.ratio_low is not None and record.ratio_low > 1 for record in compared),
        "behind": sum(charts.is_loss(record) for record in compared),
    }


# An SVG of matplotlib carries a prolog, metadata, a style sheet for the whole document and ids of no further use.
_DROPPED = re.compile(r"^.*?(?=<svg )|<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", re.DOTALL)
_SHORTENED = (
    (re.compile(r" font-family: [^;\"]*;"), ""),
    (re.compile(r' transform="rotate\(-0 [^)]*\)"'), ""),
    (re.compile(r" xmlns(?::xlink)?=\"[^\"]*\""), ""),
    (re.compile(r" +\n|\n +|\n"), "\n"),
)
_ID = re.compile(r' id="([^"]*)"')
_OURS = re.compile(r"(?:bar|label|point)-\d+$")


def _embedded(run: Run, figure, name: str):
    """A figure as part of a page: nothing outside itself is named, and its ids are its own."""
    text = _DROPPED.sub("", charts.svg(figure, name))
    for pattern, replacement in _SHORTENED:
        text = pattern.sub(replacement, text)
    used = set(re.findall(r"#([\w.-]+)", text))
    text = _ID.sub(lambda match: match[0] if match[1] in used or _OURS.match(match[1]) else "", text)
    text = re.sub(r'(id="(?:bar|point)-(\d+)">)', lambda match: match[1] + _hover(run.records[int(match[2])]), text)
    label = html.escape(f"Chart: {name}")
    return _jinja2().utils.markupsafe.Markup(text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def _hover(record: Record) -> str:
    parts = [record.contestant, record.case, record.direction, record.variant]
    if record.gflops is not None:
        parts.append(f"{charts.significant(record.gflops)} GFLOP/s")
    return f"<title>{html.escape(' · '.join(filter(None, parts)))}</title>"


def _fact(value: Any, name: str = "") -> str:
    """A value of the machine block as people write it.

    >>> _fact(32768, "L1d bytes"), _fact(None), _fact([0.1, 2]), _fact(17.0)
    ('32 KiB', '–', '0.1, 2', '17')
    """
    if value is None or value == "":
        return _MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_fact(entry) for entry in value) or _MISSING
    if isinstance(value, (int, float)):
        return _bytes(value) if re.search(r"bytes|cache", name) else f"{value:.5g}" if value % 1 else f"{value:.0f}"
    return str(value)


def _caption(key: Any) -> str:
    """A key of the machine block in words, with the unit that it lacks."""
    return _UNITS.get(key) or str(key).replace("_", " ")


def _bytes(value: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} GiB"


def _is_matrix(value: Any) -> bool:
    """Whether a mapping holds mappings with the same keys, so that it is a table."""
    rows = list(value.values()) if isinstance(value, Mapping) else []
    return bool(rows) and all(isinstance(row, Mapping) and list(row) == list(rows[0]) for row in rows)


def _jinja2():
    try:
        return importlib.import_module("jinja2")
    except ImportError:
        raise missing_extra("jinja2", "bench", "the report") from None
