"""Localisation: where in an image a template is, by the response of a filter that has its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv import arrays, dtypes, functional
from fastconv.autograd import unwrap
from fastconv.errors import ShapeError
from fastconv.scanning.normalized import normalized_correlation
from fastconv.scanning.peaks import Peak, find_peaks

METHODS = ("correlation", "normalized")
_SHOWN = 10


@dataclass(frozen=True)
class Localization:
    """The ``response`` map (OH, OW) of a template, and its ``peaks``, the best first.

    A peak's row and column are where the upper left corner of the template lies.
    """

    response: np.ndarray
    peaks: tuple[Peak, ...]

    def __str__(self) -> str:
        height, width = self.response.shape
        lines = [f"response map of {height}x{width} positions, {len(self.peaks)} peaks"]
        lines += [f"  row {peak.row:4d}  column {peak.column:4d}  score {peak.score:.6g}" for peak in self.peaks]
        hidden = len(self.peaks) - _SHOWN
        return "\n".join([*lines[: _SHOWN + 1], *([f"  and {hidden} more"] if hidden > 0 else [])])

    __repr__ = __str__


def localize(
    image,
    template,
    method: str = "correlation",
    *,
    min_distance: int | None = None,
    threshold: float | None = None,
    max_peaks: int | None = None,
) -> Localization:
    """Slide a template over an image; the response is large where the image looks like it.

    Z[j1, j2] = Σ W[k1, k2] · X[j1 + k1, j2 + k2], summed over channels where there are some. With "normalized" each
    window and the template have their mean subtracted and are divided by their norm, so that Z is their correlation
    coefficient, −1 to 1, whatever the light; it is summed in float64. A window of one value has none and gets 0.

    Shapes: (H, W), (h, w) or (C, H, W), (C, h, w) -> ``response`` (H − h + 1, W − w + 1), of their dtype. Peaks are
    those of ``scanning.find_peaks``, ``min_distance`` half of the template's shorter side unless given.

    Raises ShapeError for a template that does not fit, ValueError for an unknown method, for NaN and infinities, and
    for a constant template with "normalized", TypeError or DTypeError for what is no array of floats of one dtype.

    >>> image = np.zeros((6, 8))
    >>> image[2:4, 5:7] = [[1, 2], [3, 4]]
    >>> localize(image, image[2:4, 5:7], "normalized", max_peaks=1)
    response map of 5x7 positions, 1 peaks
      row    2  column    5  score 1
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}")
    volume, filters = _checked(image, template)
    response = _correlation(volume, filters) if method == METHODS[0] else normalized_correlation(volume, filters)
    distance = max(1, min(filters.shape[1:]) // 2) if min_distance is None else min_distance
    return Localization(response, find_peaks(response, min_distance=distance, threshold=threshold, max_peaks=max_peaks))


def _correlation(volume: np.ndarray, template: np.ndarray) -> np.ndarray:
    response = functional.conv2d(volume, template[None])[0]
    if not np.isfinite(response).all():
        raise ValueError(f"the correlation exceeds what {response.dtype} can hold; scale the image or the template")
    return response


def _checked(image, template) -> tuple[np.ndarray, np.ndarray]:
    """Both as (C, height, width), finite."""
    given = {name: arrays.as_array(unwrap(value), name) for name, value in (("image", image), ("template", template))}
    dtypes.common_float_type(**given)
    image, template = given.values()
    if image.ndim not in (2, 3) or template.ndim != image.ndim:
        raise ShapeError(
            f"image and template must both be (H, W), or both (C, H, W), got {image.shape} and {template.shape}"
        )
    if 0 in (*image.shape, *template.shape):
        raise ShapeError(f"image {image.shape} and template {template.shape} must not be empty")
    if image.ndim == 3 and len(image) != len(template):
        raise ShapeError(f"image has {len(image)} channels but template has {len(template)}")
    (H, W), (h, w) = image.shape[-2:], template.shape[-2:]
    if h > H or w > W:
        raise ShapeError(
            f"template {h}x{w} is larger than image {H}x{W}: {H} - {h} + 1 = {H - h + 1} rows and "
            f"{W} - {w} + 1 = {W - w + 1} columns of positions"
        )
    for name, array in given.items():
        _check_finite(name, array)
    return image.reshape(-1, H, W), template.reshape(-1, h, w)


def _check_finite(name: str, array: np.ndarray) -> None:
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise ValueError(
            f"{name} must be finite; {len(wrong)} of its values are not, the first {array[place]} at {place}"
        )
