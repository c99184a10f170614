"""What training takes for data: images, in an array or in files, and integer classes, and how they become batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fastconv import arrays
from fastconv.datasets import ImageFolder, LazyImages
from fastconv.errors import DTypeError, ShapeError
from fastconv.nn import Module

Images = np.ndarray | LazyImages
# Batches that are decoded while one is computed with.
AHEAD = 2


def checked_images(images, name: str = "images") -> Images:
    """The images, those in files as they are, or an array with samples along axis 0; raises ShapeError, TypeError."""
    if isinstance(images, LazyImages):
        return images
    images = arrays.as_array(images, name)
    if images.ndim < 2:
        raise ShapeError(f"{name} must hold one sample per index of axis 0, got shape {images.shape}")
    return images


def checked_pair(data, name: str = "data") -> tuple[Images, np.ndarray]:
    """(images, labels) of the same, positive length; raises TypeError, ShapeError, DTypeError or ValueError."""
    if isinstance(data, ImageFolder):
        data = data.images, data.labels
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"{name} must be a pair (images, labels) or an ImageFolder, got {type(data).__name__}")
    images = checked_images(data[0], f"images of {name}")
    labels = arrays.as_array(data[1], f"labels of {name}")
    if labels.shape != images.shape[:1]:
        raise ShapeError(f"{name} has images of shape {images.shape} and labels of shape {labels.shape}: no pairs")
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"labels of {name} must be integer classes, got dtype {labels.dtype}")
    if not len(labels):
        raise ValueError(f"{name} is empty")
    return images, labels


def device_of(model: Module) -> str:
    """Where the parameters of a model lie; without any, the host."""
    return next((parameter.device for parameter in model.parameters()), arrays.HOST)


def read(images: Images, rows, soon: Sequence = ()) -> np.ndarray:
    """The images of these rows; where they are in files, those of the rows that come ``soon`` are decoded meanwhile."""
    return images.read(rows, soon) if isinstance(images, LazyImages) else images[rows]


def batches(images: Images, batch_size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """The images in order, batch by batch, with the rows; the last one possibly smaller; one empty batch for none."""
    parts = [slice(start, start + batch_size) for start in range(0, max(len(images), 1), batch_size)]
    for number, part in enumerate(parts, 1):
        yield part, read(images, part, parts[number : number + AHEAD])
