"""Filters as a grid."""

from __future__ import annotations

import numpy as np

from fastconv.plots import canvas, tiles


def filters(weight, axes=None, *, title: str = "filters"):
    """Draw the filters of a first layer as a grid, (K, C, kH, kW); three channels in colour, else their mean.

    Every filter is scaled to its own range. Returns the matplotlib axes.
    """
    weight = np.asarray(weight, dtype=np.float64)
    axes = canvas.axes_or_new(axes)
    in_colour = weight.shape[1] == 3
    images = weight.transpose(0, 2, 3, 1) if in_colour else weight.mean(axis=1)[..., None].repeat(3, axis=3)
    axes.imshow(tiles.tiled(tiles.scaled(images)), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title)
    return axes
