"""The networks that bear torchvision's names: its keys, shapes, counts and starting values, and torch's results."""

import itertools
import math

import numpy as np
import pytest

import fastconv as fc
from fastconv import models, nn

# Parameters for 1000 classes, as torchvision counts them.
COUNTS = {"alexnet": 61_100_840, "vgg11": 132_863_336, "resnet18": 11_689_512}
every_network = pytest.mark.parametrize("name", COUNTS)


@pytest.fixture(scope="module")
def networks():
    """Each network once, for few classes; none of it may be changed."""
    fc.manual_seed(5)
    return {name: getattr(models, name)(7).eval() for name in COUNTS}


def layers(prefix, shapes):
    """Names and shapes of layers with bias, whose numbers and weights are given."""
    named = ((f"{prefix}.{number}", shape) for number, shape in shapes.items())
    return {
        key: part for name, shape in named for key, part in ((f"{name}.weight", shape), (f"{name}.bias", shape[:1]))
    }


def normalisation(name, channels):
    """Names and shapes of a batch normalisation."""
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{key}": (channels,) for key in vectors}, f"{name}.num_batches_tracked": ()}


def block(name, C, K):
    """Names and shapes of a residual block."""
    found = {f"{name}.conv1.weight": (K, C, 3, 3), **normalisation(f"{name}.bn1", K)}
    found |= {f"{name}.conv2.weight": (K, K, 3, 3), **normalisation(f"{name}.bn2", K)}
    if C != K:
        found |= {f"{name}.downsample.0.weight": (K, C, 1, 1), **normalisation(f"{name}.downsample.1", K)}
    return found


def expected(name, classes):
    """Names and shapes of a network's state, in torchvision's order."""
    if name == "alexnet":
        maps = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
        units = {1: (4096, 9216), 4: (4096, 4096), 6: (classes, 4096)}
        return layers("features", maps) | layers("classifier", units)
    if name == "vgg11":
        channels = (3, 64, 128, 256, 256, 512, 512, 512, 512)
        maps = {
            number: (K, C, 3, 3)
            for number, (C, K) in zip((0, 3, 6, 8, 11, 13, 16, 18), itertools.pairwise(channels), strict=True)
        }
        units = {0: (4096, 25088), 3: (4096, 4096), 6: (classes, 4096)}
        return layers("features", maps) | layers("classifier", units)
    found = {"conv1.weight": (64, 3, 7, 7), **normalisation("bn1", 64)}
    for number, (C, K) in enumerate(itertools.pairwise((64, 64, 128, 256, 512)), 1):
        found |= block(f"layer{number}.0", C, K) | block(f"layer{number}.1", K, K)
    return found | {"fc.weight": (classes, 512), "fc.bias": (classes,)}


@every_network
def test_names_and_shapes_are_torchvisions(name, networks):
    state = networks[name].state_dict()
    assert [(key, tensor.shape) for key, tensor in state.items()] == list(expected(name, 7).items())


@every_network
def test_parameters_for_1000_classes_are_counted_as_torchvision_does(name, networks):
    learned = {key for key, _ in networks[name].named_parameters()}
    shapes = expected(name, 1000)
    assert sum(math.prod(shapes[key]) for key in learned) == COUNTS[name]


@every_network
def test_batches_of_any_size(name, networks, rng):
    x = rng.standard_normal((3, 3, 67, 71), np.float32)
    with fc.no_grad():
        out = networks[name](x).numpy()
        assert out.shape == (3, 7)
        assert networks[name](x[:0]).shape == (0, 7)
        np.testing.assert_array_equal(networks[name](x[1:2]).numpy(), out[1:2])


