"""Charts of a run: bars per suite, the roofline, one picture of both. Needs matplotlib.

Figures are laid out in inches, top to bottom, so that they grow with the number of cases and stay legible. What shows
record i carries the gid ``bar-i``, ``label-i`` or ``point-i``, which an SVG keeps as the id of the element.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fastconv.bench.ratios import geometric_mean
from fastconv.bench.records import OURS, TIMED, WRONG, Record, Run
from fastconv.bench.summary import Mean, means
from fastconv.errors import missing_extra
from fastconv.weights.atomic import atomic_write

_STRONG = ("#0b5cad", "#e07000", "#0f8a6c", "#7a3fb0", "#a8860a", "#0893b2")
_MUTED = ("#9aa7b5", "#cdbf9f", "#b6c9ae", "#c9b0c2", "#cfd5db", "#a99f94")
_INK, _GREY, _FAINT, _RED = "#1c2733", "#67727e", "#e3e7eb", "#b3261e"
_MARKERS = "o^sDvPX*"

# Inches.
_NAMES = 1.75
_LINE = 0.168
_EDGE = 0.15
_GAP = 0.25
_CHARACTER = 0.069
_ROOFLINE = 4.7
_LEGEND = 2.1

_CASES_PER_PANEL = 12
_COLUMN_WIDTHS = {1: 7.0, 2: 5.0}
_COLUMN_WIDTH = 3.5


def suites(run: Run) -> tuple[str, ...]:
    """The suites of a run in the order in which they occur."""
    return tuple(dict.fromkeys(record.suite for record in run.records))


def suite_figure(run: Run, suite: str):
    """Bars of every case of a suite: directions side by side, the other settings below one another."""
    bars: dict[str, list[_Bar]] = {}
    entries = [(index, record) for index, record in enumerate(run.records) if record.suite == suite]
    measure = _measure([record for _, record in entries])
    for index, record in entries:
        bars.setdefault(_setting(record), []).append(_record_bar(index, record, measure))
    return _figure(_grid(bars, measure, _colours(run)))


def roofline_figure(run: Run):
    """Every timed record with FLOPs under the roof of its thread count and dtype, logarithmic in both directions."""
    return _figure(_rooflines(run, _colours(run)))


def is_loss(record: Record) -> bool:
    """Whether a contestant of this package is slower than the best peer, outside noise."""
    return record.status == TIMED and record.is_ours and record.ratio_high is not None and record.ratio_high < 1


def save_plot(run: Run, path) -> Path:
    """Save one PNG: the roofline, and below it the means of this package's contestants."""
    colours = _colours(run)
    with _style():
        title = f"fastconv bench · {_one_line(str(run.machine.get('cpu') or 'unknown processor'))}"
        title += "" if run.complete else " · interrupted"
        roofs = [_heading("Roofline", 8.0), *_rooflines(run, colours)]
        figure = _figure([_heading(title, 8.0, 14), *roofs, *_summary(run, colours)])
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=120)
    return Path(path)


