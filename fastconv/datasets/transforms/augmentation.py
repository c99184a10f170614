"""Random changes of training images that keep their meaning: what differs between two views of one scene.

Each is a function of (images, generator), images (N, C, H, W), drawn for every image by itself: the same generator
gives the same images. What comes into the picture from outside is zero: black, or after ``normalize`` the mean colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from fastconv import parameters
from fastconv.errors import DTypeError

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def random_shift(largest: int = 1) -> Augmentation:
    """Move each image by up to ``largest`` pixels along each axis; zeros come in, the rest falls out.

    Raises ValueError for a ``largest`` below 1.

    >>> moved = random_shift(1)(np.ones((8, 1, 3, 3), np.float32), np.random.default_rng(0))
    >>> moved.shape, sorted(set(moved.sum(axis=(1, 2, 3)).tolist()))
    ((8, 1, 3, 3), [4.0, 6.0, 9.0])
    """
    return partial(_shifted, reach=parameters.positive_int("largest", largest))


def random_flip(p: float = 0.5) -> Augmentation:
    """Mirror each image, left to right, with probability ``p``; raises ValueError for p outside [0, 1].

    >>> random_flip(1.0)(np.array([[[[1.0, 2.0]]]]), np.random.default_rng(0)).tolist()
    [[[[2.0, 1.0]]]]
    """
    return partial(_flipped, p=_share("p", p))


def random_crop(smallest: float = 0.8) -> Augmentation:
    """Cut out a part of each image, at least ``smallest`` of both sides, and enlarge it to the whole, bilinearly.

    Raises ValueError for a ``smallest`` that is not in (0, 1].

    >>> random_crop(0.5)(np.ones((2, 1, 4, 4), np.float32), np.random.default_rng(0)).min()
    np.float32(1.0)
    """
    return partial(_cropped, smallest=_share("smallest", smallest, above=0.0))


def random_scale(largest: float = 1.2) -> Augmentation:
    """Show each image nearer or farther, by a factor of up to ``largest``, about its middle, bilinearly.

    Raises ValueError for a ``largest`` below 1.

    >>> random_scale(2.0)(np.ones((2, 1, 4, 4), np.float32), np.random.default_rng(1)).shape
    (2, 1, 4, 4)
    """
    factor = parameters.finite("largest", largest)
    if factor < 1:
        raise ValueError(f"largest must be at least 1, got {factor}")
    return partial(_scaled, largest=factor)


def random_brightness(
    largest: float = 0.3, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0
) -> Augmentation:
    """Multiply the light of each image by a factor between 1 − ``largest`` and 1 + ``largest``.

    Of images that were normalised with ``mean`` and ``std``, one number or one per channel, black stays black. Raises
    ValueError for a ``largest`` outside [0, 1].

    >>> lit = random_brightness(0.5)(np.ones((2, 1, 1, 1)), np.random.default_rng(0))
    >>> lit.ravel().round(2).tolist()
    [1.14, 0.77]
    """
    black = -np.atleast_1d(np.asarray(mean, np.float64) / np.asarray(std, np.float64))[:, None, None]
    return partial(_lit, largest=_share("largest", largest), black=black)


def random_occlusion(largest: float = 0.3) -> Augmentation:
    """Hide a rectangle of each image, at any place, with sides of up to ``largest`` of the image's, behind zeros.

    Raises ValueError for a ``largest`` that is not in (0, 1].

    >>> hidden = random_occlusion(0.5)(np.ones((2, 1, 4, 4), np.float32), np.random.default_rng(0))
    >>> [int((image == 0).sum()) for image in hidden]
    [2, 2]
    """
    return partial(_occluded, largest=_share("largest", largest, above=0.0))


def _share(name: str, value, above: float = -1.0) -> float:
    share = parameters.finite(name, value)
    if not (0.0 <= share <= 1.0 and share > above):
        raise ValueError(f"{name} must lie in {'(' if above == 0 else '['}0, 1], got {share}")
    return share


def _check_float(images: np.ndarray) -> None:
    if images.dtype.kind != "f":
        raise DTypeError(f"images must be floats to be averaged or scaled, got dtype {images.dtype}")


def _shifted(images: np.ndarray, generator: np.random.Generator, reach: int) -> np.ndarray:
    N, C, H, W = images.shape
    padded = np.pad(images, [(0, 0), (0, 0), (reach, reach), (reach, reach)])
    down, right = generator.integers(0, 2 * reach + 1, (2, N, 1, 1, 1))
    sample, channel = np.arange(N)[:, None, None, None], np.arange(C)[:, None, None]
    return padded[sample, channel, down + np.arange(H)[:, None], right + np.arange(W)]


def _flipped(images: np.ndarray, generator: np.random.Generator, p: float) -> np.ndarray:
    chosen = generator.random(len(images)) < p
    return np.where(chosen[:, None, None, None], images[..., ::-1], images)


def _cropped(images: np.ndarray, generator: np.random.Generator, smallest: float) -> np.ndarray:
    share = generator.uniform(smallest, 1.0, len(images))
    down, right = generator.uniform(0.0, 1.0 - share, (2, len(images)))
    return _viewed(images, share, down, right)


def _scaled(images: np.ndarray, generator: np.random.Generator, largest: float) -> np.ndarray:
    reach = np.log(largest)
    share = np.exp(generator.uniform(-reach, reach, len(images)))
    return _viewed(images, share, (1 - share) / 2, (1 - share) / 2)


def _lit(images: np.ndarray, generator: np.random.Generator, largest: float, black: np.ndarray) -> np.ndarray:
    _check_float(images)
    factor = generator.uniform(1 - largest, 1 + largest, (len(images), 1, 1, 1)).astype(images.dtype)
    base = black.astype(images.dtype)
    return base + factor * (images - base)


def _occluded(images: np.ndarray, generator: np.random.Generator, largest: float) -> np.ndarray:
    N, _, H, W = images.shape
    rows, columns = (_interval(generator, N, extent, largest) for extent in (H, W))
    hidden = rows[:, None, :, None] & columns[:, None, None, :]
    return np.where(hidden, images.dtype.type(0), images)


def _interval(generator: np.random.Generator, N: int, extent: int, largest: float) -> np.ndarray:
    """(N, extent): whether a place lies in the interval that is drawn for each line, of at least one place."""
    length = generator.integers(1, max(1, int(largest * extent)) + 1, N)
    begin = generator.integers(0, extent - length + 1)
    place = np.arange(extent)
    return (place >= begin[:, None]) & (place < (begin + length)[:, None])


def _viewed(images: np.ndarray, share: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The part of each image that begins at (down, right) and is ``share`` of both sides large, as a whole image."""
    _check_float(images)
    rows, columns = (
        _interpolation(extent, begin, share).astype(images.dtype)[:, None]
        for extent, begin in zip(images.shape[2:], (down, right), strict=True)
    )
    return rows @ images @ columns.swapaxes(-1, -2)


def _interpolation(extent: int, begin: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Matrices (N, extent, extent): what each pixel of a line's view takes from the line; nothing from outside."""
    pixels = np.arange(extent)
    place = begin[:, None] * extent + (pixels + 0.5) * share[:, None] - 0.5
    is_inside = (place >= -0.5) & (place <= extent - 0.5)
    distance = np.abs(np.clip(place, 0, extent - 1)[..., None] - pixels)
    return np.maximum(0.0, 1.0 - distance) * is_inside[..., None]
