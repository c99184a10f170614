"""What the datasets share once their bytes are read: split names, checks and the scale."""

import os
from collections.abc import Sequence

import numpy as np

from fastconv.errors import FormatError


def check_split(split: str, known: Sequence[str]) -> None:
    """Raise ValueError unless `split` is one of the known names."""
    if split not in known:
        raise ValueError(f"split must be one of {', '.join(map(repr, known))}, got {split!r}")


def check_labels(labels: np.ndarray, path: str | os.PathLike) -> None:
    """Raise FormatError unless every label is one of the ten classes 0..9."""
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        raise FormatError(f"{path}: labels must lie in 0..9, got {labels.min()}..{labels.max()}")


def scaled(images: np.ndarray, largest: int) -> np.ndarray:
    """A new float32 array in 0..1: the integer images divided by their largest possible value."""
    return np.divide(images, np.float32(largest), dtype=np.float32)
