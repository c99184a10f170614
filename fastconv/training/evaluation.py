"""Running a trained model over many images: its logits, its loss, its accuracy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv import arrays, parameters
from fastconv.autograd import Tensor, no_grad
from fastconv.nn import CrossEntropyLoss, Module
from fastconv.training.data import batches, checked_images, checked_pair, device_of
from fastconv.training.modes import mode


class Evaluation(NamedTuple):
    """The mean loss and the fraction of right answers."""

    loss: float
    accuracy: float


def predict(model: Module, images, batch_size: int = 256) -> np.ndarray:
    """The logits (N, classes) of images (N, C, H, W), or of ``datasets.LazyImages``, in evaluation mode.

    Batches are copied to the device of the model's parameters, results back to the host. Raises ShapeError, DTypeError,
    TypeError or ValueError.

    >>> from fastconv.nn import Flatten
    >>> predict(Flatten(), np.ones((5, 1, 2, 2), np.float32), batch_size=2).shape
    (5, 4)
    """
    images = checked_images(images)
    size, device = parameters.positive_int("batch_size", batch_size), device_of(model)
    with mode(model, training=False), no_grad():
        return np.concatenate([model(arrays.moved(batch, device)).cpu().numpy() for _, batch in batches(images, size)])


def evaluate(model: Module, data, batch_size: int = 256, *, loss=None) -> Evaluation:
    """Mean loss and accuracy on ``data``, a pair (images, labels) or an ImageFolder, in evaluation mode.

    ``loss`` is a function of logits and labels that averages over the batch; cross-entropy by default. Batches are
    copied to the device of the model's parameters. Raises ShapeError, DTypeError, TypeError or ValueError.

    >>> from fastconv.nn import Flatten
    >>> evaluate(Flatten(), (np.eye(4, dtype=np.float32).reshape(4, 1, 2, 2), np.arange(4))).accuracy
    1.0
    """
    images, labels = checked_pair(data)
    size, device = parameters.positive_int("batch_size", batch_size), device_of(model)
    loss = CrossEntropyLoss() if loss is None else loss
    total, correct = 0.0, 0
    with mode(model, training=False), no_grad():
        for part, batch in batches(images, size):
            logits = model(arrays.moved(batch, device))
            total += loss(logits, arrays.moved(labels[part], device)).item() * len(labels[part])
            correct += count_correct(logits, labels[part])
    return Evaluation(total / len(labels), correct / len(labels))


def count_correct(logits: Tensor, labels: np.ndarray) -> int:
    """How many rows have their largest logit at the label."""
    return int(np.count_nonzero(logits.cpu().numpy().argmax(axis=1) == labels))
