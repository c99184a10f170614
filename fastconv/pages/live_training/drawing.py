"""From strokes on a drawing pad to an 8×8 digit, made as the digits of the data set were.

Those were scanned, brought to 32 pixels of height and about 24 of width whatever their size, and the dark pixels of
every block of 4×4 were counted (E. Alpaydin, C. Kaynak, "Cascading classifiers", 1998; ``datasets/digits.md``).
"""

from __future__ import annotations

import numpy as np

SIDE, BLOCK = 32, 4
MAX_POINTS = 500
# Pixels from the first dark one to the last, across and down; other sizes were read worse by networks so trained.
_SPAN = np.array([20, 30], np.float32)
# Dark pixels of the data set's bitmaps, on average: 313 of 1,024, for thin digits such as 1 as for the others.
_INK = 313
# Half of a line's width, in pixels: usual, thinnest, thickest; and how often its effect on the span is looked at.
_USUAL, _THINNEST, _THICKEST, _ROUNDS = 2.5, 1.5, 5.0, 3
# One direction is never enlarged so much more than the other; parts of the pad below this size are not enlarged fully.
_STRETCH, _SMALLEST = 1.6, 0.1


def checked_strokes(value) -> list[np.ndarray]:
    """Strokes as arrays (points, 2) from lists of [x, y], each within 0..1; raises ValueError for anything else."""
    if not isinstance(value, list) or not value:
        raise ValueError("strokes must be a list of at least one stroke, each a list of points [x, y]")
    if not all(isinstance(stroke, list) and stroke for stroke in value):
        raise ValueError("every stroke must be a list of at least one point [x, y]")
    count = sum(map(len, value))
    if count > MAX_POINTS:
        raise ValueError(f"a drawing has at most {MAX_POINTS} points, got {count}")
    for point in (point for stroke in value for point in stroke):
        if not (isinstance(point, list) and len(point) == 2 and all(map(_is_on_pad, point))):
            raise ValueError(f"points must be [x, y] with both in 0..1, got {point!r:.60}")
    return [np.array(stroke, np.float32) for stroke in value]


def bitmap(strokes: list[np.ndarray]) -> np.ndarray:
    """The drawing on bool (32, 32), True where it is dark: as tall as the bitmap, in the middle, with fitting lines.

    >>> dark = bitmap([np.array([[0.4, 0.2], [0.4, 0.4]])])
    >>> dark.shape, int(dark.any(axis=1).sum()), int(dark.any(axis=0).sum())
    ((32, 32), 30, 10)
    """
    radius = _USUAL
    for _ in range(_ROUNDS):
        distances = np.min([_distances(stroke) for stroke in _placed(strokes, radius)], axis=0)
        radius = np.clip(np.partition(distances, _INK - 1, axis=None)[_INK - 1], _THINNEST, _THICKEST)
    return distances <= radius


def digit(strokes: list[np.ndarray]) -> np.ndarray:
    """The image float32 (1, 1, 8, 8) in 0..1 of a drawing, as the network learns them."""
    blocks = bitmap(strokes).reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK)
    return (blocks.sum(axis=(1, 3)) / np.float32(BLOCK**2)).astype(np.float32)[None, None]


def _is_on_pad(value) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _placed(strokes: list[np.ndarray], radius: float) -> list[np.ndarray]:
    """The strokes in pixels of the bitmap: the box around lines of this radius enlarged and moved to the middle."""
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (_SPAN - 2 * radius) / np.maximum(high - low, _SMALLEST)
    scale = np.minimum(scale, _STRETCH * scale[::-1])
    return [(stroke - (low + high) / 2) * scale + SIDE / 2 for stroke in strokes]


def _distances(stroke: np.ndarray) -> np.ndarray:
    """How far the middle of every pixel (32, 32) is from the lines that join the points."""
    middles = np.arange(SIDE, dtype=np.float32) + 0.5
    x, y = middles[None, :, None], middles[:, None, None]
    begins = stroke[:-1] if len(stroke) > 1 else stroke
    along = (stroke[1:] if len(stroke) > 1 else stroke) - begins
    lengths = np.maximum((along**2).sum(axis=1), 1e-12)
    share = ((x - begins[:, 0]) * along[:, 0] + (y - begins[:, 1]) * along[:, 1]) / lengths
    share = np.clip(share, 0, 1)
    dx, dy = x - begins[:, 0] - share * along[:, 0], y - begins[:, 1] - share * along[:, 1]
    return np.sqrt((dx**2 + dy**2).min(axis=2))
