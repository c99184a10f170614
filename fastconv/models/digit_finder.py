"""A network that says of a small window which digit stands in its middle, or that none does."""

from __future__ import annotations

from fastconv.models.registry import Preprocessing, network
from fastconv.nn import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential


@network(Preprocessing(12, 12, (0.0,), (1.0,)))
def digit_finder(num_classes: int = 11, *, dtype=None) -> Sequential:
    """Three 3×3 convolutions without padding (16, 16, 24 maps), one pooling, and one fully connected layer.

    The window is a digit of 8×8 pixels with 2 more on each side, by which it is told from what is off the middle. The
    last class is the background. Without padding no result depends on where a window ends, so that
    ``fastconv.fully_convolutional`` can slide the network over a page.

    Shapes: (N, 1, 12, 12) -> (N, num_classes). Raises ValueError or TypeError.

    >>> import numpy as np
    >>> digit_finder()(np.zeros((2, 1, 12, 12), np.float32)).shape
    (2, 11)
    """
    return Sequential(
        {
            "conv1": Conv2d(1, 16, 3, dtype=dtype),
            "relu1": ReLU(),
            "conv2": Conv2d(16, 16, 3, dtype=dtype),
            "relu2": ReLU(),
            "conv3": Conv2d(16, 24, 3, dtype=dtype),
            "relu3": ReLU(),
            "pool": MaxPool2d(2),
            "dropout": Dropout(0.3),
            "flatten": Flatten(),
            "fc": Linear(216, num_classes, dtype=dtype),
        }
    )
