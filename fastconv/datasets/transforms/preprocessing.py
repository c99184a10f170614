"""From a Pillow image to the array that a network was trained on: torchvision's steps, sizes and rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fastconv import parameters
from fastconv.datasets.image_file import MAX_PIXELS, pillow
from fastconv.datasets.transforms.chain import compose
from fastconv.errors import ShapeError, UnsafeFileError

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's modes of 8 bits by their number of channels.
_MODES = {1: "L", 3: "RGB"}
_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")


def preprocess(
    resize: int = 256,
    crop: int = 224,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    *,
    interpolation: str = "bilinear",
) -> Callable[[Image], np.ndarray]:
    """The whole preparation: shorter side to ``resize``, a square of ``crop`` from the middle, then normalised.

    The result has as many channels as ``mean``, 3 or 1 (grey). ``fastconv.models.preprocessing`` has the numbers for
    every network; the defaults are ImageNet's. Raises ValueError or TypeError.

    >>> from PIL import Image
    >>> array = preprocess(8, 6)(Image.new("RGB", (20, 10), "white"))
    >>> array.shape, array.dtype, round(float(array[0, 0, 0]), 3)  # (1 - 0.485) / 0.229
    ((3, 6, 6), dtype('float32'), 2.249)
    """
    if parameters.positive_int("crop", crop) > parameters.positive_int("resize", resize):
        raise ValueError(f"a crop of {crop} pixels does not fit into a shorter side of {resize}")
    scale = normalize(mean, std)
    return compose(_resize(resize, interpolation), center_crop(crop), to_array(len(mean)), scale)


def resize(shorter: int, interpolation: str = "bilinear") -> Callable[[Image], Image]:
    """Bring the shorter side to so many pixels and keep the proportions; what shrinks is averaged over its area.

    ``interpolation`` is nearest, bilinear, bicubic or lanczos. Raises ValueError, and UnsafeFileError for an image that
    is so narrow that it would become huge.

    >>> from PIL import Image
    >>> resize(8)(Image.new("RGB", (33, 16))).size
    (16, 8)
    """
    if interpolation not in _FILTERS:
        raise ValueError(f"interpolation must be one of {', '.join(_FILTERS)}, got {interpolation!r}")
    return partial(_resized, shorter=parameters.positive_int("shorter", shorter), interpolation=interpolation)


# ``preprocess`` has an argument of this name.
_resize = resize


def center_crop(size: int) -> Callable[[Image], Image]:
    """Cut a square of so many pixels out of the middle; raises ShapeError for an image that has fewer.

    >>> from PIL import Image
    >>> center_crop(4)(Image.new("L", (9, 5))).size
    (4, 4)
    """
    return partial(_cropped, size=parameters.positive_int("size", size))


def to_array(channels: int = 3) -> Callable[[Image], np.ndarray]:
    """A float32 array (channels, H, W) in 0..1, of 3 channels or of 1 (grey).

    >>> from PIL import Image
    >>> to_array(1)(Image.new("RGB", (2, 1), "white")).tolist()
    [[[1.0, 1.0]]]
    """
    if channels not in _MODES:
        raise ValueError(f"channels must be 3 or 1, got {channels!r}")
    return partial(_as_array, mode=_MODES[channels])


def normalize(mean: Sequence[float], std: Sequence[float]) -> Callable[[np.ndarray], np.ndarray]:
    """(x − mean) / std, channel by channel of (C, H, W); raises ValueError where a std is not positive.

    >>> normalize([0.5], [0.25])(np.ones((1, 1, 1), np.float32)).tolist()
    [[[2.0]]]
    """
    if not 0 < len(mean) == len(std):
        raise ValueError(f"mean and std must have one number per channel, got {len(mean)} and {len(std)}")
    means = tuple(parameters.finite("mean", value) for value in mean)
    stds = tuple(parameters.finite("std", value) for value in std)
    if min(stds) <= 0:
        raise ValueError(f"std must be positive, got {stds}")
    return partial(_normalized, mean=means, std=stds)


def _resized(image: Image, shorter: int, interpolation: str) -> Image:
    least, most = sorted(image.size)
    if least == shorter:
        return image
    longer = int(shorter * most / least)
    if shorter * longer > MAX_PIXELS:
        raise UnsafeFileError(
            f"an image of {image.width}x{image.height} pixels would have {shorter * longer:,} with a shorter side of "
            f"{shorter}, above the limit of {MAX_PIXELS:,}"
        )
    size = (shorter, longer) if image.width <= image.height else (longer, shorter)
    return image.resize(size, getattr(pillow().Resampling, interpolation.upper()))


def _cropped(image: Image, size: int) -> Image:
    if min(image.size) < size:
        raise ShapeError(f"an image of {image.width}x{image.height} pixels has no square of {size}")
    left, top = (round((extent - size) / 2) for extent in image.size)
    return image.crop((left, top, left + size, top + size))


def _as_array(image: Image, mode: str) -> np.ndarray:
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    planes = pixels.reshape(image.height, image.width, -1).transpose(2, 0, 1)
    return np.divide(planes, np.float32(255), dtype=np.float32, order="C")


def _normalized(array: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    if array.shape[:1] != (len(mean),):
        raise ShapeError(f"mean has {len(mean)} channels, the image has shape {array.shape}")
    means, stds = (np.array(values, array.dtype)[:, None, None] for values in (mean, std))
    return (array - means) / stds
