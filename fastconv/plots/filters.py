"""Filters as a grid."""

from __future__ import annotations

import numpy as np

from fastconv.errors import ShapeError
from fastconv.plots import canvas, tiles


def filters(weight, axes=None, *, title: str = "filters"):
    """Draw the filters of a first layer as a grid, (K, C, kH, kW); three channels in colour, else their mean.

    Every filter is scaled to its own range. Returns the matplotlib axes. Raises ShapeError.

    >>> from fastconv import models
    >>> axes = filters(models.alexnet().features[0].weight.numpy(), title="AlexNet, freshly drawn")
    >>> axes.get_title()
    'AlexNet, freshly drawn'
    """
    weight = np.asarray(weight, dtype=np.float64)
    if weight.ndim != 4 or not weight.size:
        raise ShapeError(f"filters have a shape (K, C, kH, kW), got {weight.shape}")
    axes = canvas.axes_or_new(axes)
    in_colour = weight.shape[1] == 3
    images = weight.transpose(0, 2, 3, 1) if in_colour else weight.mean(axis=1)[..., None].repeat(3, axis=3)
    axes.imshow(tiles.tiled(tiles.scaled(images)), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title)
    return axes
