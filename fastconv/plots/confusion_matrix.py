"""Which classes a network takes for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv.errors import ShapeError
from fastconv.plots import canvas


def confusion_matrix(labels, predictions, axes=None, *, classes: Sequence[str] | None = None):
    """Draw how many images of each class (rows) were taken for which (columns): right answers blue, errors orange.

    ``labels`` and ``predictions`` are class indices (N,), ``classes`` the names, by default the numbers. The more of a
    row, the darker; of errors, the more of the largest. Returns the matplotlib axes. Raises ShapeError or ValueError.

    >>> axes = confusion_matrix([0, 0, 1], [0, 1, 1], classes=["cat", "dog"])
    >>> [text.get_text() for text in axes.texts]
    ['1', '1', '1']
    """
    counts = _counts(labels, predictions, None if classes is None else len(classes))
    K = len(counts)
    names = [str(number) for number in range(K)] if classes is None else list(classes)
    axes = canvas.axes_or_new(axes, figsize=(2 + 0.42 * K, 1.8 + 0.42 * K))
    colours = _colours(counts)
    axes.imshow(colours)
    for row, column in np.argwhere(counts):
        dark = colours[row, column, :3] @ (0.299, 0.587, 0.114) < 0.5
        colour = "white" if dark else canvas.INK
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=9)
    is_long = max(map(len, names)) > 3
    axes.set_xticks(range(K), names, rotation=90 if is_long else 0)
    axes.set_yticks(range(K), names)
    axes.set_xticks(np.arange(K + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(K + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=canvas.FAINT)
    axes.tick_params(which="both", length=0)
    right, total = np.trace(counts), counts.sum()
    axes.set(xlabel="predicted", ylabel="true", title=f"{right:,} of {total:,} right ({right / total:.1%})")
    return axes


def _counts(labels, predictions, classes: int | None) -> np.ndarray:
    """(K, K): rows are true classes."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ShapeError(f"labels and predictions must have one shape (N,), got {labels.shape} and {predictions.shape}")
    if not len(labels):
        raise ValueError("there must be at least one label")
    both = np.concatenate([labels, predictions])
    if both.dtype.kind not in "iu" or both.min() < 0:
        raise ValueError("labels and predictions must be class indices: integers from 0 on")
    K = int(both.max()) + 1 if classes is None else classes
    if both.max() >= K:
        raise ValueError(f"there are {K} classes, but class {both.max()} among the labels or predictions")
    counts = np.zeros((K, K), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def _colours(counts: np.ndarray) -> np.ndarray:
    """(K, K, 4)."""
    maps = canvas.matplotlib("pyplot").colormaps
    errors = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = maps["Oranges"](np.where(errors > 0, 0.2 + 0.6 * errors / max(errors.max(), 1), 0))
    picture[errors == 0] = 1.0
    diagonal = np.arange(len(counts))
    picture[diagonal, diagonal] = maps["Blues"](0.1 + 0.8 * shares[diagonal, diagonal])
    return picture