def test_a_small_network_in_float64_gives_gradients_to_all_of_its_parameters(rng):
    model = models.resnet18(3, dtype=np.float64)
    out = model(rng.standard_normal((2, 3, 33, 34)))
    assert out.dtype == np.float64
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "key", "deviation"),
    [
        ("vgg11", "features.8.weight", math.sqrt(2 / (256 * 9))),
        ("vgg11", "classifier.3.weight", 0.01),
        ("vgg11", "classifier.0.bias", 0.0),
        ("vgg11", "features.0.bias", 0.0),
        ("resnet18", "conv1.weight", math.sqrt(2 / (64 * 49))),
        ("resnet18", "layer2.0.downsample.0.weight", math.sqrt(2 / 128)),
        ("resnet18", "layer4.1.bn2.weight", 0.0),
        ("resnet18", "fc.weight", 1 / math.sqrt(3 * 512)),
        ("alexnet", "features.3.weight", 1 / math.sqrt(3 * 64 * 25)),
        ("alexnet", "classifier.4.bias", 1 / math.sqrt(3 * 4096)),
    ],
)
def test_starting_values_are_spread_as_in_torchvision(name, key, deviation, networks):
    values = networks[name].state_dict()[key].numpy()
    assert values.std() == pytest.approx(deviation, rel=0.05)
    assert abs(values.mean() - key.endswith("bn2.weight")) <= 6 * deviation / math.sqrt(values.size)


def test_dropout_is_an_argument():
    rates = [module.p for module in models.alexnet(2, dropout=0.25).modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.25, 0.25]


def sequential_peer(torch, name, size, x, state):
    """AlexNet or VGG of torch's functions; the convolutions' strides and pads, and where poolings are."""
    f = torch.nn.functional
    conv = {"alexnet": {0: (4, 2), 3: (1, 2)}, "vgg11": {}}[name]
    pools = {"alexnet": {0: 3, 3: 3, 10: 3}, "vgg11": dict.fromkeys((0, 3, 8, 13, 18), 2)}[name]
    for number in sorted({int(key.split(".")[1]) for key in state if key.startswith("features")}):
        stride, padding = conv.get(number, (1, 1))
        x = f.relu(f.conv2d(x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], stride, padding))
        if number in pools:
            x = f.max_pool2d(x, pools[number], 2)
    x = f.adaptive_avg_pool2d(x, size).flatten(1)
    units = sorted({int(key.split(".")[1]) for key in state if key.startswith("classifier")})
    for number in units:
        x = f.linear(x, state[f"classifier.{number}.weight"], state[f"classifier.{number}.bias"])
        x = x if number == units[-1] else f.relu(x)
    return x


def residual_peer(torch, x, state):
    """ResNet-18 of torch's functions."""
    f = torch.nn.functional

    def normalised(x, name):
        mean, var, weight, bias = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return f.batch_norm(x, mean, var, weight, bias)

    x = f.relu(normalised(f.conv2d(x, state["conv1.weight"], None, 2, 3), "bn1"))
    x = f.max_pool2d(x, 3, 2, 1)
    for layer, number in itertools.product(range(1, 5), range(2)):
        name, stride = f"layer{layer}.{number}", 2 if layer > 1 and number == 0 else 1
        out = f.relu(normalised(f.conv2d(x, state[f"{name}.conv1.weight"], None, stride, 1), f"{name}.bn1"))
        out = normalised(f.conv2d(out, state[f"{name}.conv2.weight"], None, 1, 1), f"{name}.bn2")
        if f"{name}.downsample.0.weight" in state:
            down = f.conv2d(x, state[f"{name}.downsample.0.weight"], None, stride)
            x = normalised(down, f"{name}.downsample.1")
        x = f.relu(out + x)
    return f.linear(f.adaptive_avg_pool2d(x, 1).flatten(1), state["fc.weight"], state["fc.bias"])


@pytest.mark.oracle
@every_network
def test_results_equal_torchs(torch, name, networks, rng):
    x = rng.standard_normal((2, 3, 75, 83), np.float32)
    state = {key: torch.from_numpy(tensor.numpy().copy()) for key, tensor in networks[name].state_dict().items()}
    with torch.no_grad():
        if name == "resnet18":
            theirs = residual_peer(torch, torch.from_numpy(x), state)
        else:
            theirs = sequential_peer(torch, name, {"alexnet": 6, "vgg11": 7}[name], torch.from_numpy(x), state)
    with fc.no_grad():
        ours = networks[name](x).numpy()
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-4 * np.abs(ours).max())
