"""The picture that the filter slides over, as a volume of whole numbers small enough to multiply in one's head."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources

import numpy as np

# Pixels are numbers from 0, the darkest of the picture, to this, the brightest.
BRIGHTEST = 9
# Pictures are kept as squares of so many pixels: enough to recognise them by.
SIDE = 48
CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


@dataclass(frozen=True, slots=True)
class Picture:
    """A square picture, ``pixels`` uint8 (SIDE, SIDE, 3), and what is written below it."""

    caption: str
    pixels: np.ndarray

    def volume(self, size: int, channels: int = 3) -> np.ndarray:
        """Mean brightness in size x size squares, int64 (channels, size, size), from 0 to BRIGHTEST.

        >>> volume = bundled().volume(7)
        >>> volume.shape, int(volume.min()), int(volume.max())
        ((3, 7, 7), 0, 9)
        """
        planes = self.pixels.transpose(2, 0, 1).astype(np.int64)
        if channels == 1:
            planes = planes.sum(0, keepdims=True)
        parts = _parts(size)
        sums = parts @ planes @ parts.T
        darkest, spread = sums.min(), max(1, np.ptp(sums))
        return np.round((sums - darkest) * BRIGHTEST / spread).astype(np.int64)


def bundled() -> Picture:
    """A cat's eye; `eye.md` names its photographer."""
    with (
        resources.files(__package__).joinpath("eye.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return Picture("a cat's eye, photographed by Stéfan van der Walt", arrays["pixels"])


def read(path: str | os.PathLike) -> Picture:
    """The middle square of an image file; raises what ``fastconv.datasets.read_image`` raises."""
    from fastconv.datasets import image_file

    image = image_file.read_image(path)
    side = min(image.size)
    left, top = ((extent - side) // 2 for extent in image.size)
    square = image.resize((SIDE, SIDE), image_file.pillow().Resampling.BOX, (left, top, left + side, top + side))
    return Picture(os.path.basename(os.fsdecode(path)), np.asarray(square))


def _parts(size: int) -> np.ndarray:
    """How much of each of SIDE rows lies in each of size equal parts, in units of 1 / size: int64 (size, SIDE)."""
    ends, rows = np.arange(size + 1) * SIDE, np.arange(SIDE) * size
    overlap = np.minimum(ends[1:, None], rows + size) - np.maximum(ends[:-1, None], rows)
    return np.maximum(overlap, 0)
