"""The tables that the terminal shows: every contestant of every job, losses first, then the means."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from fastconv.bench.accuracy import KINDS
from fastconv.bench.accuracy import worst as worst_errors
from fastconv.bench.ratios import EVEN, FASTER, SLOWER, UNKNOWN
from fastconv.bench.records import DECLINED, OURS, TIMED, Record
from fastconv.bench.report.facts import fact
from fastconv.bench.report.measures import BROKEN, ratio
from fastconv.bench.report.style import units
from fastconv.bench.summary import means, share

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]

# An interval whose ends differ by more than this says that the machine was disturbed.
_NOISY = 2.0
_HEADER = (
    *("contestant", "median", "fastest", "GFLOP/s", "GB/s", "peak", "roof", "memory"),
    *("error", "to best peer", "95 %", ""),
)
_MEANS = ("suite", "direction", "N", "layout", "dtype", "threads", "contestant", "cases")
_MEANS_FIGURES = ("geometric mean", "lowest", "network", "peak")
# Of data that is rounded: counted over windows, and over windows grown by one pixel.
_ROUNDED = KINDS[:-1]
_ERRORS = (*_ROUNDED, *(f"{kind} +1" for kind in _ROUNDED), "exact", "sums to")
_WORST = ("direction", "N", "layout", "dtype", "threads", "contestant")
_VERDICTS = {FASTER: "ahead", SLOWER: "LOSS", EVEN: "even", UNKNOWN: "few rounds"}


def jobs(records: Iterable[Record]) -> list[tuple[str, Table]]:
    """(title, table) of every job: first where one of this package's contestants is wrong or failed, then by its ratio.

    The smallest ratio comes first; who declined is left out.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        if record.status != DECLINED:
            groups.setdefault(record.job, []).append(record)
    ordered = sorted(groups.values(), key=_severity)
    return [(_title(group[0]), (_HEADER, [_row(record) for record in _ranked(group)])) for group in ordered]


def summary(records: Iterable[Record]) -> Table:
    """The means over each suite; this package's contestants first, of these the smallest ratio."""
    found = sorted(means(records), key=lambda mean: (not mean.contestant.startswith(OURS), mean.ratio or math.inf))
    rows: list[tuple[str, ...]] = [
        (
            *(mean.suite, mean.direction, str(mean.batch), mean.layout, mean.dtype, str(mean.threads)),
            *(mean.contestant, mean.coverage),
            *(
                _number(mean.ratio),
                _number(mean.lowest_ratio),
                "" if mean.network_seconds is None else time(mean.network_seconds),
                _percent(mean.peak_fraction),
            ),
        )
        for mean in found
    ]
    return (*_MEANS, *_MEANS_FIGURES), rows


def accuracy(records: Iterable[Record]) -> list[tuple[str, Table]]:
    """(title, table) of every job whose errors were measured: each contestant's, beside its speed."""
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        if record.accuracy:
            groups.setdefault(record.job, []).append(record)
    header = ("contestant", *_ERRORS, "median", "GFLOP/s", "peak")
    return [
        (_title(group[0]), (header, [_accuracy_row(record) for record in _ranked(group)])) for group in groups.values()
    ]


def worst(records: Iterable[Record]) -> Table:
    """The largest errors of every contestant over all layers of a direction and setting."""
    rows: list[tuple[str, ...]] = [
        (
            *(found.direction, str(found.batch), found.layout, found.dtype, str(found.threads), found.contestant),
            *(
                str(found.cases),
                *_errors(found.accuracy, share(found.exact, found.cases)),
                _percent(found.peak_fraction),
            ),
        )
        for found in worst_errors(records)
    ]
    return (*_WORST, "layers", *_ERRORS, "peak"), rows


def declined(records: Iterable[Record]) -> list[str]:
    """Who did not take part, in how many jobs, and why."""
    counts = Counter((record.contestant, record.reason) for record in records if record.status == DECLINED)
    return [f"{name} declined {count} x: {reason}" for (name, reason), count in counts.items()]


def time(seconds: float) -> str:
    """Seconds in a unit that leaves few digits.

    >>> time(0.00123456)
    '1.235 ms'
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3f} {unit}"
    return f"{seconds / 1e-6:.2f} us"


def _title(record):
    settings = f"N {record.batch}, {record.layout}, {record.dtype}, threads {record.threads}"
    return f"{record.suite}: {record.case}, {record.direction}, {settings}"


def _severity(group):
    ours = [record for record in group if record.is_ours]
    ratios = [record.ratio_to_best_peer for record in ours if record.ratio_to_best_peer is not None]
    return not any(record.status in BROKEN for record in ours), min(ratios, default=math.inf)


def _ranked(group):
    """The fastest first, then what was not timed."""
    return sorted(group, key=lambda record: (record.time_median is None, record.time_median or 0.0))


def _row(record):
    if record.status != TIMED:
        return (record.contestant, record.status.upper(), *[""] * (len(_HEADER) - 3), record.reason)
    return (
        record.contestant,
        time(record.time_median),
        time(record.time_min),
        f"{record.gflops:.1f}",
        f"{record.gbytes_per_s:.1f}",
        _percent(record.peak_fraction),
        _percent(record.roofline_fraction),
        "" if record.peak_bytes is None else fact(record.peak_bytes, "bytes"),
        f"{record.error_ulp:.1f} u",
        _number(record.ratio_to_best_peer),
        "" if record.ratio_low is None else f"{record.ratio_low:.2f}-{record.ratio_high:.2f}",
        " ".join(word for word in (_verdict(record), record.variant, _disturbance(record)) if word),
    )


def _accuracy_row(record):
    is_exact = "yes" if record.accuracy[-1].is_exact else "no"
    speed = (
        (time(record.time_median), f"{record.gflops:.1f}") if record.status == TIMED else (record.status.upper(), "")
    )
    return (record.contestant, *_errors(record.accuracy, is_exact), *speed, _percent(record.peak_fraction))


def _errors(found, exact):
    """Of data that is rounded the largest errors, by both ways of counting; how exact integers are, and up to where."""
    *rounded, integers = found
    plain = (units(errors.error_ulp) for errors in rounded)
    grown = ("" if errors.grown_ulp is None else units(errors.grown_ulp) for errors in rounded)
    return (*plain, *grown, exact, f"{integers.largest_sum:,.0f}")


def _verdict(record):
    """For this package's contestants only: slower or faster than the best peer, beyond noise; and much noise."""
    found = ratio(record)
    if found is None or not record.is_ours:
        return ""
    is_noisy = found.low is not None and found.high is not None and found.high > _NOISY * found.low
    return _VERDICTS[found.verdict] + (" (noisy)" if is_noisy else "")


def _disturbance(record):
    return f"({record.disturbed} of {record.rounds} samples disturbed)" if record.disturbed else ""


def _number(value):
    return "" if value is None else f"{value:.2f}"


def _percent(value):
    return "" if value is None else f"{value:.0%}"
