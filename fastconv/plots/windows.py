"""How a filter of one dimension slides: which inputs lie under which output, for one stride or several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import functional
from fastconv.errors import ShapeError
from fastconv.geometry import Conv2dGeometry
from fastconv.plots import canvas

_APART, _RISE, _CELL = 1.6, 2.4, 0.84


def windows(values, weight, axes=None, *, strides: Sequence[int] = (1, 2), padding: int = 0):
    """Draw a row of values with padding, and above it what a filter makes of it, once for each stride.

    ``values`` (W,) and ``weight`` (kW,) are numbers; every output has lines of one colour to its window. Zeros of the
    padding are dashed, and what no window reads is pale. Returns the matplotlib axes. Raises ShapeError where the
    filter does not fit, ValueError for other bad settings.

    >>> axes = windows([1, 2, -1, 1, -3], [1, 0, -1], padding=1)
    >>> [text.get_text() for text in axes.texts if "=" in text.get_text()]
    ['stride 1: (5 − 3 + 2·1)/1 + 1 = 5', 'stride 2: (5 − 3 + 2·1)/2 + 1 = 3']
    """
    values, weight = np.asarray(values, np.float64), np.asarray(weight, np.float64)
    if values.ndim != 1 or weight.ndim != 1:
        raise ShapeError(f"values and weight must be rows of numbers, got shapes {values.shape} and {weight.shape}")
    if not strides:
        raise ValueError("there must be at least one stride to draw")
    shapes = (1, 1, 1, len(values)), (1, 1, 1, len(weight))
    columns = [Conv2dGeometry.of(*shapes, stride=stride, padding=(0, padding)).cols for stride in strides]
    width = columns[0].padded + _APART
    axes = canvas.axes_or_new(axes, figsize=(0.5 * (len(strides) * width + len(weight)) + 0.4, 2.5))
    padded = np.pad(values, padding)
    for number, axis in enumerate(columns):
        outputs = functional.conv2d(
            values.reshape(shapes[0]), weight.reshape(shapes[1]), stride=axis.stride, padding=(0, padding)
        ).ravel()
        _draw_panel(axes, number * width, axis, padded, outputs)
    _draw_filter(axes, len(strides) * width, weight)
    axes.set(xlim=(-0.6, len(strides) * width + len(weight) - 0.4), ylim=(-1.3, _RISE + 0.8), aspect="equal")
    axes.set_axis_off()
    return axes


def _draw_panel(axes, left: float, axis, padded: np.ndarray, outputs: np.ndarray) -> None:
    reached = {axis.position(output, tap) for output in range(axis.out) for tap in range(axis.kernel)}
    for place, value in enumerate(padded):
        position = place - axis.low
        is_padding = not 0 <= position < axis.size
        colour = canvas.INK if position in reached else "#b5bcc3"
        _draw_cell(axes, left + place, 0, value, colour, linestyle="--" if is_padding else "-")
    for output, value in enumerate(outputs):
        colour = canvas.PALETTE[output % len(canvas.PALETTE)]
        taps = [left + axis.low + axis.position(output, tap) for tap in range(axis.kernel)]
        middle = (taps[0] + taps[-1]) / 2
        for tap in taps:
            axes.plot([tap, middle], [_CELL / 2, _RISE - _CELL / 2], color=colour, linewidth=1.3, zorder=0)
        _draw_cell(axes, middle, _RISE, value, canvas.INK, edgecolor=colour)
    exact = (axis.padded - axis.kernel) / axis.stride + 1
    rounded = f"{exact:g}" if exact == axis.out else f"{exact:.3g}, so {axis.out}"
    arithmetic = f"({axis.size} − {axis.kernel} + 2·{axis.low})/{axis.stride} + 1 = {rounded}"
    label = f"stride {axis.stride}: {arithmetic}"
    axes.text(left + (axis.padded - 1) / 2, -0.75, label, ha="center", va="top", fontsize=8.5, color=canvas.INK)


def _draw_filter(axes, left: float, weight: np.ndarray) -> None:
    for place, value in enumerate(weight):
        _draw_cell(axes, left + place, _RISE, value, canvas.INK, facecolor=canvas.FAINT)
    axes.text(left + (len(weight) - 1) / 2, _RISE - 0.6, "filter", ha="center", va="top", fontsize=9, color=canvas.INK)


def _draw_cell(axes, x: float, y: float, value: float, colour: str, **style) -> None:
    """A square around a number, both in the colour unless the style says otherwise."""
    settings = {"facecolor": "white", "edgecolor": colour, "linewidth": 1.4} | style
    square = canvas.matplotlib("patches").Rectangle((x - _CELL / 2, y - _CELL / 2), _CELL, _CELL, **settings)
    axes.add_patch(square)
    number = f"{value:.3g}".replace("-", "−")
    axes.text(x, y, number, ha="center", va="center", fontsize=10, color=colour)