def svg(figure, name: str) -> str:
    """A figure as SVG whose texts are text; ``name`` keeps its ids apart from those of other figures."""
    text = io.StringIO()
    with _style({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def significant(value: float) -> str:
    """Three digits, and no exponent for what is large.

    >>> significant(1234.5), significant(0.012345)
    ('1234', '0.0123')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(fraction: float) -> str:
    """A fraction in per cent, with two digits where it is small.

    >>> percent(0.973), percent(0.0345)
    ('97', '3.5')
    """
    return f"{100 * fraction:.0f}" if abs(fraction) >= 0.0995 else f"{100 * fraction:.2g}"


class _Measure(NamedTuple):
    """What the length of a bar means; ``full`` is the value that nothing should exceed or fall below."""

    field: str
    title: str
    text: Callable[[float], str]
    full: float | None = None

    def of(self, entry) -> float | None:
        return getattr(entry, self.field)


_PEAK = _Measure("peak_fraction", "% of FMA peak", lambda value: f"{percent(value)} %", 1.0)
_MEASURES = (
    _PEAK,
    _Measure("roofline_fraction", "% of roofline", lambda value: f"{percent(value)} %", 1.0),
    _Measure("gflops", "GFLOP/s", lambda value: f"{significant(value)} GFLOP/s"),
    _Measure("gbytes_per_s", "GB/s", lambda value: f"{significant(value)} GB/s"),
)
_RATIO = _Measure("ratio", "× the speed of the best peer, geometric mean", lambda value: f"{value:.2f}×", 1.0)


class _Bar(NamedTuple):
    """One contestant in one group and column; without a length there is a label alone."""

    group: str
    contestant: str
    column: str
    text: str
    length: float | None = None
    is_loss: bool = False
    is_wrong: bool = False
    key: str = ""


class _Block(NamedTuple):
    """A part of a figure: its size in inches, and how to draw it at a distance from the top."""

    width: float
    height: float
    draw: Callable[[_Sheet, float], None]


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A figure addressed in inches from its top left corner."""

    figure: Any
    width: float
    height: float

    def axes(self, left, top, width, height):
        """Empty axes without a frame."""
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box, facecolor="none")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=7, labelcolor=_GREY, pad=2)
        return axes

    def text(self, left, top, text, **options):
        """One line of text, never taken for mathematics."""
        options = {"fontsize": 7.5, "color": _INK, "va": "center", "parse_math": False} | options
        self.figure.text(left / self.width, 1 - top / self.height, text, **options)

    def rule(self, left, right, top):
        """A thin horizontal line."""
        xs, y = (left / self.width, right / self.width), 1 - top / self.height
        style = {"color": _FAINT, "linewidth": 0.8, "transform": self.figure.transFigure}
        line = _matplotlib("lines").Line2D(xs, (y, y), **style)
        self.figure.add_artist(line)


def _figure(blocks: Iterable[_Block]):
    with _style():
        blocks = list(blocks)
        width, height = max(block.width for block in blocks), sum(block.height for block in blocks) + 2 * _EDGE
        figure = _matplotlib("figure").Figure(figsize=(width, height), facecolor="white")
        top = _EDGE
        for block in blocks:
            block.draw(_Sheet(figure, width, height), top)
            top += block.height
    return figure


def _note(text) -> _Block:
    return _Block(8.0, 0.5, lambda sheet, top: sheet.text(_EDGE, top + 0.25, text, color=_GREY, fontsize=9))


def _heading(text, width, size=11) -> _Block:
    style = {"fontsize": size, "fontweight": "bold"}
    return _Block(width, 0.45, lambda sheet, top: sheet.text(_EDGE, top + 0.2, text, **style))


def _measure(records) -> _Measure:
    """The first measure that at least half of the timed records have, else the one that most have.

    The share of the peak says little where memory allows most records less than half of it; that counts as not known.
    """
    timed = [record for record in records if record.status == TIMED]
    known = {measure: sum(measure.of(record) is not None for record in timed) for measure in _MEASURES}
    known[_PEAK] -= sum(_is_memory_bound(record) for record in timed)
    common = [measure for measure in _MEASURES if 2 * known[measure] >= len(timed)]
    return common[0] if common else max(known, key=known.__getitem__)


def _is_memory_bound(record: Record) -> bool:
    peak, roof = record.peak_fraction, record.roofline_fraction
    return peak is not None and roof is not None and peak < 0.5 * roof


def _setting(record: Record) -> str:
    threads = f"{record.threads} thread{'s' if record.threads != 1 else ''}"
    return _one_line(f"N = {record.batch} · {record.layout} · {record.dtype} · {threads}")


