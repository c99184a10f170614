"""Digits on a form, by a classifier of windows that looks at all positions in one pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv import arrays, functional, parameters
from fastconv.autograd import no_grad
from fastconv.errors import DTypeError, ShapeError
from fastconv.nn import Module, fully_convolutional
from fastconv.precision import use_precision
from fastconv.scanning.forms import SIZE
from fastconv.scanning.peaks import find_peaks

# Pixels that the classifier sees around a digit.
MARGIN = 2
WINDOW = SIZE + 2 * MARGIN
BACKGROUND = 10
# Of two places that are nearer than this in both axes one is taken: more would let the neighbours of a digit, whose
# places need not be found to the pixel, suppress each other.
_SPACING = 5
# Pixels that a digit may be off the middle of its window; half of what a peak is the middle of.
OFF = 1
# Positions of one call, whose maps take 84 MB; those of a large form would take gigabytes, and are no faster.
_STRIP = 1 << 18


class Found(NamedTuple):
    """A digit that was found: its value, the pixel of its upper left corner, and its probability."""

    value: int
    top: int
    left: int
    score: float


def find_digits(ink, model: Module, *, digit: int | None = None, threshold: float = 0.5) -> list[Found]:
    """The digits on a form (H, W), 0 where the paper is blank and 1 where it is covered; only ``digit`` unless None.

    ``model`` is a ``models.digit_finder``. Of places that are less than 5 pixels apart in both axes the one stays
    where some digit is most probable, on the mean of 3x3 positions; its own probability is the score, above
    ``threshold``. Then others than ``digit`` are left out.

    Raises ShapeError for a form below 8x8, ValueError for NaN, infinities (of float32) and a ``digit`` that is none,
    DTypeError for complex numbers.

    >>> from fastconv import models
    >>> find_digits(np.zeros((9, 20)), models.digit_finder())
    []
    """
    if digit is not None and not 0 <= parameters.integer("digit", digit) < BACKGROUND:
        raise ValueError(f"digit must be one of 0 to 9, got {digit}")
    of_digits = probabilities(ink, model)[:BACKGROUND]
    values, best = of_digits.argmax(axis=0), of_digits.max(axis=0)
    # Windows one pixel off are as sure of a digit: the middle of them is its place.
    around = functional.avg_pool2d(best[None], 2 * OFF + 1, 1, OFF)[0]
    peaks = find_peaks(around, min_distance=_SPACING, threshold=threshold / (2 * OFF + 1) ** 2)
    found = [Found(int(values[row, column]), row, column, float(best[row, column])) for row, column, _ in peaks]
    return [one for one in found if one.score > threshold and digit in (None, one.value)]


def probabilities(ink, model: Module) -> np.ndarray:
    """The probability (11, H − 7, W − 7) of each digit, and of background, at every position of a form.

    Raises what ``find_digits`` raises.
    """
    return functional.softmax(scan(ink, model), 0)


def scan(ink, model: Module) -> np.ndarray:
    """Logits (classes, H − 7, W − 7): what ``model`` says of a digit's place at every position of a form, in one pass.

    Sums are direct (``"strict"``), so that a window has the same bits wherever it lies. Raises what ``find_digits``
    raises.
    """
    sliding, page = fully_convolutional(model, (1, WINDOW, WINDOW)), _page(ink)
    rows, columns = (extent - WINDOW + 1 for extent in page.shape[1:])
    step = max(1, _STRIP // columns)
    with no_grad(), use_precision("strict"):
        strips = [sliding(page[None, :, top : top + step + WINDOW - 1]).numpy()[0] for top in range(0, rows, step)]
    return np.concatenate(strips, axis=1)


def scan_by_window(ink, model: Module, batch_size: int = 256) -> np.ndarray:
    """The same logits by the classifier itself, which runs on every window; raises what ``scan`` raises."""
    windows = np.lib.stride_tricks.sliding_window_view(_page(ink)[0], (WINDOW, WINDOW))
    rows = windows.reshape(-1, 1, WINDOW, WINDOW)
    with no_grad(), use_precision("strict"):
        logits = [model(rows[begin : begin + batch_size]).numpy() for begin in range(0, len(rows), batch_size)]
    return np.concatenate(logits).T.reshape(-1, *windows.shape[:2])


def _page(ink) -> np.ndarray:
    """The form as one channel of float32, with blank paper around it."""
    ink = arrays.as_array(ink, "ink")
    if ink.ndim != 2 or min(ink.shape) < SIZE:
        raise ShapeError(f"a form must be (H, W), at least {SIZE}x{SIZE}, got shape {ink.shape}")
    if ink.dtype.kind == "c":
        raise DTypeError(f"ink has dtype {ink.dtype}; a form is made of real numbers")
    with np.errstate(over="ignore"):
        ink = ink.astype(np.float32)
    if not np.isfinite(ink).all():
        raise ValueError("ink must be finite in float32; some of its values are not")
    return np.pad(ink, MARGIN)[None]
