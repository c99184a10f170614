"""What all pictures share: matplotlib, loaded when it is used, the axes that are drawn on, and the colours."""

from __future__ import annotations

import importlib
import os

from fastconv.errors import missing_extra

INK, GREY, FAINT = "#1c2733", "#67727e", "#d9dee3"
# Told apart by everybody, whatever colours they see (M. Okabe and K. Ito).
BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7"
PALETTE = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)


def axes_or_new(axes, **settings):
    """The axes that were given, or new ones on a figure with these settings (``figsize`` and so on)."""
    return matplotlib("pyplot").subplots(layout="constrained", **settings)[1] if axes is None else axes


def save(axes, path: str | os.PathLike, dpi: int = 150) -> None:
    """Write the figure of axes to a file, and forget it."""
    axes.figure.savefig(path, dpi=dpi)
    matplotlib("pyplot").close(axes.figure)


def note(axes, text: str, place, offset, colour: str) -> None:
    """A few letters beside a place, so many points away, readable on whatever lies there."""
    plate = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1}
    axes.annotate(text, place, offset, textcoords="offset points", fontsize=8, color=colour, bbox=plate)


def label_plainly(axis) -> None:
    """Ticks of a logarithmic axis without exponents: at 1, 2 and 5 of each power of ten, or more where it is short."""
    ticker = matplotlib("ticker")
    low, high = axis.get_view_interval()
    is_short = high < 5 * low
    axis.set_major_locator(ticker.MaxNLocator(5) if is_short else ticker.LogLocator(subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def matplotlib(module: str):
    """A module of matplotlib; raises ImportError with the pip line where it is missing."""
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError:
        raise missing_extra("matplotlib", "plot", "drawing") from None
