"""Which inputs a unit has, and which weights it shares: fully connected, locally connected, convolutional."""

from __future__ import annotations

from fastconv import parameters
from fastconv.errors import ShapeError
from fastconv.plots import canvas

_APART = 0.6


def connections(inputs: int = 8, kernel_size: int = 3, axes=None):
    """Draw as many units in each of three ways above one row of inputs; lines of one colour are one weight.

    Fully connected units see all inputs, locally connected ones windows of ``kernel_size``, both by weights of their
    own (in shades of grey, and a colour for each unit); a convolution has one colour for each tap. Returns the
    matplotlib axes. Raises ShapeError for windows that do not fit, ValueError or TypeError for other numbers.

    >>> [text.get_text() for text in connections(8, 3).texts]
    ['fully connected\\n6·8 = 48 weights', 'locally connected\\n6·3 = 18 weights', 'convolution\\n3 weights, shared']
    """
    size, kernel = parameters.positive_int("inputs", inputs), parameters.positive_int("kernel_size", kernel_size)
    units = size - kernel + 1
    if units < 1:
        raise ShapeError(f"a window of {kernel} does not fit on {size} inputs: {size} - {kernel} + 1 = {units}")
    palette = canvas.PALETTE
    windows = [(unit, unit + tap, tap) for unit in range(units) for tap in range(kernel)]
    panels = {
        f"fully connected\n{units}·{size} = {units * size} weights": [
            (unit, source, str(0.25 + 0.5 * (unit * size + source) / (units * size)))
            for unit in range(units)
            for source in range(size)
        ],
        f"locally connected\n{units}·{kernel} = {units * kernel} weights": [
            (unit, source, palette[unit % len(palette)]) for unit, source, _ in windows
        ],
        f"convolution\n{kernel} weights, shared": [
            (unit, source, palette[tap % len(palette)]) for unit, source, tap in windows
        ],
    }
    width = size + _APART
    axes = canvas.axes_or_new(axes, figsize=(0.38 * 3 * width, 2.4))
    for number, (label, lines) in enumerate(panels.items()):
        left = number * width
        for unit, source, colour in lines:
            axes.plot([left + source, left + unit + (kernel - 1) / 2], [0, 3], color=colour, linewidth=1.4, zorder=1)
        _draw_row(axes, left, size, 0, "white")
        _draw_row(axes, left + (kernel - 1) / 2, units, 3, canvas.FAINT)
        axes.text(left + (size - 1) / 2, 3.6, label, ha="center", va="bottom", fontsize=9, color=canvas.INK)
    axes.set(xlim=(-0.6, 3 * width - _APART - 0.4), ylim=(-0.5, 4.9))
    axes.set_axis_off()
    return axes


def _draw_row(axes, left: float, count: int, height: float, colour: str) -> None:
    places = [left + number for number in range(count)]
    axes.scatter(places, [height] * count, s=90, c=colour, edgecolors=canvas.INK, linewidths=0.9, zorder=2)
