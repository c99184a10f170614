"""A small network for the 32×32 colour images of CIFAR-10."""

from __future__ import annotations

from fastconv.models.registry import Preprocessing, network
from fastconv.nn import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential


@network(Preprocessing(32, 32, (0.0,) * 3, (1.0,) * 3))
def cifar_small(num_classes: int = 10, *, dtype=None) -> Sequential:
    """Three 3×3 convolutions (32, 64, 128 maps), each rectified and halved, dropout, and one fully connected layer.

    Shapes: (N, 3, 32, 32) -> (N, num_classes). Raises ValueError or TypeError.

    >>> import numpy as np
    >>> cifar_small()(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    """
    return Sequential(
        {
            "conv1": Conv2d(3, 32, 3, padding=1, dtype=dtype),
            "relu1": ReLU(),
            "pool1": MaxPool2d(2),
            "conv2": Conv2d(32, 64, 3, padding=1, dtype=dtype),
            "relu2": ReLU(),
            "pool2": MaxPool2d(2),
            "conv3": Conv2d(64, 128, 3, padding=1, dtype=dtype),
            "relu3": ReLU(),
            "pool3": MaxPool2d(2),
            "flatten": Flatten(),
            "dropout": Dropout(0.5),
            "fc": Linear(2048, num_classes, dtype=dtype),
        }
    )
