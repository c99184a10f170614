"""Peaks of a response map: local maxima, the weaker ones of any two that are too close left out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv import arrays, functional, parameters
from fastconv.autograd import unwrap
from fastconv.dtypes import float_type
from fastconv.errors import ShapeError


class Peak(NamedTuple):
    """A position of a response map, and the response there."""

    row: int
    column: int
    score: float


def find_peaks(
    response, *, min_distance: int = 1, threshold: float | None = None, max_peaks: int | None = None
) -> tuple[Peak, ...]:
    """The positions (H, W) whose response is the largest within ``min_distance`` rows and columns, the best first.

    Of two that are nearer than that in both axes the better one stays; of equal ones the first in reading order. A
    peak is above ``threshold`` and above the smallest response: a map that is the same everywhere has none, unless it
    is of one position. At most ``max_peaks`` are returned. These are the peaks of scikit-image's ``peak_local_max``,
    those at the border among them.

    Raises ShapeError for what is no map, ValueError for NaN and bad numbers, TypeError or DTypeError.

    >>> find_peaks(np.array([[0.0, 3.0, 2.0, 0.0, 1.0]]))
    (Peak(row=0, column=1, score=3.0), Peak(row=0, column=4, score=1.0))
    """
    response = arrays.as_array(unwrap(response), "response")
    float_type(response.dtype, "response")
    if response.ndim != 2 or not response.size:
        raise ShapeError(f"response must be a map (H, W) with positions, got shape {response.shape}")
    if np.isnan(response).any():
        raise ValueError("response holds NaN, which has no place in an order")
    distance = parameters.positive_int("min_distance", min_distance)
    limit = None if max_peaks is None else parameters.positive_int("max_peaks", max_peaks)
    lowest = -np.inf if threshold is None else parameters.number("threshold", threshold)
    if np.isnan(lowest):
        raise ValueError("threshold must be a number, got nan")
    is_peak = (response == _largest_around(response, distance)) & (response > lowest)
    if response.size > 1:
        is_peak &= response > response.min()
    candidates = np.argwhere(is_peak)
    scores = response[tuple(candidates.T)]
    best_first = candidates[np.argsort(-scores, kind="stable")]
    places = _apart(best_first, response.shape, distance, limit)
    return tuple(Peak(row, column, float(response[row, column])) for row, column in places)


def _largest_around(response: np.ndarray, distance: int) -> np.ndarray:
    """For each position the largest response within the distance, along one axis and then along the other."""
    for axis, extent in enumerate(response.shape):
        reach = min(distance, extent - 1)
        kernel, padding = [1, 1], [0, 0]
        kernel[axis], padding[axis] = 2 * reach + 1, reach
        response = functional.max_pool2d(response[None], tuple(kernel), 1, tuple(padding))[0]
    return response


def _apart(positions: np.ndarray, shape, distance: int, limit: int | None) -> list[tuple[int, int]]:
    """The positions, in their order, that are not nearer than the distance to one before."""
    kept: list[tuple[int, int]] = []
    is_taken = np.zeros(shape, bool)
    for row, column in positions.tolist():
        if limit is not None and len(kept) == limit:
            break
        if not is_taken[row, column]:
            kept.append((row, column))
            rows, columns = (slice(max(place - distance + 1, 0), place + distance) for place in (row, column))
            is_taken[rows, columns] = True
    return kept
