"""Axes for images that are looked at together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv.plots import canvas

# Inches of an image's longer side, at least and at most, of one of its pixels in between, and for titles and ticks.
_LEAST, _MOST, _PIXEL, _AROUND = 3.5, 10.0, 0.05, 0.9


def side_by_side(shapes: Sequence[tuple[int, ...]]) -> list:
    """Axes on a new figure for images of these shapes, (H, W) or (H, W, 3): below one another where they are wide."""
    height, width = np.max([shape[:2] for shape in shapes], axis=0)
    longest = np.clip(_PIXEL * max(height, width), _LEAST, _MOST)
    tall, wide = longest * np.array([height, width]) / max(height, width) + _AROUND
    is_wide = width > height
    rows, columns = (len(shapes), 1) if is_wide else (1, len(shapes))
    size = {"figsize": (wide * columns, tall * rows), "layout": "constrained"}
    return list(canvas.matplotlib("figure").Figure(**size).subplots(rows, columns, squeeze=False).flat)
