"""The passes around ResNet-18's convolutions, in training, and the steps of an optimiser on all parameters at once."""

from fastconv.bench.cases.kinds import AdamCase, AddReluCase, BatchNormCase, ReluCase, SgdCase


def _pass(kind, word, C, H, count):
    return kind(f"{word} {C}@{H}", "passes", (1, C, H, H), count)


# Channels, extent, and how many normalisations have a rectifier right behind them; but for the first as many have a sum
# between the two.
_SHAPES = ((64, 112, 1), (64, 56, 2), (128, 28, 2), (256, 14, 2), (512, 7, 2))
# What it belongs to, elements: a small network, ResNet-18, AlexNet.
_PARAMETERS = (("1.0 M", 1_000_000), ("resnet18 11.7 M", 11_689_512), ("alexnet 61.1 M", 61_100_840))

PASSES = (
    *(_pass(BatchNormCase, "batch_norm+relu", *shape) for shape in _SHAPES),
    *(_pass(ReluCase, "relu", *shape) for shape in _SHAPES[::2]),
    *(_pass(AddReluCase, "add_relu", *shape) for shape in _SHAPES[1:]),
    *(
        kind(f"{kind.kind} {name}", "passes", (1, elements))
        for kind in (SgdCase, AdamCase)
        for name, elements in _PARAMETERS
    ),
)
