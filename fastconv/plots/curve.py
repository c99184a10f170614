"""Lines over the epochs of a training."""

from __future__ import annotations

import numpy as np

from fastconv.plots import canvas


def curve(values, axes=None, *, title: str, xlabel: str = "epoch", **series):
    """Draw one line per series over its positions 1, 2, ...; ``values`` is the first, unnamed one."""
    axes = canvas.axes_or_new(axes)
    for label, line in ({title: values} | series).items():
        axes.plot(np.arange(1, len(line) + 1), line, label=label, marker="." if len(line) < 40 else None)
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    axes.grid(alpha=0.3)
    if series:
        axes.legend()
    return axes
