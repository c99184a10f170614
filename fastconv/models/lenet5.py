"""LeNet-5, with rectifiers and max-pooling in the places of the sigmoids and the trained averages of 1998."""

from __future__ import annotations

from fastconv.models.registry import Preprocessing, network
from fastconv.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


@network(Preprocessing(28, 28, (0.0,), (1.0,)))
def lenet5(num_classes: int = 10, in_channels: int = 1, *, dtype=None) -> Sequential:
    """The network of Y. LeCun et al. (1998): two 5×5 convolutions (6, 16 maps), pooled, and layers of 120 and 84.

    Shapes: (N, in_channels, 28, 28) -> (N, num_classes). Raises ValueError or TypeError.

    >>> import numpy as np
    >>> lenet5()(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """
    return Sequential(
        {
            "conv1": Conv2d(in_channels, 6, 5, padding=2, dtype=dtype),
            "relu1": ReLU(),
            "pool1": MaxPool2d(2),
            "conv2": Conv2d(6, 16, 5, dtype=dtype),
            "relu2": ReLU(),
            "pool2": MaxPool2d(2),
            "flatten": Flatten(),
            "fc1": Linear(400, 120, dtype=dtype),
            "relu3": ReLU(),
            "fc2": Linear(120, 84, dtype=dtype),
            "relu4": ReLU(),
            "fc3": Linear(84, num_classes, dtype=dtype),
        }
    )
