"""What the bars of a chart are long by, and which of their contestants lose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from fastconv.bench.ratios import SLOWER, Ratio
from fastconv.bench.records import FAILED, TIMED, WRONG, Record
from fastconv.bench.report.style import percent, significant

# What a reader must see before anything else.
BROKEN = (WRONG, FAILED)


class Measure(NamedTuple):
    """What the length of a bar means; ``full`` is the value that nothing should exceed or fall below."""

    field: str
    title: str
    text: Callable[[float], str]
    full: float | None = None

    def of(self, entry) -> float | None:
        """The value of a record or of a mean, None where it is not known."""
        return getattr(entry, self.field)


PEAK = Measure("peak_fraction", "% of FMA peak", lambda value: f"{percent(value)} %", 1.0)
RATIO = Measure("ratio", "× the speed of the best peer, geometric mean", lambda value: f"{value:.2f}×", 1.0)
_OF_RECORDS = (
    PEAK,
    Measure("roofline_fraction", "% of roofline", lambda value: f"{percent(value)} %", 1.0),
    Measure("gflops", "GFLOP/s", lambda value: f"{significant(value)} GFLOP/s"),
    Measure("gbytes_per_s", "GB/s", lambda value: f"{significant(value)} GB/s"),
)


def common(records: Iterable[Record]) -> Measure:
    """The first measure that says something of at least half of the timed records, else of the most."""
    timed = [record for record in records if record.status == TIMED]
    counts = {measure: sum(_says_something(measure, record) for record in timed) for measure in _OF_RECORDS}
    frequent = [measure for measure in _OF_RECORDS if 2 * counts[measure] >= len(timed)]
    return frequent[0] if frequent else max(counts, key=counts.__getitem__)


def is_loss(record: Record) -> bool:
    """Whether a contestant of this package is slower than the best peer, outside noise."""
    found = ratio(record)
    return record.is_ours and found is not None and found.verdict == SLOWER


def ratio(record: Record) -> Ratio | None:
    """To the best peer; None where nothing was compared."""
    if record.status != TIMED or record.ratio_to_best_peer is None:
        return None
    return Ratio(record.ratio_to_best_peer, record.ratio_low, record.ratio_high)


def _says_something(measure: Measure, record: Record) -> bool:
    """Whether the value is known; of the peak also whether memory allows at least half of it."""
    value = measure.of(record)
    if measure is not PEAK or value is None or record.roofline_fraction is None:
        return value is not None
    return value >= 0.5 * record.roofline_fraction