def _record_bar(index: int, record: Record, measure: _Measure) -> _Bar:
    group = record.case + (f"  ×{record.count}" if record.count != 1 else "")
    bar = _Bar(group, record.contestant, record.direction, record.status, key=str(index))
    if record.status != TIMED:
        return bar._replace(is_wrong=record.status == WRONG)
    value = measure.of(record)
    parts = [] if value is None else [measure.text(value)]
    if record.time_median is not None:
        parts.append(f"{significant(1e3 * record.time_median)} ms")
    text = " · ".join(parts) or "no time"
    slower = is_loss(record)
    if slower and record.ratio_to_best_peer is not None:
        text += f" ▼ {record.ratio_to_best_peer:.2f}×"
    return bar._replace(text=text, length=value, is_loss=slower)


def _summary(run: Run, colours) -> list[_Block]:
    """Means over a suite's settings: the ratio to the best peer, or the share of the peak where there is no peer."""
    groups: dict[tuple[str, str, str], list[Mean]] = {}
    for mean in means(run.records):
        if mean.contestant.startswith(OURS):
            groups.setdefault((mean.suite, mean.contestant, mean.direction), []).append(mean)
    has_peers = any(mean.ratio is not None for group in groups.values() for mean in group)
    measure = _RATIO if has_peers else _PEAK
    bars = [_mean_bar(place, group, measure) for place, group in groups.items()]
    if not bars:
        return [_note("No contestant of this package was timed.")]
    blocks = _grid({"": bars}, measure, colours)
    return [_heading("Speed against the best peer" if has_peers else "Share of the peak", blocks[0].width), *blocks]


def _mean_bar(place, group: Sequence[Mean], measure: _Measure) -> _Bar:
    suite, contestant, direction = place
    bar = _Bar(suite, contestant, direction, "not known")
    values = [value for mean in group if (value := measure.of(mean))]
    if not values:
        return bar
    value = geometric_mean(values)
    cases = sum(mean.cases for mean in group)
    text = f"{measure.text(value)} · {cases} case{'s' if cases != 1 else ''}"
    return bar._replace(text=text, length=value, is_loss=measure is _RATIO and value < 1)


def _grid(panels: Mapping[str, list[_Bar]], measure: _Measure, colours) -> list[_Block]:
    """Panels of bars: a row per contestant under the name of its group, a column per direction."""
    everything = [bar for bars in panels.values() for bar in bars]
    columns = list(dict.fromkeys(bar.column for bar in everything))
    width = _COLUMN_WIDTHS.get(len(columns), _COLUMN_WIDTH)
    label = max(len(bar.text) for bar in everything) * _CHARACTER
    scale = _Scale(measure, columns, width, width - min(label, 0.7 * width), _limit(everything, measure))
    return [_panel(title, part, scale, colours) for name, bars in panels.items() for title, part in _parts(name, bars)]


class _Scale(NamedTuple):
    """What the panels of one figure share."""

    measure: _Measure
    columns: list[str]
    width: float
    bars: float
    limit: float

    @property
    def total(self) -> float:
        """Inches of all columns, the contestants' names and the edges."""
        return _NAMES + len(self.columns) * (self.width + _GAP) + _EDGE


def _limit(bars, measure: _Measure) -> float:
    """The end of the axis: 100 % unless a bar is longer or all are far from it."""
    longest = max((bar.length for bar in bars if bar.length is not None), default=0.0) or 1.0
    return max(longest, measure.full) if measure.full is not None and longest > 0.4 * measure.full else longest


def _parts(name, bars: list[_Bar]) -> Iterator[tuple[str, list[_Bar]]]:
    """Few enough cases per panel that its headings stay in sight."""
    groups = list(dict.fromkeys(bar.group for bar in bars))
    count = math.ceil(len(groups) / _CASES_PER_PANEL)
    size = math.ceil(len(groups) / count)
    for part in range(count):
        members = set(groups[part * size : (part + 1) * size])
        title = f"{name}   ({part + 1} of {count})" if count > 1 else name
        yield title, [bar for bar in bars if bar.group in members]


