"""How a layer of a network is written in one line: ``C, H -> K, kernel, stride``."""

from dataclasses import replace

from fastconv.bench.cases.kinds import (
    AdaptiveAvgPoolCase,
    AdaptiveMaxPoolCase,
    AvgPoolCase,
    ConvCase,
    LinearCase,
    PoolCase,
)


def conv(suite, C, H, K, k, stride=1, padding=None, groups=1, count=1, bias=True):
    """A square layer, C channels of H x H to K; half padding unless said."""
    name = f"{C},{H}->{K} k{k}s{stride}" + (f"g{groups}" if groups > 1 else "")
    padding = k // 2 if padding is None else padding
    shapes = (1, C, H, H), (K, C // groups, k, k)
    return ConvCase(name, suite, *shapes, stride, padding, groups=groups, bias=bias, count=count)


def depthwise(suite, C, H, stride=1, count=1):
    """A 3 x 3 filter of its own for each of C channels."""
    return conv(suite, C, H, C, 3, stride, groups=C, bias=False, count=count)


def pointwise(suite, C, H, K, count=1):
    """A 1 x 1 layer."""
    return conv(suite, C, H, K, 1, bias=False, count=count)


def pool(network, C, H, k, stride, padding=0, ceil_mode=False, count=1):
    """A max-pooling of C channels of H x H in a network."""
    name = f"{network} {C}@{H} k{k}s{stride}"
    return PoolCase(name, "pool", (1, C, H, H), k, stride, padding, ceil_mode=ceil_mode, count=count)


def average(network, C, H, k, stride, padding=0, count=1):
    """An average-pooling of C channels of H x H in a network."""
    name = f"{network} average {C}@{H} k{k}s{stride}"
    return AvgPoolCase(name, "pool", (1, C, H, H), k, stride, padding, count=count)


def adaptive(network, C, H, size, largest=False):
    """The mean, or the largest, of each of size x size parts of C channels of H x H."""
    kind, word = (AdaptiveMaxPoolCase, "largest") if largest else (AdaptiveAvgPoolCase, "mean")
    return kind(f"{network} {word} {C}@{H} to {size}", "pool", (1, C, H, H), size)


def linear(network, inputs, outputs):
    """A fully connected layer of a network."""
    return LinearCase(f"{network} {inputs}->{outputs}", "linear", (1, inputs), (outputs, inputs))


def distinct(layers):
    """Equal layers once, with their counts added up."""
    found: dict[str, ConvCase] = {}
    for layer in layers:
        before = found.get(layer.name)
        found[layer.name] = layer if before is None else replace(before, count=before.count + layer.count)
    return tuple(found.values())
