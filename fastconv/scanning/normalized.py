"""Normalised correlation: how much each window of an image resembles a template, whatever its light and contrast."""

from __future__ import annotations

import math

import numpy as np

from fastconv import functional

# Below this share of a window's mean square its variance has lost more than half of its digits to cancellation.
_CANCELLED = 1e-8
# Elements of the windows that are gathered at a time.
_GATHERED = 1 << 20


def normalized_correlation(volume: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Correlation coefficients (OH, OW) of the windows of a volume (C, H, W) with a template (C, h, w).

    A window of one value has no coefficient and gets 0. Raises ValueError for such a template.

    >>> normalized_correlation(np.array([[[0.0, 1.0, 1.0, 3.0]]]), np.array([[[0.0, 2.0]]]))
    array([[1., 0., 1.]])
    """
    if template.min() == template.max():
        raise ValueError(
            f"template is {template.flat[0]} everywhere: a constant has no variance, and the normalised correlation "
            'is undefined; method="correlation" takes it'
        )
    centred = _centred(template)
    filters = centred / np.linalg.norm(centred)
    pixels = _centred(volume)
    norms, numerators = _norms(pixels, template.shape), functional.conv2d(pixels, filters[None])[0]
    cancelled = (norms <= 0) & ~_flat(volume, template.shape)
    _sum_again(pixels, filters, cancelled, norms, numerators)
    response = np.divide(numerators, norms, out=np.zeros_like(norms), where=norms > 0)
    return np.clip(response, -1, 1).astype(volume.dtype)


def _centred(values: np.ndarray) -> np.ndarray:
    """Float64 around a mean of 0, divided by a power of two, so that no square overflows and none gets lost."""
    largest = np.abs(values).max()
    scaled = np.ldexp(values.astype(np.float64), -int(np.frexp(largest)[1]))
    centred = scaled - scaled.mean()
    # A large mean is rounded by more than what it leaves: once more, around what it missed.
    return centred - centred.mean()


def _norms(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """√Σ (pixel − mean of the window)²; 0 where so little is left of Σ pixel² that it cannot be told this way."""
    sums, squares = (_window_sums(values.sum(axis=0), *shape[1:]) for values in (pixels, pixels * pixels))
    left = squares - sums * sums / math.prod(shape)
    return np.sqrt(np.where(left > _CANCELLED * squares, left, 0))


def _window_sums(plane: np.ndarray, h: int, w: int) -> np.ndarray:
    """The sum of every window, first along columns, then along rows; no running sum, whose errors would add up."""
    columns = functional.conv2d(plane[None], np.ones((1, 1, h, 1)))
    return functional.conv2d(columns, np.ones((1, 1, 1, w)))[0]


def _flat(volume: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where a window, all of its channels, holds a single value."""
    largest, smallest = (
        functional.max_pool2d(signed[None], shape[1:], 1)[0] for signed in (volume.max(axis=0), -volume.min(axis=0))
    )
    return largest == -smallest


def _sum_again(pixels, filters, where, norms, numerators) -> None:
    """Norms and numerators of some windows, in place, each summed around its own mean."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, filters.shape)[0]
    rows, columns = np.nonzero(where)
    step = max(1, _GATHERED // filters.size)
    for begin in range(0, len(rows), step):
        place = rows[begin : begin + step], columns[begin : begin + step]
        window = windows[place].reshape(len(place[0]), -1)
        window = window - window.mean(axis=1, keepdims=True)
        norms[place] = np.sqrt((window * window).sum(axis=1))
        numerators[place] = window @ filters.reshape(-1)
