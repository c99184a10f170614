"""Networks: published counts; torchvision's keys, shapes and starting values, as tables, for users without it."""

import itertools
import math

import numpy as np
import pytest

import fastconv as fc
from fastconv import models, nn

# Parameters for 1000 classes, as torchvision documents them; googlenet with its auxiliary classifiers, and
# alexnet_2012 as Caffe's copy of it, which has the paper's groups.
COUNTS = {
    "alexnet": 61_100_840,
    "alexnet_2012": 60_965_224,
    "googlenet": 13_004_888,
    "inception_v3": 27_161_264,
    "mobilenet_v2": 3_504_872,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "wide_resnet50_2": 68_883_240,
}
LISTED = ("alexnet", "vgg11", "resnet18")
SMALL = ("googlenet", "mobilenet_v2", "squeezenet1_0", "squeezenet1_1")


def count(model):
    """Its parameters."""
    return sum(math.prod(parameter.shape) for parameter in model.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_for_1000_classes_are_as_published(name):
    with nn.init.skipped():
        assert count(models.create(name)) == COUNTS[name]


def test_auxiliary_classifiers_can_be_left_out():
    with nn.init.skipped():
        assert count(models.googlenet(aux_logits=False)) == 6_624_904
        assert count(models.inception_v3(aux_logits=False)) == 27_161_264 - 3_326_696


def test_every_network_of_1000_classes_has_a_count():
    of_images = {name for name in models.names() if models.preprocessing(name).crop >= 224}
    assert of_images == set(COUNTS)


@pytest.fixture(scope="module")
def networks():
    """Each network once, for few classes; none of it may be changed."""
    fc.manual_seed(5)
    return {name: getattr(models, name)(7).eval() for name in (*LISTED, *SMALL, "inception_v3")}


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


@pytest.mark.parametrize("name", LISTED)
def test_names_and_shapes_are_torchvisions(name, networks):
    state = networks[name].state_dict()
    assert [(key, tensor.shape) for key, tensor in state.items()] == list(expected(name, 7).items())


@pytest.mark.parametrize("name", [*LISTED, *SMALL])
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
        ("googlenet", "inception4a.branch3.1.conv.weight", 0.01),
        ("googlenet", "fc.weight", 0.01),
        ("inception_v3", "Mixed_6c.branch7x7_2.conv.weight", 0.1),
        ("inception_v3", "AuxLogits.conv1.conv.weight", 0.1),
        ("inception_v3", "AuxLogits.fc.weight", 0.001),
        ("mobilenet_v2", "features.17.conv.2.weight", math.sqrt(2 / 320)),
        ("mobilenet_v2", "features.17.conv.1.0.weight", math.sqrt(2 / (960 * 9))),
        ("mobilenet_v2", "classifier.1.weight", 0.01),
        ("squeezenet1_1", "features.12.expand3x3.weight", math.sqrt(2 / (64 * 9))),
        ("squeezenet1_1", "classifier.1.weight", 0.01),
        ("squeezenet1_0", "features.0.bias", 0.0),
    ],
)
def test_starting_values_are_spread_as_in_torchvision(name, key, deviation, networks):
    values = networks[name].state_dict()[key].numpy()
    assert values.std() == pytest.approx(deviation, rel=0.05)
    assert abs(values.mean() - key.endswith("bn2.weight")) <= 6 * deviation / math.sqrt(values.size)


@pytest.mark.parametrize("name", ["googlenet", "resnet18", "squeezenet1_1"])
def test_folded_networks_are_repeated_without_reordering(name, networks):
    explained = fc.explain(fc.fuse(networks[name]), (1, 3, 67, 71))
    assert "batch_norm_forward" not in {step.op for step in explained.steps}
    assert {step.layout for step in explained.steps[1:]} == {"channels_last"}
    assert "are repeated" in explained.passes


def test_dropout_is_an_argument():
    with nn.init.skipped():
        model = models.alexnet(2, dropout=0.25)
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.25, 0.25]


def test_a_block_that_adds_nothing_starts_as_the_identity(rng):
    model = models.resnet50(2, zero_init_residual=True).eval()
    block = model.layer1[1]
    x = np.abs(rng.standard_normal((1, 256, 5, 6), np.float32))
    np.testing.assert_array_equal(block(x).numpy(), x)


def test_options_of_residual_networks_move_strides_and_add_biases():
    with nn.init.skipped():
        model = models.resnet50(5, stride_in_1x1=True, bias=True, eps=1.001e-5)
    first = model.layer2[0]
    assert (first.conv1.stride, first.conv2.stride, first.downsample[0].stride) == ((2, 2), (1, 1), (2, 2))
    assert all(module.bias is not None for module in model.modules() if isinstance(module, nn.Conv2d))
    assert {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {1.001e-5}
    assert model.layer1[0].conv1.stride == (1, 1)
    with pytest.raises(TypeError, match="stride_in_1x1"):
        models.resnet18(5, stride_in_1x1=True)


def test_a_wider_and_a_narrower_mobilenet():
    with nn.init.skipped():
        narrow, wide = models.mobilenet_v2(5, 0.35), models.mobilenet_v2(5, width_mult=1.4)
    assert [layer.conv[-2].out_channels for layer in narrow.features[1:4]] == [8, 8, 8]
    assert (wide.features[0][0].out_channels, wide.classifier[1].in_features) == (48, 1792)


def test_options_that_weights_of_keras_need():
    with nn.init.skipped():
        mobile = models.mobilenet_v2(5, pad_behind=True, eps=1e-3)
        inception = models.inception_v3(5, count_include_pad=False)
    strided = [module for module in mobile.modules() if isinstance(module, nn.Conv2d) and module.stride == (2, 2)]
    assert {module.padding for module in strided} == {((0, 1), (0, 1))}
    assert len(strided) == 5
    assert {module.eps for module in mobile.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}
    averages = [module for module in inception.modules() if isinstance(module, nn.AvgPool2d)]
    assert {module.count_include_pad for module in averages} == {False}


def test_the_network_of_2012_normalises_as_its_paper_says(rng):
    with nn.init.skipped():
        model = models.alexnet_2012(3)
    x = rng.uniform(0, 100, (1, 96, 1, 1))
    squares = np.array([(x[0, max(0, i - 2) : i + 3, 0, 0] ** 2).sum() for i in range(96)])
    expected = x[0, :, 0, 0] / (2 + 1e-4 * squares) ** 0.75
    np.testing.assert_allclose(model.features[2](x).numpy()[0, :, 0, 0], expected, rtol=1e-12)
