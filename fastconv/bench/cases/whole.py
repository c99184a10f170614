"""Whole networks: a step of their training, with a batch as one trains them on a small machine, and inference."""

from fastconv.bench.cases.kinds import NetworkCase

# Name in ``fastconv.models``, shape of one image, images of a training step; 0 where that would take too long.
_NETWORKS = (
    ("lenet5", (1, 28, 28), 128),
    ("cifar_small", (3, 32, 32), 64),
    ("alexnet", (3, 224, 224), 16),
    ("vgg11", (3, 224, 224), 4),
    ("vgg16", (3, 224, 224), 0),
    ("resnet18", (3, 224, 224), 16),
)

TRAINING = tuple(NetworkCase(name, "training", (1, *image), ("step",), (N,)) for name, image, N in _NETWORKS if N)
INFERENCE = tuple(NetworkCase(name, "inference", (1, *image), ("forward",), (1, 16)) for name, image, _ in _NETWORKS)
