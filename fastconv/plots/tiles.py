"""Many small images side by side in one."""

from __future__ import annotations

import math

import numpy as np

# Lines between the tiles, which no grey hides.
LINE = (0.27, 0.51, 0.71)
# Pixels of a tile, at least.
_LEAST = 20


def tiled(images: np.ndarray) -> np.ndarray:
    """(K, h, w, 3) -> one picture in rows of equal length, or nearly square with white where no tile is."""
    K = len(images)
    across = _across(K)
    # Lines are thin beside small images, too.
    zoom = max(1, math.ceil(_LEAST / max(images.shape[1:3])))
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    _, height, width, _ = images.shape
    picture = np.ones((math.ceil(K / across) * (height + 1) + 1, across * (width + 1) + 1, 3))
    for index, image in enumerate(images):
        top, left = index // across * (height + 1), index % across * (width + 1)
        picture[top : top + height + 2, left : left + width + 2] = LINE
        picture[top + 1 : top + 1 + height, left + 1 : left + 1 + width] = image
    return picture


def _across(K: int) -> int:
    """Tiles in a row: a number that leaves none empty, unless that makes few long rows."""
    least = math.ceil(math.sqrt(K))
    return next((across for across in range(least, 2 * least) if K % across == 0), least)


def scaled(images: np.ndarray) -> np.ndarray:
    """Every image (K, h, w, channels) from 0 to 1, by its own range."""
    low, high = (extreme(images, axis=(1, 2, 3), keepdims=True) for extreme in (np.min, np.max))
    return (images - low) / np.maximum(high - low, 1e-12)


def displayed(image: np.ndarray) -> np.ndarray:
    """An image (C, H, W) of any range as (H, W, 3) from 0 to 1: in colour where there are three channels, else grey."""
    picture = image.transpose(1, 2, 0).astype(np.float64)
    picture = picture if len(image) == 3 else picture.mean(axis=2, keepdims=True)
    return np.broadcast_to(scaled(picture[None])[0], (*picture.shape[:2], 3))