def _panel(title, bars: list[_Bar], scale: _Scale, colours) -> _Block:
    rows: dict[tuple[str, str], float] = {}
    groups: dict[str, float] = {}
    lines = 0.0
    for group in dict.fromkeys(bar.group for bar in bars):
        groups[group] = lines + 0.85
        lines += 1.5
        members = {bar.contestant for bar in bars if bar.group == group}
        for contestant in (name for name in colours if name in members):
            rows[group, contestant] = lines + 0.5
            lines += 1
        lines += 0.35
    head = 0.55 if title else 0.3

    def draw(sheet, top):
        sheet.text(_EDGE, top + 0.15, title, fontsize=9, fontweight="bold")
        body = top + head
        _draw_names(sheet, body, groups, rows, scale)
        for number, column in enumerate(scale.columns):
            left = _NAMES + number * (scale.width + _GAP)
            axes = sheet.axes(left, body, scale.bars, lines * _LINE)
            sheet.text(left, body - 0.15, _one_line(column), fontsize=8.5, fontweight="bold")
            _draw_bars(axes, [bar for bar in bars if bar.column == column], rows, scale, colours, lines)

    return _Block(scale.total, head + lines * _LINE + 0.55, draw)


def _draw_names(sheet, body, groups, rows, scale) -> None:
    for group, line in groups.items():
        sheet.rule(_EDGE, scale.total - _EDGE, body + (line - 0.75) * _LINE)
        sheet.text(_EDGE, body + line * _LINE, _elided(group, int(scale.total / 0.08)), fontsize=8.5, fontweight="bold")
    for (_, contestant), line in rows.items():
        colour = _INK if contestant.startswith(OURS) else _GREY
        sheet.text(_NAMES - 0.08, body + line * _LINE, _elided(contestant, 24), ha="right", color=colour)


def _draw_bars(axes, bars, rows, scale: _Scale, colours, lines) -> None:
    axes.set(xlim=(0, scale.limit), ylim=(lines, 0), yticks=[])
    _draw_scale(axes, scale)
    rectangle = _matplotlib("patches").Rectangle
    for bar in bars:
        line = rows[bar.group, bar.contestant]
        if bar.length is not None:
            edge = {"edgecolor": _RED, "linewidth": 1.2} if bar.is_loss else {"linewidth": 0}
            colour = colours[bar.contestant]
            corner = (0, line - 0.39)
            patch = rectangle(corner, bar.length, 0.78, facecolor=colour, clip_on=False, gid=f"bar-{bar.key}", **edge)
            axes.add_artist(patch)
        _draw_label(axes, bar, line, scale)


def _draw_label(axes, bar, line, scale) -> None:
    options: dict[str, Any] = {"color": _INK}
    if bar.is_wrong:
        pill = {"boxstyle": "round,pad=0.2", "facecolor": _RED, "edgecolor": "none"}
        options = {"color": "white", "fontweight": "bold", "bbox": pill}
    elif bar.is_loss:
        options = {"color": _RED, "fontweight": "bold"}
    elif bar.length is None:
        options = {"color": _GREY, "fontstyle": "italic"}
    x = (1 + 0.08 / scale.bars) * scale.limit
    axes.text(x, line, bar.text, fontsize=7.5, va="center", parse_math=False, gid=f"label-{bar.key}", **options)


