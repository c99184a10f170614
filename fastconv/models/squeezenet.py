"""SqueezeNet: AlexNet's accuracy of 2016 with few parameters, most of them in 1 x 1 convolutions."""

from __future__ import annotations

from fastconv import functional
from fastconv.models.registry import network
from fastconv.nn import AdaptiveAvgPool2d, Conv2d, Dropout, Flatten, MaxPool2d, Module, ReLU, Sequential, init

# Maps of the squeezing convolution, and of each expanding one; None is a pooling.
_VERSION_1_0 = ((16, 64), (16, 64), (32, 128), None, (32, 128), (48, 192), (48, 192), (64, 256), None, (64, 256))
_VERSION_1_1 = ((16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256))


class Fire(Module):
    """A 1 x 1 convolution to few maps, and convolutions of 1 x 1 and 3 x 3 from these side by side, all rectified.

    Shapes: (N, C, H, W) -> (N, 2 · expanded, H, W).

    >>> import numpy as np
    >>> Fire(8, 2, 5)(np.zeros((1, 8, 4, 4), np.float32)).shape
    (1, 10, 4, 4)
    """

    def __init__(self, in_channels: int, squeezed: int, expanded: int, *, dtype=None):
        super().__init__()
        self.squeeze = Conv2d(in_channels, squeezed, 1, dtype=dtype)
        self.expand1x1 = Conv2d(squeezed, expanded, 1, dtype=dtype)
        self.expand3x3 = Conv2d(squeezed, expanded, 3, padding=1, dtype=dtype)

    def forward(self, x):
        """The maps of both expanding convolutions."""
        x = self.squeeze(x, activation="relu")
        return functional.cat([layer(x, activation="relu") for layer in (self.expand1x1, self.expand3x3)], 1)


@network()
def squeezenet1_0(num_classes: int = 1000, *, dropout: float = 0.5, dtype=None) -> Sequential:
    """The network of F. Iandola et al. (2016): 1,248,424 parameters for 1000 classes, under torchvision's names.

    Shapes: (N, 3, H, W) -> (N, num_classes), from 21 x 21 on; made for 224 x 224. Raises ValueError or TypeError.

    >>> import numpy as np
    >>> squeezenet1_0(10).eval()(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 10)
    """
    return _squeezenet(Conv2d(3, 96, 7, 2, dtype=dtype), _VERSION_1_0, num_classes, dropout, dtype)


@network()
def squeezenet1_1(num_classes: int = 1000, *, dropout: float = 0.5, dtype=None) -> Sequential:
    """Version 1.1, with 2.4 times fewer multiply-adds and 1,235,496 parameters, from 17 x 17 on; else as 1.0.

    >>> squeezenet1_1(10).features[0]
    Conv2d(3, 64, kernel_size=(3, 3), stride=(2, 2))
    """
    return _squeezenet(Conv2d(3, 64, 3, 2, dtype=dtype), _VERSION_1_1, num_classes, dropout, dtype)


def _squeezenet(first: Conv2d, version, num_classes, dropout, dtype) -> Sequential:
    features: list[Module] = [first, ReLU(), MaxPool2d(3, 2, ceil_mode=True)]
    channels = first.out_channels
    for maps in version:
        if maps is None:
            features.append(MaxPool2d(3, 2, ceil_mode=True))
        else:
            features.append(Fire(channels, *maps, dtype=dtype))
            channels = 2 * maps[1]
    last = Conv2d(channels, num_classes, 1, dtype=dtype)
    network = Sequential(
        {
            "features": Sequential(*features),
            "classifier": Sequential(Dropout(dropout), last, ReLU(), AdaptiveAvgPool2d((1, 1))),
            "flatten": Flatten(),
        }
    )
    network.apply(_initialise)
    init.normal_(last.weight, 0.0, 0.01)
    return network


def _initialise(module: Module) -> None:
    if isinstance(module, Conv2d):
        init.kaiming_uniform_(module.weight)
        init.zeros_(module.bias)
