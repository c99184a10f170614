"""Pictures: learned filters and training curves. Needs matplotlib (``pip install 'fastconv[plot]'``)."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np

from fastconv.errors import missing_extra

_LINE_COLOUR = (0.27, 0.51, 0.71)


def filters(weight, axes=None, *, title: str = "filters"):
    """Draw the filters of a first layer as a grid, (K, C, kH, kW); three channels in colour, else their mean.

    Every filter is scaled to its own range. Returns the matplotlib axes.
    """
    weight = np.asarray(weight, dtype=np.float64)
    axes = _axes(axes)
    in_colour = weight.shape[1] == 3
    images = weight.transpose(0, 2, 3, 1) if in_colour else weight.mean(axis=1)[..., None].repeat(3, axis=3)
    low, high = (extreme(images, axis=(1, 2, 3), keepdims=True) for extreme in (np.min, np.max))
    scaled = (images - low) / np.maximum(high - low, 1e-12)
    axes.imshow(_tiled(scaled), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title)
    return axes


def curve(values, axes=None, *, title: str, xlabel: str = "epoch", **series):
    """Draw one line per series over its positions 1, 2, ...; ``values`` is the first, unnamed one."""
    axes = _axes(axes)
    for label, line in ({title: values} | series).items():
        axes.plot(np.arange(1, len(line) + 1), line, label=label, marker="." if len(line) < 40 else None)
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    axes.grid(alpha=0.3)
    if series:
        axes.legend()
    return axes


def training_summary(weight, losses, accuracies, path) -> Path:
    """Save one PNG: learned filters on the left, the loss and the test accuracy over the epochs on the right."""
    figure = _matplotlib("figure").Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    filters(weight, left, title="learned filters of the first layer")
    curve(losses, middle, title="training loss")
    middle.set_yscale("log")
    curve(np.multiply(accuracies, 100), right, title="test accuracy in %")
    figure.savefig(path, dpi=120)
    return Path(path)


def _tiled(images):
    """(K, h, w, 3) -> one picture, nearly square, with lines between the tiles that no grey hides."""
    K, height, width, _ = images.shape
    across = math.ceil(math.sqrt(K))
    down = math.ceil(K / across)
    picture = np.tile(_LINE_COLOUR, (down * (height + 1) + 1, across * (width + 1) + 1, 1))
    for index, image in enumerate(images):
        top, left = 1 + index // across * (height + 1), 1 + index % across * (width + 1)
        picture[top : top + height, left : left + width] = image
    return picture


def _axes(axes):
    return _matplotlib("pyplot").subplots(layout="constrained")[1] if axes is None else axes


def _matplotlib(module):
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError:
        raise missing_extra("matplotlib", "plot", "drawing") from None
