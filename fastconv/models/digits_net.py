"""A small network for the bundled 8×8 digits."""

from __future__ import annotations

from fastconv.models.registry import Preprocessing, network
from fastconv.nn import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential


@network(Preprocessing(8, 8, (0.0,), (1.0,)))
def digits_net(num_classes: int = 10, *, dtype=None) -> Sequential:
    """Three 3×3 convolutions (24, 48, 64 maps) with one pooling, dropout, and one fully connected layer.

    Shapes: (N, 1, 8, 8) -> (N, num_classes). Raises ValueError or TypeError.

    >>> import numpy as np
    >>> digits_net()(np.zeros((2, 1, 8, 8), np.float32)).shape
    (2, 10)
    """
    return Sequential(
        {
            "conv1": Conv2d(1, 24, 3, padding=1, dtype=dtype),
            "relu1": ReLU(),
            "conv2": Conv2d(24, 48, 3, padding=1, dtype=dtype),
            "relu2": ReLU(),
            "pool": MaxPool2d(2),
            "conv3": Conv2d(48, 64, 3, padding=1, dtype=dtype),
            "relu3": ReLU(),
            "dropout": Dropout(0.3),
            "flatten": Flatten(),
            "fc": Linear(1024, num_classes, dtype=dtype),
        }
    )
