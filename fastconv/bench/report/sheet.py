"""Figures laid out in inches, top to bottom, so that they grow with what they show and stay legible."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastconv.bench.report.style import FAINT, GREY, INK, drawing, plain

# Inches.
EDGE = 0.15


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure addressed in inches from its top left corner."""

    figure: Any
    width: float
    height: float

    def axes(self, left: float, top: float, width: float, height: float):
        """Empty axes without a frame."""
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box, facecolor="none")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=7, labelcolor=GREY, pad=2)
        return axes

    def text(self, left: float, top: float, text: str, **options) -> None:
        """One line of text, never taken for mathematics."""
        options = {"fontsize": 7.5, "color": INK, "va": "center", "parse_math": False} | options
        self.figure.text(left / self.width, 1 - top / self.height, text, **options)

    def rule(self, left: float, right: float, top: float) -> None:
        """A thin horizontal line."""
        xs, y = (left / self.width, right / self.width), 1 - top / self.height
        style = {"color": FAINT, "linewidth": 0.8, "transform": self.figure.transFigure}
        line = drawing("lines").Line2D(xs, (y, y), **style)
        self.figure.add_artist(line)


class Block(NamedTuple):
    """A part of a figure: its size in inches, and how to draw it at a distance from the top."""

    width: float
    height: float
    draw: Callable[[Sheet, float], None]


def figure(blocks: Iterable[Block]):
    """The blocks below one another."""
    with plain():
        blocks = list(blocks)
        width, height = max(block.width for block in blocks), sum(block.height for block in blocks) + 2 * EDGE
        made = drawing("figure").Figure(figsize=(width, height), facecolor="white")
        top = EDGE
        for block in blocks:
            block.draw(Sheet(made, width, height), top)
            top += block.height
    return made


def note(text: str) -> Block:
    """A line that says why there is nothing to be seen."""
    return Block(8.0, 0.5, lambda sheet, top: sheet.text(EDGE, top + 0.25, text, color=GREY, fontsize=9))


def heading(text: str, width: float, size: float = 11) -> Block:
    """A line above other blocks."""
    style = {"fontsize": size, "fontweight": "bold"}
    return Block(width, 0.45, lambda sheet, top: sheet.text(EDGE, top + 0.2, text, **style))
