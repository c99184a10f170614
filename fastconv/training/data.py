"""What training takes for data: a pair of arrays, images and integer classes, and how it is cut into batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastconv import arrays
from fastconv.errors import DTypeError, ShapeError
from fastconv.nn import Module


def checked_images(images, name: str = "images") -> np.ndarray:
    """The images as an array with the samples along axis 0; raises ShapeError or what the gate raises."""
    images = arrays.as_array(images, name)
    if images.ndim < 2:
        raise ShapeError(f"{name} must hold one sample per index of axis 0, got shape {images.shape}")
    return images


def checked_pair(data, name: str = "data") -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) of the same, positive length; raises TypeError, ShapeError, DTypeError or ValueError."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"{name} must be a pair (images, labels), got {type(data).__name__}")
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


def batches(count: int, batch_size: int) -> Iterator[slice]:
    """The slices that cut ``count`` samples into batches, the last one possibly smaller; one empty slice for none."""
    return (slice(start, start + batch_size) for start in range(0, max(count, 1), batch_size))
