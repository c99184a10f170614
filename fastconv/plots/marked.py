"""An image with boxes around what was found on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastconv.plots import canvas, panels


class Box(NamedTuple):
    """A rectangle on an image: its upper left pixel, its size, what is written on it, its colour, its line."""

    top: float
    left: float
    height: float
    width: float
    label: str = ""
    colour: str = canvas.GREEN
    line: str = "-"


def marked(image, boxes: Sequence[Box], axes=None, *, title: str = ""):
    """Draw an image, (H, W) or (H, W, 3), with boxes around what was found on it. Returns the matplotlib axes."""
    axes = panels.side_by_side([np.shape(image)])[0] if axes is None else axes
    patches = canvas.matplotlib("patches")
    axes.imshow(image, cmap="gray", interpolation="nearest")
    for box in boxes:
        corner = box.left - 0.5, box.top - 0.5
        style = {"edgecolor": box.colour, "linestyle": box.line, "linewidth": 1.4, "fill": False}
        axes.add_patch(patches.Rectangle(corner, box.width, box.height, **style))
        if box.label:
            canvas.note(axes, box.label, corner, (2, 3), box.colour)
    axes.set_title(title)
    return axes
