"""The roofline: every timed record with FLOPs under the limits of its thread count and dtype, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastconv.bench.records import OURS, Run
from fastconv.bench.report.roof import LABEL_SIZE, Point, Roof, Slope, Window, label, neighbours, points, roof, window
from fastconv.bench.report.sheet import EDGE, Block, Sheet, note
from fastconv.bench.report.style import FAINT, GREY, INK, counted, drawing, elided, one_line, significant

_MARKERS = "o^sDvPX*"

# Inches.
_PANEL = 4.7
_LEGEND = 2.1
# Points.
_MARKER = 6.5


def blocks(run: Run, colours: Mapping[str, str]) -> list[Block]:
    """A panel per thread count and dtype, two abreast, and the legend."""
    panels = list(points(run).items())
    if not panels:
        return [note("No timed record has FLOPs to be set against a roof.")]
    across = min(len(panels), 2)
    width = (7.2 if across == 1 else 5.2) + 0.75
    directions = dict.fromkeys(point.record.direction for _, under in panels for point in under)
    shapes = {direction: _MARKERS[number % len(_MARKERS)] for number, direction in enumerate(directions)}

    def draw(sheet, top):
        for number, ((threads, dtype), under) in enumerate(panels):
            row, column = divmod(number, across)
            left, begin = 0.7 + column * width, top + 0.35 + row * _PANEL
            title = one_line(f"{counted(threads, 'thread')} · {dtype}")
            sheet.text(left, begin - 0.17, title, fontsize=9, fontweight="bold")
            view = window(above := roof(run, threads, dtype, under), under, width - 0.75, _PANEL - 1.0)
            axes = _axes(sheet, left, begin, view)
            _draw_roof(axes, above, under, view)
            _draw_points(axes, under, colours, shapes)
        _draw_legend(sheet, across * width, top, colours, shapes)

    height = max(math.ceil(len(panels) / across) * _PANEL, 0.19 * (len(colours) + len(shapes)) + 1)
    return [Block(across * width + _LEGEND + EDGE, height, draw)]


def _axes(sheet: Sheet, left, top, view: Window):
    axes = sheet.axes(left, top, view.width, view.height)
    axes.set(xscale="log", yscale="log", xlim=(view.low, view.high), ylim=(view.bottom, view.top))
    for axis, ends in ((axes.xaxis, (view.low, view.high)), (axes.yaxis, (view.bottom, view.top))):
        axis.set_ticks(ticks := _log_ticks(*ends), [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("FLOP per compulsory byte", fontsize=7.5, color=GREY)
    axes.set_ylabel("GFLOP/s", fontsize=7.5, color=GREY)
    return axes


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; over less than three of them also twice and five times each."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 3 else (1,)
    return [tick for decade in decades for factor in factors if low <= (tick := factor * 10.0**decade) <= high]


def _draw_roof(axes, above: Roof, under: Sequence[Point], view: Window) -> None:
    for slope in above.slopes:
        end = min(above.peak / slope.speed if above.peak else view.high, view.high, view.top / slope.speed)
        style: dict[str, Any] = {"color": INK, "linewidth": 1.4}
        if slope != above.slopes[0]:
            style = {"color": GREY, "linewidth": 0.9, "dashes": (4, 2)}
        axes.plot([view.low, end], [slope.speed * view.low, slope.speed * end], **style)
    for group in neighbours(above, view):
        _label_slopes(axes, group, INK if group[-1] == above.slopes[0] else GREY, view)
    for peak in above.peaks:
        corner = min(above.ridges, default=view.low)
        axes.plot([corner, view.high], [peak, peak], color=INK, linewidth=1.4)
        text, height = f"FMA peak: {significant(peak)} GFLOP/s", max([peak, *(point.y for point in under)])
        _annotate(axes, view.high, height, text, (0, _MARKER / 2 + 2), ha="right", color=INK)


def _label_slopes(axes, group: Sequence[Slope], colour, view: Window) -> None:
    """One label above the fastest of some slopes, along it."""
    sine, cosine, across = math.sin(view.angle), math.cos(view.angle), 2
    along = 4 + (across + LABEL_SIZE) * sine / cosine
    offset = (along * cosine - across * sine, along * sine + across * cosine)
    style = {"color": colour, "rotation": math.degrees(view.angle), "rotation_mode": "anchor"}
    _annotate(axes, view.low, group[-1].speed * view.low, label(group), offset, **style)


def _annotate(axes, x, y, text, offset, **style) -> None:
    style |= {"xytext": offset, "textcoords": "offset points", "parse_math": False}
    axes.annotate(one_line(text), (x, y), va="bottom", fontsize=LABEL_SIZE, **style)


def _draw_points(axes, under: Sequence[Point], colours, shapes) -> None:
    line = drawing("lines").Line2D
    for point in sorted(under, key=lambda point: point.record.is_ours):
        contestant, shape = point.record.contestant, shapes[point.record.direction]
        style = _marker(colours[contestant], shape, point.record.is_ours, min(1.0, (200 / len(under)) ** 0.25))
        axes.add_artist(line([point.x], [point.y], gid=f"point-{point.position}", clip_on=False, zorder=3, **style))


def _marker(colour, shape, is_ours, scale=1.0) -> dict:
    size = scale * (_MARKER if is_ours else 5)
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.5}
    return {"marker": shape, "markersize": size, "color": colour, "linestyle": "none", **edge}


def _draw_legend(sheet: Sheet, left, top, colours, shapes) -> None:
    axes = sheet.axes(left, top, _LEGEND, 1)
    axes.set(xlim=(0, _LEGEND), ylim=(1, 0), xticks=[], yticks=[])
    entries: list[tuple[str, dict | None]] = [
        (name, _marker(colour, "o", name.startswith(OURS))) for name, colour in colours.items()
    ]
    entries += [("", None), *((name, _marker(GREY, shape, True)) for name, shape in shapes.items())]
    for number, (name, style) in enumerate(entries):
        y = 0.42 + 0.19 * number
        if style:
            axes.plot([0.15], [y], clip_on=False, **style)
        axes.text(0.28, y, elided(name, 27), fontsize=7.5, color=INK, va="center", parse_math=False)