def _draw_scale(axes, scale: _Scale) -> None:
    locator = _matplotlib("ticker").MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
    ticks = [tick for tick in locator.tick_values(0, scale.limit) if tick <= scale.limit]
    percents = scale.measure.title.startswith("%")
    axes.set_xticks(ticks, [f"{100 * tick if percents else tick:.4g}" for tick in ticks])
    axes.grid(axis="x", color=_FAINT, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.axvline(0, color=_GREY, linewidth=0.8)
    if scale.measure.full is not None and scale.measure.full <= scale.limit:
        axes.axvline(scale.measure.full, color=_GREY, linewidth=1.0, zorder=0.9)
    axes.set_xlabel(scale.measure.title, fontsize=7, color=_GREY, loc="left", labelpad=2)


class _Point(NamedTuple):
    """A timed record under the roof: FLOP per compulsory byte, GFLOP/s."""

    position: int
    record: Record
    x: float
    y: float


def _points(run: Run) -> dict[tuple[int, str], list[_Point]]:
    panels: dict[tuple[int, str], list[_Point]] = {}
    for index, record in enumerate(run.records):
        if record.status == TIMED and record.time_median and record.flops > 0 and record.bytes > 0:
            point = _Point(index, record, record.flops / record.bytes, record.flops / record.time_median / 1e9)
            panels.setdefault((record.threads, record.dtype), []).append(point)
    return dict(sorted(panels.items()))


def _rooflines(run: Run, colours) -> list[_Block]:
    panels = list(_points(run).items())
    if not panels:
        return [_note("No timed record has FLOPs to be set against a roof.")]
    across = min(len(panels), 2)
    width = (7.2 if across == 1 else 5.2) + 0.75
    directions = dict.fromkeys(point.record.direction for _, points in panels for point in points)
    shapes = {direction: _MARKERS[number % len(_MARKERS)] for number, direction in enumerate(directions)}
    total = across * width + _LEGEND + _EDGE

    def draw(sheet, top):
        for number, (key, points) in enumerate(panels):
            row, column = divmod(number, across)
            box = (0.7 + column * width, top + 0.35 + row * _ROOFLINE, width - 0.75, _ROOFLINE - 1.0)
            _draw_roofline(sheet, box, _roof(run, *key, points), points, colours, shapes)
            threads, dtype = key
            title = _one_line(f"{threads} thread{'s' if threads != 1 else ''} · {dtype}")
            sheet.text(box[0], box[1] - 0.17, title, fontsize=9, fontweight="bold")
        _draw_legend(sheet, across * width, top, colours, shapes)

    height = max(math.ceil(len(panels) / across) * _ROOFLINE, 0.19 * (len(colours) + len(shapes)) + 1)
    return [_Block(total, height, draw)]


class _Roof(NamedTuple):
    """The limits of a thread count and dtype: GFLOP/s, and GB/s by level of memory with a label each."""

    peak: float | None
    slopes: list[tuple[float, str]]


def _roof(run: Run, threads: int, dtype: str, points: Sequence[_Point]) -> _Roof:
    limits: Mapping[str, Any] = next(
        (limit for limit in run.machine.get("limits") or () if limit.get("threads") == threads), {}
    )
    peak = (limits.get("peak_gflops") or {}).get(dtype)
    if not peak:
        peak = max((point.record.peak_gflops or 0 for point in points), default=0) or None
    slopes = []
    for level, speeds in (limits.get("bandwidths") or {}).items():
        kinds = {kind: speed for kind, speed in speeds.items() if kind != "bytes" and speed}
        if kinds:
            fastest = max(kinds, key=kinds.__getitem__)
            slopes.append((kinds[fastest], f"{level}: {significant(kinds[fastest])} GB/s"))
    return _Roof(peak, sorted(slopes))


def _draw_roofline(sheet, box, roof: _Roof, points, colours, shapes) -> None:
    axes = sheet.axes(*box)
    low, high, bottom, top = window = _window(roof, points)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(bottom, top))
    for axis, ends in ((axes.xaxis, (low, high)), (axes.yaxis, (bottom, top))):
        axis.set_ticks(ticks := _log_ticks(*ends), [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    axes.grid(color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("FLOP per compulsory byte", fontsize=7.5, color=_GREY)
    axes.set_ylabel("GFLOP/s", fontsize=7.5, color=_GREY)
    angle = math.degrees(math.atan(box[3] / math.log(top / bottom) / (box[2] / math.log(high / low))))
    _draw_roof(axes, roof, window, angle)
    line = _matplotlib("lines").Line2D
    for point in sorted(points, key=lambda point: point.record.is_ours):
        contestant, shape = point.record.contestant, shapes[point.record.direction]
        style = _marker(colours[contestant], shape, point.record.is_ours, min(1.0, (200 / len(points)) ** 0.25))
        axes.add_artist(line([point.x], [point.y], gid=f"point-{point.position}", clip_on=False, zorder=3, **style))


def _window(roof: _Roof, points) -> tuple[float, float, float, float]:
    """The ends of both axes: all points, the ridges, and enough of every slope to label it."""
    ridges = [roof.peak / slope for slope, _ in roof.slopes] if roof.peak else []
    xs = [point.x for point in points]
    ys = [point.y for point in points] + ([roof.peak] if roof.peak else [])
    low = min([min(xs) / 2, *(ridge / 8 for ridge in ridges)])
    return low, 2.5 * max(xs + ridges), min(min(ys) / 2, max(ys) / 20), 1.6 * max(ys)


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; over less than three of them also twice and five times each."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 3 else (1,)
    return [tick for decade in decades for factor in factors if low <= (tick := factor * 10.0**decade) <= high]


def _draw_roof(axes, roof: _Roof, window, angle) -> None:
    low, high, bottom, top = window
    for number, (slope, label) in enumerate(roof.slopes):
        start = max(low, bottom / slope)
        end = min(roof.peak / slope if roof.peak else high, high, top / slope)
        style: dict[str, Any] = {"color": _INK, "linewidth": 1.4}
        if number:
            style = {"color": _GREY, "linewidth": 0.9, "dashes": (4, 2)}
        axes.plot([start, end], [slope * start, slope * end], **style)
        text = {"fontsize": 7, "color": style["color"], "va": "bottom", "rotation": angle, "rotation_mode": "anchor"}
        _annotate(axes, 1.15 * start, 1.15 * slope * start, label, (-3, 2), **text)
    if roof.peak:
        ridge = min((roof.peak / slope for slope, _ in roof.slopes[::-1]), default=low)
        axes.plot([max(ridge, low), high], [roof.peak, roof.peak], color=_INK, linewidth=1.4)
        label = f"FMA peak: {significant(roof.peak)} GFLOP/s"
        _annotate(axes, high, roof.peak, label, ha="right", va="bottom", fontsize=7, color=_INK)


def _annotate(axes, x, y, text, offset=(0, 3), **style) -> None:
    axes.annotate(_one_line(text), (x, y), xytext=offset, textcoords="offset points", parse_math=False, **style)


def _marker(colour, shape, is_ours, scale=1.0) -> dict:
    size = scale * (6.5 if is_ours else 5)
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.5}
    return {"marker": shape, "markersize": size, "color": colour, "linestyle": "none", **edge}


def _draw_legend(sheet, left, top, colours, shapes) -> None:
    axes = sheet.axes(left, top, _LEGEND, 1)
    axes.set(xlim=(0, _LEGEND), ylim=(1, 0), xticks=[], yticks=[])
    entries: list[tuple[str, dict | None]] = [
        (name, _marker(colour, "o", name.startswith(OURS))) for name, colour in colours.items()
    ]
    entries += [("", None), *((name, _marker(_GREY, shape, True)) for name, shape in shapes.items())]
    for number, (name, style) in enumerate(entries):
        y = 0.42 + 0.19 * number
        if style:
            axes.plot([0.15], [y], clip_on=False, **style)
        axes.text(0.28, y, _elided(name, 27), fontsize=7.5, color=_INK, va="center", parse_math=False)


def _colours(run: Run) -> dict[str, str]:
    """Contestant -> colour, this package's first."""
    names = dict.fromkeys(record.contestant for record in run.records)
    ours = [name for name in names if name.startswith(OURS)]
    peers = [name for name in names if not name.startswith(OURS)]
    return {
        name: palette[number % len(palette)]
        for members, palette in ((ours, _STRONG), (peers, _MUTED))
        for number, name in enumerate(members)
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _elided(text: str, length: int) -> str:
    text = _one_line(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


@contextlib.contextmanager
def _style(settings: Mapping[str, Any] | None = None):
    """matplotlib's own defaults whatever the user has set, and these settings."""
    _matplotlib("figure")
    matplotlib = importlib.import_module("matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings or {})
        yield


def _matplotlib(module):
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError:
        raise missing_extra("matplotlib", "bench", "drawing") from None
