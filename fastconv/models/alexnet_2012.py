"""AlexNet as it won in 2012: two towers, which were two graphics cards, and normalisation across channels."""

from __future__ import annotations

from fastconv.models.alexnet import with_classifier
from fastconv.models.registry import Preprocessing, network
from fastconv.nn import Conv2d, Linear, LocalResponseNorm, MaxPool2d, Module, ReLU, Sequential, init


@network(Preprocessing(256, 227))
def alexnet_2012(num_classes: int = 1000, *, dropout: float = 0.5, dtype=None) -> Sequential:
    """The network of A. Krizhevsky, I. Sutskever and G. Hinton (2012): 60,965,224 parameters for 1000 classes.

    Its 96 filters of 11 x 11 x 3 at stride 4 give 55 x 55 x 96 for images of 227 x 227. The second, fourth and fifth
    convolution have two groups. Names, order and what is where are those of ``alexnet``; normalisations come behind the
    first two rectifiers, with the paper's k = 2, n = 5, alpha = 1e-4 (in torch's terms 5e-4, as it divides by n) and
    beta = 0.75. Shapes: (N, 3, H, W) -> (N, num_classes), from 67 x 67 on. Raises ValueError or TypeError.

    >>> alexnet_2012(10).features[0]
    Conv2d(3, 96, kernel_size=(11, 11), stride=(4, 4))
    """
    features = Sequential(
        Conv2d(3, 96, 11, stride=4, dtype=dtype),
        ReLU(),
        LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
        MaxPool2d(3, 2),
        Conv2d(96, 256, 5, padding=2, groups=2, dtype=dtype),
        ReLU(),
        LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
        MaxPool2d(3, 2),
        Conv2d(256, 384, 3, padding=1, dtype=dtype),
        ReLU(),
        Conv2d(384, 384, 3, padding=1, groups=2, dtype=dtype),
        ReLU(),
        Conv2d(384, 256, 3, padding=1, groups=2, dtype=dtype),
        ReLU(),
        MaxPool2d(3, 2),
    )
    network = with_classifier(features, num_classes, dropout, dtype)
    network.apply(_initialise)
    # So that rectifiers begin with inputs above zero.
    for layer in (features[4], features[10], features[12], network.classifier[1], network.classifier[4]):
        init.ones_(layer.bias)
    return network


def _initialise(module: Module) -> None:
    """The paper's N(0, 0.01²), and biases of zero."""
    if isinstance(module, (Conv2d, Linear)):
        init.normal_(module.weight, 0.0, 0.01)
        init.zeros_(module.bias)
