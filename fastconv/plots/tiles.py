"""Many small images side by side in one."""

from __future__ import annotations

import math

import numpy as np

# Lines between the tiles, which no grey hides.
LINE = (0.27, 0.51, 0.71)


def tiled(images: np.ndarray) -> np.ndarray:
    """(K, h, w, 3) -> one picture, nearly square."""
    K, height, width, _ = images.shape
    across = math.ceil(math.sqrt(K))
    down = math.ceil(K / across)
    picture = np.tile(LINE, (down * (height + 1) + 1, across * (width + 1) + 1, 1))
    for index, image in enumerate(images):
        top, left = 1 + index // across * (height + 1), 1 + index % across * (width + 1)
        picture[top : top + height, left : left + width] = image
    return picture


def scaled(images: np.ndarray) -> np.ndarray:
    """Every image (K, h, w, channels) from 0 to 1, by its own range."""
    low, high = (extreme(images, axis=(1, 2, 3), keepdims=True) for extreme in (np.min, np.max))
    return (images - low) / np.maximum(high - low, 1e-12)
