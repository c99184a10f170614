"""AlexNet in one tower."""

from __future__ import annotations

from fastconv.models.registry import network
from fastconv.nn import AdaptiveAvgPool2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential


@network()
def alexnet(num_classes: int = 1000, *, dropout: float = 0.5, dtype=None) -> Sequential:
    """The network of A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014).

    Five convolutions, three poolings and three fully connected layers; 61,100,840 parameters for 1000 classes, under
    torchvision's names. Shapes: (N, 3, H, W) -> (N, num_classes), from 63 x 63 on; made for 224 x 224. Raises
    ValueError or TypeError.

    >>> import numpy as np
    >>> alexnet(10).eval()(np.zeros((1, 3, 64, 64), np.float32)).shape
    (1, 10)
    """
    features = Sequential(
        Conv2d(3, 64, 11, stride=4, padding=2, dtype=dtype),
        ReLU(),
        MaxPool2d(3, 2),
        Conv2d(64, 192, 5, padding=2, dtype=dtype),
        ReLU(),
        MaxPool2d(3, 2),
        Conv2d(192, 384, 3, padding=1, dtype=dtype),
        ReLU(),
        Conv2d(384, 256, 3, padding=1, dtype=dtype),
        ReLU(),
        Conv2d(256, 256, 3, padding=1, dtype=dtype),
        ReLU(),
        MaxPool2d(3, 2),
    )
    return with_classifier(features, num_classes, dropout, dtype)


def with_classifier(features: Sequential, num_classes: int, dropout: float, dtype) -> Sequential:
    """The network whose 256 maps of any size go to three fully connected layers, as 6 x 6."""
    classifier = Sequential(
        Dropout(dropout),
        Linear(256 * 6 * 6, 4096, dtype=dtype),
        ReLU(),
        Dropout(dropout),
        Linear(4096, 4096, dtype=dtype),
        ReLU(),
        Linear(4096, num_classes, dtype=dtype),
    )
    return Sequential(
        {"features": features, "avgpool": AdaptiveAvgPool2d((6, 6)), "flatten": Flatten(), "classifier": classifier}
    )
