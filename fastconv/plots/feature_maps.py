"""What the layers of a network make of an image, as rows of maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fastconv.activations import activations
from fastconv.errors import ShapeError
from fastconv.plots import canvas, tiles

# Of a deep network so many layers, from the first to the last, show what happens.
_ROWS = 8
_GAP = 0.06


def feature_maps(model, image, axes=None, *, layers: Sequence[str] | None = None, maps: int = 12):
    """Draw the image, and below it a row for each layer with its first ``maps`` maps, each in its own resolution.

    ``image`` is (C, H, W), as the model takes it. ``layers`` names those to show, by default all that give maps, or
    eight of them. Every map is scaled to its own range, dark to bright; one that is the same everywhere is grey.
    Returns the matplotlib axes. Raises ValueError for a name that gives no maps.

    >>> from fastconv import models
    >>> axes = feature_maps(models.lenet5(), np.eye(28, dtype=np.float32)[None], layers=["conv1", "pool1"])
    >>> [label.get_text() for label in axes.get_yticklabels()]
    ['image\\n28×28', 'conv1\\n6 of 28×28', 'pool1\\n6 of 14×14']
    """
    image = np.asarray(image)
    found = activations(model, image)
    chosen = _chosen(found, layers)
    width = max(min(maps, len(found[name])) for name in chosen)
    axes = canvas.axes_or_new(axes, figsize=(1.6 + 0.75 * width, 0.6 + 0.78 * (len(chosen) + 1)))
    _draw(axes, tiles.displayed(image)[None], 0)
    is_flat = [np.ptp(part) == 0 for name in chosen for part in found[name][:maps]]
    labels = [f"image\n{image.shape[1]}×{image.shape[2]}"]
    for row, name in enumerate(chosen, 1):
        K, height, wide = found[name].shape
        _draw(axes, found[name][:maps], row)
        shown = f"{maps} of {K}, {height}×{wide}" if maps < K else f"{K} of {height}×{wide}"
        labels.append(f"{name}\n{shown}")
    axes.set_yticks([row + 0.5 for row in range(len(labels))], labels, fontsize=8)
    axes.set(xlim=(0, width), ylim=(len(labels), 0), xticks=[], aspect="equal")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    title = "feature maps" + (", grey where all values are the same" if any(is_flat) else "")
    axes.set_title(title, wrap=True)
    return axes


def _chosen(found: dict[str, np.ndarray], layers: Sequence[str] | None) -> list[str]:
    with_maps = [name for name, result in found.items() if result.ndim == 3 and result.shape[1:] != (1, 1)]
    if layers is None:
        if not with_maps:
            raise ShapeError("no layer of the model gives maps")
        # A dropout, or a module that hands on what one below it gives, shows nothing new.
        pairs = pairwise(["", *with_maps])
        with_maps = [name for before, name in pairs if not (before and np.array_equal(found[before], found[name]))]
        steps = np.linspace(0, len(with_maps) - 1, min(_ROWS, len(with_maps)))
        return [with_maps[round(step)] for step in steps]
    for name in layers:
        if name not in with_maps:
            raise ValueError(f"no layer {name!r} that gives maps; there are {', '.join(with_maps) or 'none'}")
    if not layers:
        raise ValueError("layers must not be empty")
    return list(layers)


def _draw(axes, pictures, row: int) -> None:
    for column, picture in enumerate(pictures):
        extent = (column + _GAP, column + 1 - _GAP, row + 1 - _GAP, row + _GAP)
        low, high = picture.min(), picture.max()
        if picture.ndim == 2 and low == high:
            picture = np.full((*picture.shape, 3), 0.75)
        axes.imshow(picture, extent=extent, cmap="viridis", interpolation="nearest")
