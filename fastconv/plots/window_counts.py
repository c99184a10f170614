"""How many windows read each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import parameters
from fastconv.geometry import Axis, Conv2dGeometry
from fastconv.plots import canvas

_GAP = 0.8
# A number is written on every pixel of planes up to this size.
_NUMBERED = 16


def window_counts(size, kernel_size, axes=None, *, stride=1, paddings: Sequence = (0, 1)):
    """Draw planes of ``size`` as heat maps of how many windows read each pixel, once for each padding.

    ``size``, ``kernel_size`` and ``stride`` are an int or a pair, a padding what ``conv2d`` takes. All maps have one
    scale. Returns the matplotlib axes. Raises what ``conv2d`` raises for them, ValueError without a padding.

    >>> axes = window_counts(5, 3, paddings=[0, 1])
    >>> [text.get_text() for text in axes.texts if "padding" in text.get_text()]
    ['padding 0: 3×3 windows', 'padding 1: 5×5 windows']
    >>> [text.get_text() for text in axes.texts[:5]]
    ['1', '2', '3', '2', '1']
    """
    if not len(paddings):
        raise ValueError("there must be at least one padding to draw")
    height, width = (size, size) if isinstance(size, int) else size
    shapes = (1, 1, height, width), (1, 1, *parameters.kernel_size(kernel_size))
    counts, titles = [], []
    for padding in paddings:
        geometry = Conv2dGeometry.of(*shapes, stride=stride, padding=padding)
        counts.append(np.outer(_reads(geometry.rows), _reads(geometry.cols)))
        titles.append(f"padding {padding}: {geometry.rows.out}×{geometry.cols.out} windows")
    across = len(paddings) * (width + _GAP) - _GAP
    axes = canvas.axes_or_new(axes, figsize=(1 + 3.2 * len(paddings), 0.8 + 3.2 * height / width))
    for number, (plane, title) in enumerate(zip(counts, titles, strict=True)):
        left = number * (width + _GAP)
        drawn = _draw(axes, plane, left, int(np.max(counts)))
        axes.text(left + width / 2, -0.02 * height, title, ha="center", va="bottom", fontsize=10, color=canvas.INK)
    axes.set(xlim=(0, across), ylim=(height, -0.12 * height), aspect="equal")
    axes.set_axis_off()
    axes.figure.colorbar(drawn, ax=axes, label="windows that read the pixel", shrink=0.8)
    return axes


def _reads(axis: Axis) -> np.ndarray:
    """How many windows have each position of an axis."""
    positions = axis.position(np.arange(axis.out)[:, None], np.arange(axis.kernel))
    return np.bincount(positions[(positions >= 0) & (positions < axis.size)], minlength=axis.size)


def _draw(axes, counts: np.ndarray, left: float, most: int):
    height, width = counts.shape
    extent = (left, left + width, height, 0)
    drawn = axes.imshow(counts, extent=extent, cmap="viridis", vmin=0, vmax=most, interpolation="nearest")
    if max(height, width) <= _NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if count < 0.6 * most else canvas.INK
            place = left + column + 0.5, row + 0.5
            axes.text(*place, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    return drawn
