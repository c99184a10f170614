"""Pictures of what was found: boxes on an image, and the map of the responses with its peaks."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastconv.errors import missing_extra

# Told apart by everybody, whatever colours they see (M. Okabe and K. Ito).
RIGHT, WRONG, MISSED = "#009e73", "#d55e00", "#0072b2"
# Inches of a picture's longer side, and of an image pixel where that is enough.
_LONGEST, _PIXEL = 12.0, 0.06


class Box(NamedTuple):
    """A rectangle on an image: its upper left corner, its size, what is written on it, its colour, its line."""

    top: float
    left: float
    height: float
    width: float
    label: str = ""
    colour: str = RIGHT
    line: str = "-"


def marked(image, boxes: Sequence[Box], axes=None, *, title: str = ""):
    """Draw an image, (H, W) or (H, W, 3), with boxes around what was found on it. Returns the matplotlib axes."""
    axes = _panels([np.shape(image)[:2]])[0] if axes is None else axes
    patches = _matplotlib("patches")
    axes.imshow(image, cmap="gray", interpolation="nearest")
    for box in boxes:
        corner = box.left - 0.5, box.top - 0.5
        style = {"edgecolor": box.colour, "linestyle": box.line, "linewidth": 1.4, "fill": False}
        axes.add_patch(patches.Rectangle(corner, box.width, box.height, **style))
        if box.label:
            axes.annotate(box.label, corner, (1, 1), textcoords="offset points", fontsize=9, color=box.colour)
    axes.set_title(title)
    return axes


def heat_map(response, peaks: Sequence[tuple[float, float]] = (), axes=None, *, title: str = "", limits=(None, None)):
    """Draw a response map (H, W) with its scale, and a numbered ring at each of its peaks, (row, column).

    ``limits`` are the responses at both ends of the scale. Returns the matplotlib axes.
    """
    axes = _panels([np.shape(response)])[0] if axes is None else axes
    drawn = axes.imshow(response, cmap="magma", interpolation="nearest", vmin=limits[0], vmax=limits[1])
    axes.figure.colorbar(drawn, cax=axes.inset_axes([1.02, 0, 0.03, 1]))
    for number, (row, column) in enumerate(peaks, 1):
        axes.plot(column, row, "o", markersize=8, markerfacecolor="none", markeredgecolor="white", markeredgewidth=1.2)
        axes.annotate(str(number), (column, row), (5, 3), textcoords="offset points", fontsize=8, color="white")
    axes.set_title(title)
    return axes


def beside(shapes: Sequence[tuple[int, int]]):
    """Axes for pictures of these shapes, (H, W), beside or, where they are wide, below one another."""
    return _panels(shapes)


def save(axes, path) -> None:
    """Write the figure of axes to a file."""
    axes.figure.savefig(path, dpi=120)


def _panels(shapes):
    height, width = np.max(shapes, axis=0)
    is_wide = width > height
    size = np.array([width, height]) * min(_PIXEL, _LONGEST / max(height, width)) + 0.8
    size = np.maximum(size, 3.5) * ((1, len(shapes)) if is_wide else (len(shapes), 1))
    figure = _matplotlib("figure").Figure(figsize=tuple(size), layout="constrained")
    grid = (len(shapes), 1) if is_wide else (1, len(shapes))
    return list(figure.subplots(*grid, squeeze=False).flat)


def _matplotlib(module: str):
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError:
        raise missing_extra("matplotlib", "plot", "drawing") from None
