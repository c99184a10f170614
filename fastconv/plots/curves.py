"""The loss and the accuracy of training runs, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastconv.plots import canvas


def curves(histories, axes=None):
    """Draw losses (left, on a logarithmic scale) and accuracies (right) while training, dashed, and on validation data.

    ``histories`` is what ``fit`` returns, or several by name. ``axes`` are two, or None for new ones; returns both.
    Raises ValueError where there is no epoch.

    >>> from fastconv.training import Epoch, History
    >>> history = History([Epoch(1, 2.1, 0.3, 1e-3, 1.5, 0.6, 1.0), Epoch(2, 1.2, 0.7, 1e-3, 0.9, 0.8, 1.0)])
    >>> left, right = curves(history)
    >>> [line.get_label() for line in right.lines], right.lines[1].get_ydata().tolist()
    (['training', 'validation'], [60.0, 80.0])
    """
    named = histories if isinstance(histories, Mapping) else {"": histories}
    if not named or not all(map(len, named.values())):
        raise ValueError("there must be at least one epoch to draw")
    left, right = canvas.axes_or_new(axes, ncols=2, figsize=(10, 4))
    for number, (name, history) in enumerate(named.items()):
        own = canvas.PALETTE[number % len(canvas.PALETTE)]
        colours = (own, own if len(named) > 1 else canvas.ORANGE)
        _draw(left, name, colours, history.loss, history.validation_loss)
        _draw(right, name, colours, *(_percents(part) for part in (history.accuracy, history.validation_accuracy)))
    left.set(title="loss", yscale="log")
    right.set(title="accuracy in %")
    canvas.label_plainly(left.yaxis)
    for panel in (left, right):
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(canvas.matplotlib("ticker").MaxNLocator(integer=True))
        panel.grid(color=canvas.FAINT, which="both")
    right.legend()
    return left, right


def _draw(panel, name: str, colours, training, validation) -> None:
    for label, values, colour, style in (
        ("training", training, colours[0], "--"),
        ("validation", validation, colours[1], "-"),
    ):
        if None not in values:
            marker = "." if len(values) < 40 else None
            named = f"{name}, {label}" if name else label
            panel.plot(np.arange(1, len(values) + 1), np.array(values), style, color=colour, label=named, marker=marker)


def _percents(fractions) -> list[float | None]:
    return [None if fraction is None else 100 * fraction for fraction in fractions]
