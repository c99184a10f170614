"""Random changes of training images that keep their meaning: functions of (images, generator)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv import parameters

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def random_shift(largest: int = 1) -> Augmentation:
    """Move each image (N, C, H, W) by up to ``largest`` pixels along each axis; zeros come in, the rest falls out.

    Raises ValueError for a ``largest`` below 1.

    >>> moved = random_shift(1)(np.ones((8, 1, 3, 3), np.float32), np.random.default_rng(0))
    >>> moved.shape, sorted(set(moved.sum(axis=(1, 2, 3)).tolist()))
    ((8, 1, 3, 3), [4.0, 6.0, 9.0])
    """
    reach = parameters.positive_int("largest", largest)

    def shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        N, C, H, W = images.shape
        padded = np.pad(images, [(0, 0), (0, 0), (reach, reach), (reach, reach)])
        down, right = generator.integers(0, 2 * reach + 1, (2, N, 1, 1, 1))
        sample, channel = np.arange(N)[:, None, None, None], np.arange(C)[:, None, None]
        return padded[sample, channel, down + np.arange(H)[:, None], right + np.arange(W)]

    return shifted
