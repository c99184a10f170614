"""The responses at all positions of an image, in colours from dark to light."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv.plots import canvas, panels


def heat_map(response, peaks: Sequence[tuple[float, float]] = (), axes=None, *, title: str = "", limits=(None, None)):
    """Draw a response map (H, W) with its scale, and a numbered ring at each of its peaks, (row, column).

    ``limits`` are the responses at both ends of the scale. Returns the matplotlib axes.
    """
    axes = panels.side_by_side([np.shape(response)])[0] if axes is None else axes
    drawn = axes.imshow(response, cmap="magma", interpolation="nearest", vmin=limits[0], vmax=limits[1])
    axes.figure.colorbar(drawn, cax=axes.inset_axes([1.02, 0, 0.03, 1]))
    ring = {"markersize": 9, "markerfacecolor": "none", "markeredgecolor": canvas.SKY, "markeredgewidth": 2}
    for number, (row, column) in enumerate(peaks, 1):
        axes.plot(column, row, "o", **ring)
        canvas.note(axes, str(number), (column, row), (7, 5), canvas.BLUE)
    axes.set_title(title)
    return axes
