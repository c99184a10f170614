"""What a training has learned, and how, in one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastconv.plots import canvas
from fastconv.plots.curve import curve
from fastconv.plots.filters import filters


def training_summary(weight, losses, accuracies, path) -> Path:
    """Save one PNG: learned filters on the left, the loss and the test accuracy over the epochs on the right."""
    figure = canvas.matplotlib("figure").Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    filters(weight, left, title="learned filters of the first layer")
    curve(losses, middle, title="training loss")
    middle.set_yscale("log")
    curve(np.multiply(accuracies, 100), right, title="test accuracy in %")
    figure.savefig(path, dpi=120)
    return Path(path)
