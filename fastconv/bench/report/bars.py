"""Panels of bars: a row per contestant under the name of its group, a column per direction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fastconv.bench.records import OURS
from fastconv.bench.report.measures import Measure
from fastconv.bench.report.sheet import EDGE, Block, Sheet
from fastconv.bench.report.style import FAINT, GREY, INK, RED, drawing, elided, one_line

# Inches.
_NAMES = 1.75
_LINE = 0.168
_GAP = 0.25
_CHARACTER = 0.069
_COLUMN_WIDTHS = {1: 7.0, 2: 5.0}
_COLUMN_WIDTH = 3.5

_GROUPS_PER_PANEL = 12


class Bar(NamedTuple):
    """One contestant in one group and column; without a length there is a label alone."""

    group: str
    contestant: str
    column: str
    text: str
    length: float | None = None
    is_loss: bool = False
    is_wrong: bool = False
    key: str = ""


def grid(panels: Mapping[str, Sequence[Bar]], measure: Measure, colours: Mapping[str, str]) -> list[Block]:
    """One panel per title, or several where it has many groups; all with the same scale."""
    everything = [bar for bars in panels.values() for bar in bars]
    columns = list(dict.fromkeys(bar.column for bar in everything))
    width = _COLUMN_WIDTHS.get(len(columns), _COLUMN_WIDTH)
    label = max(len(bar.text) for bar in everything) * _CHARACTER
    scale = _Scale(measure, columns, width, width - min(label, 0.7 * width), _limit(everything, measure), colours)
    return [_panel(title, part, scale) for name, bars in panels.items() for title, part in _parts(name, bars)]


class _Scale(NamedTuple):
    """What the panels of one figure share."""

    measure: Measure
    columns: list[str]
    width: float
    bars: float
    limit: float
    colours: Mapping[str, str]

    @property
    def total(self) -> float:
        """Inches of all columns, the contestants' names and the edges."""
        return _NAMES + len(self.columns) * (self.width + _GAP) + EDGE


def _limit(bars, measure: Measure) -> float:
    """The end of the axis: 100 % unless a bar is longer or all are far from it."""
    longest = max((bar.length for bar in bars if bar.length is not None), default=0.0) or 1.0
    return max(longest, measure.full) if measure.full is not None and longest > 0.4 * measure.full else longest


def _parts(name, bars: Sequence[Bar]) -> Iterator[tuple[str, list[Bar]]]:
    """Few enough groups per panel that its headings stay in sight."""
    groups = list(dict.fromkeys(bar.group for bar in bars))
    count = math.ceil(len(groups) / _GROUPS_PER_PANEL)
    size = math.ceil(len(groups) / count)
    for part in range(count):
        members = set(groups[part * size : (part + 1) * size])
        title = f"{name}   ({part + 1} of {count})" if count > 1 else name
        yield title, [bar for bar in bars if bar.group in members]


class _Lines(NamedTuple):
    """Where the names of groups and the rows of their contestants lie, counted in lines, and how many there are."""

    groups: dict[str, float]
    rows: dict[tuple[str, str], float]
    total: float


def _lines(bars: Sequence[Bar], colours) -> _Lines:
    groups: dict[str, float] = {}
    rows: dict[tuple[str, str], float] = {}
    count = 0.0
    for group in dict.fromkeys(bar.group for bar in bars):
        groups[group] = count + 0.85
        count += 1.5
        members = {bar.contestant for bar in bars if bar.group == group}
        for contestant in (name for name in colours if name in members):
            rows[group, contestant] = count + 0.5
            count += 1
        count += 0.35
    return _Lines(groups, rows, count)


def _panel(title, bars: list[Bar], scale: _Scale) -> Block:
    lines = _lines(bars, scale.colours)
    head = 0.55 if title else 0.3

    def draw(sheet, top):
        sheet.text(EDGE, top + 0.15, title, fontsize=9, fontweight="bold")
        body = top + head
        _draw_names(sheet, body, lines, scale)
        for number, column in enumerate(scale.columns):
            left = _NAMES + number * (scale.width + _GAP)
            axes = sheet.axes(left, body, scale.bars, lines.total * _LINE)
            sheet.text(left, body - 0.15, one_line(column), fontsize=8.5, fontweight="bold")
            _draw_bars(axes, [bar for bar in bars if bar.column == column], lines, scale)

    return Block(scale.total, head + lines.total * _LINE + 0.55, draw)


def _draw_names(sheet: Sheet, body, lines: _Lines, scale: _Scale) -> None:
    for group, line in lines.groups.items():
        sheet.rule(EDGE, scale.total - EDGE, body + (line - 0.75) * _LINE)
        sheet.text(EDGE, body + line * _LINE, elided(group, int(scale.total / 0.08)), fontsize=8.5, fontweight="bold")
    for (_, contestant), line in lines.rows.items():
        colour = INK if contestant.startswith(OURS) else GREY
        sheet.text(_NAMES - 0.08, body + line * _LINE, elided(contestant, 24), ha="right", color=colour)


def _draw_bars(axes, bars, lines: _Lines, scale: _Scale) -> None:
    axes.set(xlim=(0, scale.limit), ylim=(lines.total, 0), yticks=[])
    _draw_scale(axes, scale)
    rectangle = drawing("patches").Rectangle
    for bar in bars:
        line = lines.rows[bar.group, bar.contestant]
        if bar.length is not None:
            edge = {"edgecolor": RED, "linewidth": 1.2} if bar.is_loss else {"linewidth": 0}
            style = {"facecolor": scale.colours[bar.contestant], "clip_on": False, "gid": f"bar-{bar.key}", **edge}
            axes.add_artist(rectangle((0, line - 0.39), bar.length, 0.78, **style))
        _draw_label(axes, bar, line, scale)


def _draw_label(axes, bar: Bar, line, scale: _Scale) -> None:
    options: dict[str, Any] = {"color": INK}
    if bar.is_wrong:
        pill = {"boxstyle": "round,pad=0.2", "facecolor": RED, "edgecolor": "none"}
        options = {"color": "white", "fontweight": "bold", "bbox": pill}
    elif bar.is_loss:
        options = {"color": RED, "fontweight": "bold"}
    elif bar.length is None:
        options = {"color": GREY, "fontstyle": "italic"}
    x = (1 + 0.08 / scale.bars) * scale.limit
    axes.text(x, line, bar.text, fontsize=7.5, va="center", parse_math=False, gid=f"label-{bar.key}", **options)


def _draw_scale(axes, scale: _Scale) -> None:
    locator = drawing("ticker").MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
    ticks = [tick for tick in locator.tick_values(0, scale.limit) if tick <= scale.limit]
    percents = scale.measure.title.startswith("%")
    axes.set_xticks(ticks, [f"{100 * tick if percents else tick:.4g}" for tick in ticks])
    axes.grid(axis="x", color=FAINT, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.axvline(0, color=GREY, linewidth=0.8)
    if scale.measure.full is not None and scale.measure.full <= scale.limit:
        axes.axvline(scale.measure.full, color=GREY, linewidth=1.0, zorder=0.9)
    axes.set_xlabel(scale.measure.title, fontsize=7, color=GREY, loc="left", labelpad=2)
