"""Charts of a run: bars per suite, the roofline, one picture of both. Needs matplotlib.

What shows record i carries the gid ``bar-i``, ``label-i`` or ``point-i``, which an SVG keeps as the id of the element.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from fastconv.bench.ratios import geometric_mean
from fastconv.bench.records import OURS, TIMED, Record, Run
from fastconv.bench.report import measures, roofline, style
from fastconv.bench.report.bars import Bar, grid
from fastconv.bench.report.measures import Measure
from fastconv.bench.report.sheet import Block, figure, heading, note
from fastconv.bench.summary import Mean, means, share
from fastconv.weights.atomic import atomic_write


def suites(run: Run) -> tuple[str, ...]:
    """The suites of a run in the order in which they occur."""
    return tuple(dict.fromkeys(record.suite for record in run.records))


def suite_figure(run: Run, suite: str):
    """Bars of every case of a suite: directions side by side, the other settings below one another."""
    bars: dict[str, list[Bar]] = {}
    entries = [(index, record) for index, record in enumerate(run.records) if record.suite == suite]
    measure = measures.common(record for _, record in entries)
    for index, record in entries:
        bars.setdefault(_setting(record), []).append(_record_bar(index, record, measure))
    return figure(grid(bars, measure, style.colours(run)))


def roofline_figure(run: Run):
    """Every timed record with FLOPs under the roof of its thread count and dtype, logarithmic in both directions."""
    return figure(roofline.blocks(run, style.colours(run)))


def save_plot(run: Run, path) -> Path:
    """Save one PNG: the roofline, and below it the means of this package's contestants."""
    colours = style.colours(run)
    with style.plain():
        title = f"fastconv bench · {style.one_line(str(run.machine.get('cpu') or 'unknown processor'))}"
        title += "" if run.complete else " · not complete: cases are missing"
        roofs = [heading("Roofline", 8.0), *roofline.blocks(run, colours)]
        drawn = figure([heading(title, 8.0, 14), *roofs, *_summary(run, colours)])
        with atomic_write(path) as file:
            drawn.savefig(file, format="png", dpi=120)
    return Path(path)


def svg(drawn, name: str) -> str:
    """A figure as SVG whose texts are text; ``name`` keeps its ids apart from those of other figures."""
    text = io.StringIO()
    with style.plain({"svg.fonttype": "none", "svg.hashsalt": name}):
        drawn.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _setting(record: Record) -> str:
    threads = style.counted(record.threads, "thread")
    return style.one_line(f"N = {record.batch} · {record.layout} · {record.dtype} · {threads}")


def _record_bar(index: int, record: Record, measure: Measure) -> Bar:
    group = record.case + (f"  ×{record.count}" if record.count != 1 else "")
    bar = Bar(group, record.contestant, record.direction, record.status, key=str(index))
    if record.status != TIMED:
        return bar._replace(is_wrong=record.status in measures.BROKEN)
    value = measure.of(record)
    parts = [] if value is None else [measure.text(value)]
    if record.time_median is not None:
        parts.append(f"{style.significant(1e3 * record.time_median)} ms")
    text = " · ".join(parts) or "no time"
    slower = measures.is_loss(record)
    if slower and record.ratio_to_best_peer is not None:
        text += f" ▼ {record.ratio_to_best_peer:.2f}×"
    return bar._replace(text=text, length=value, is_loss=slower)


def _summary(run: Run, colours: Mapping[str, str]) -> list[Block]:
    """Means over a suite's settings: the ratio to the best peer, or the share of the peak where there is no peer."""
    groups: dict[tuple[str, str, str], list[Mean]] = {}
    for mean in means(run.records):
        if mean.contestant.startswith(OURS):
            groups.setdefault((mean.suite, mean.contestant, mean.direction), []).append(mean)
    has_peers = any(mean.ratio is not None for group in groups.values() for mean in group)
    measure = measures.RATIO if has_peers else measures.PEAK
    bars = [_mean_bar(place, group, measure) for place, group in groups.items()]
    if not bars:
        return [note("No contestant of this package was timed.")]
    blocks = grid({"": bars}, measure, colours)
    return [heading("Speed against the best peer" if has_peers else "Share of the peak", blocks[0].width), *blocks]


def _mean_bar(place: tuple[str, str, str], group: Sequence[Mean], measure: Measure) -> Bar:
    suite, contestant, direction = place
    bar = Bar(suite, contestant, direction, "not known")
    values = [value for mean in group if (value := measure.of(mean))]
    if not values:
        return bar
    value = geometric_mean(values)
    cases = share(sum(mean.cases for mean in group), total := sum(mean.all_cases for mean in group))
    text = f"{measure.text(value)} · {cases} case{'s' if total != 1 else ''}"
    return bar._replace(text=text, length=value, is_loss=measure is measures.RATIO and value < 1)
