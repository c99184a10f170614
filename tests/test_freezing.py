"""Frozen layers: they keep their values, statistics and mode, and cost neither memory nor time in backward; heads."""

import copy
import gc
import weakref

import numpy as np
import pytest

import fastconv as fc
from fastconv import backends, models, nn, optim, training
from fastconv import functional as F

CLASSES = 3


class Block(nn.Module):
    """A convolution with its normalisation beside the way around it."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)) + x)


def make_net(classes=CLASSES):
    fc.manual_seed(0)
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(2, 16, 3, padding=1),
            "bn1": nn.BatchNorm2d(16),
            "relu": nn.ReLU(),
            "drop": nn.Dropout(0.5),
            "layer1": nn.Sequential(Block(16), Block(16)),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(16, classes),
        }
    )


@pytest.fixture
def images(rng):
    return rng.normal(size=(6, 2, 8, 8)).astype(np.float32)


@pytest.fixture
def labels(rng):
    return rng.integers(0, CLASSES, 6)


def frozen_names(model):
    return [name for name, module in model.named_modules() if module._frozen]


def trainable(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


@pytest.mark.parametrize(
    ("until", "frozen", "first_trainable"),
    [
        ("conv1", ["conv1"], "bn1.weight"),
        ("relu", ["conv1", "bn1", "relu"], "layer1.0.conv.weight"),
        (
            "layer1.0",
            ["conv1", "bn1", "relu", "drop", "layer1.0", "layer1.0.conv", "layer1.0.bn"],
            "layer1.1.conv.weight",
        ),
        ("layer1.0.conv", ["conv1", "bn1", "relu", "drop", "layer1.0.conv"], "layer1.0.bn.weight"),
    ],
)
def test_everything_up_to_a_name_is_frozen(until, frozen, first_trainable):
    net = make_net()
    assert fc.freeze(net, until) is net
    assert frozen_names(net) == frozen
    names = [name for name, _ in net.named_parameters()]
    assert trainable(net) == names[names.index(first_trainable) :]


def test_none_freezes_everything_and_unfreeze_takes_it_back():
    net = nn.freeze(make_net())
    assert frozen_names(net) == [name for name, _ in net.named_modules()]
    assert not trainable(net)
    assert nn.unfreeze(net, "layer1.1") is net
    assert trainable(net) == ["layer1.1.conv.weight", "layer1.1.bn.weight", "layer1.1.bn.bias"]
    net.train()
    assert [name for name, module in net.named_modules() if module.training] == [
        "layer1.1",
        "layer1.1.conv",
        "layer1.1.bn",
    ]
    fc.unfreeze(net).train()
    assert all(module.training for module in net.modules())
    assert len(trainable(net)) == len(list(net.parameters()))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("layer1.2", r"no module 'layer1.2'; there are 'layer1.1', 'layer1.0'"),
        ("cnov1", "no module 'cnov1'; there are 'conv1'"),
        ("@", "'conv1', 'bn1', 'relu', 'drop', 'layer1', 'pool', 'flatten', 'fc'$"),
        ("", "no module ''"),
    ],
)
@pytest.mark.parametrize("change", [nn.freeze, nn.unfreeze])
def test_wrong_names_are_answered_with_similar_ones(name, words, change):
    net = make_net()
    with pytest.raises(ValueError, match=words):
        change(net, name)
    assert not frozen_names(net)
    assert len(trainable(net)) == len(list(net.parameters()))


def test_what_cannot_be_frozen():
    with pytest.raises(TypeError, match=r"must be a fastconv.nn.Module, got list"):
        nn.freeze([], "a")
    with pytest.raises(TypeError, match="must be a str or None, got 3"):
        nn.freeze(make_net(), 3)
    with pytest.raises(ValueError, match="no module 'a'; it has none"):
        nn.freeze(nn.ReLU(), "a")


def test_frozen_layers_keep_values_and_statistics_while_the_rest_learns(images, labels):
    net = nn.freeze(make_net(), "layer1.0")
    before = {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}
    training.fit(net, (images, labels), epochs=2, batch_size=3, optimizer=optim.SGD(net.parameters(), lr=0.1))
    for name, tensor in net.state_dict().items():
        stays = not name.startswith(("layer1.1", "fc"))
        assert np.array_equal(tensor.numpy(), before[name]) == stays, name


def test_a_gradient_from_before_moves_nothing_that_was_frozen_since():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    net(np.ones((2, 4), np.float32)).sum().backward()
    nn.freeze(net, "0")
    before = net[0].weight.numpy().copy()
    optimizer.step()
    np.testing.assert_array_equal(net[0].weight.numpy(), before)


def test_frozen_layers_compute_as_in_evaluation_after_train(images):
    net = nn.freeze(make_net(), "layer1.1")
    expected = net.eval()(images).numpy()
    np.testing.assert_array_equal(net.train()(images).numpy(), expected)
    assert not net.bn1.training
    assert not net.drop.training
    assert net.fc.training


def graph(tensor):
    """All nodes of the tape that a result came from."""
    seen, waiting = [], [tensor._node]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.append(node)
            waiting += [edge.node for edge in node.edges if edge is not None]
    return seen


class Outputs(backends.Listener):
    """Remembers, without keeping it, every array that a kernel filled."""

    def __init__(self):
        self.outputs = []

    def launched(self, kernels, task, kernel, weight, run, operands):
        self.outputs.append((task.op, weakref.ref(operands[-1])))


def test_frozen_layers_save_nothing_and_compute_no_gradient(images, labels):
    net = nn.freeze(make_net(), "flatten").train()
    seen = Outputs()
    with backends.listening(seen):
        loss = F.cross_entropy(net(images), labels)
    assert [node.function.__name__ for node in graph(loss)] == ["CrossEntropy", "Linear"]
    kept = [array for node in graph(loss) for array in node.context.saved if array is not None]
    # The features and what the loss needs, but no map of any convolution, which has 24,576 bytes.
    assert sum(array.nbytes for array in kept) < 1000
    gc.collect()
    convolved = [array() for op, array in seen.outputs if op.startswith(("conv2d", "batch_norm"))]
    assert len(convolved) > 6
    assert [array.shape for array in convolved if array is not None and array.shape[2:] == (8, 8)] == []
    with backends.recording() as records:
        loss.backward()
    gradients = [(record.op, record.problem.geometry.K) for record in records if "conv2d_grad" in record.op]
    assert sorted(gradients) == [("conv2d_grad_bias", CLASSES), ("conv2d_grad_weight", CLASSES)]
    assert not [record.op for record in records if record.op.startswith(("batch_norm", "relu"))]
    assert [name for name, parameter in net.named_parameters() if parameter.grad is not None] == [
        "fc.weight",
        "fc.bias",
    ]


def test_the_first_trainable_layer_gets_no_gradient_of_its_input(images, labels):
    net = nn.freeze(make_net(), "layer1.0").train()
    loss = F.cross_entropy(net(images), labels)
    with backends.recording() as records:
        loss.backward()
    ops = [record.op for record in records if record.problem.geometry.x_shape[2:] == (8, 8)]
    # One convolution trains, and nothing before it: its own weight's gradient alone.
    assert [op for op in ops if op.startswith("conv2d_grad")] == ["conv2d_grad_weight"]
    free = make_net()
    with backends.recording() as records:
        F.cross_entropy(free(images), labels).backward()
    assert len([record for record in records if record.op == "conv2d_grad_input"]) == 3


def test_modules_may_have_something_of_their_own_that_is_called_frozen():
    class Own(nn.Module):
        def __init__(self, frozen):
            super().__init__()
            self.frozen = frozen

    layer = nn.Linear(2, 2)
    assert Own(layer).frozen is layer
    assert Own(True).train().training
    assert not nn.freeze(Own(False)).train().training


def test_copies_of_frozen_models_are_frozen():
    net = nn.freeze(make_net(), "bn1")
    copied = copy.deepcopy(net).train()
    assert frozen_names(copied) == ["conv1", "bn1"]
    assert not copied.bn1.training


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_new_head_reads_what_the_old_one_did(dtype):
    net = nn.freeze(make_net(1000).to(dtype))
    assert fc.replace_head(net, 5) == ["fc"]
    assert trainable(net) == ["fc.weight", "fc.bias"]
    assert (net.fc.in_features, net.fc.out_features, net.fc.weight.dtype) == (16, 5, dtype)
    assert net(np.zeros((1, 2, 8, 8), dtype)).shape == (1, 5)
    assert net.train().fc.training
    assert not net.bn1.training


def test_a_head_without_a_bias_stays_so():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
    assert nn.replace_head(net, 2) == ["1"]
    assert net[1].bias is None


def test_the_head_of_a_network_without_linear_layers_is_its_last_pointwise_convolution():
    features = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3))
    classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(8, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    net = nn.Sequential({"features": features, "classifier": classifier, "flatten": nn.Flatten()})
    assert nn.replace_head(net, 4) == ["classifier.1"]
    assert net(np.zeros((2, 3, 5, 5), np.float32)).shape == (2, 4)


def test_auxiliary_heads_are_replaced_with_the_main_one():
    net = make_net(10)
    net.register_module("aux1", nn.Sequential({"fc1": nn.Linear(4, 6), "fc2": nn.Linear(6, 10)}))
    net.register_module("AuxLogits", nn.Sequential({"conv0": nn.Conv2d(4, 6, 1), "fc": nn.Linear(6, 10)}))
    net.register_module("aux3", nn.ReLU())
    assert nn.head_names(net) == ["fc", "aux1.fc2", "AuxLogits.fc"]
    assert nn.replace_head(net, 7) == ["fc", "aux1.fc2", "AuxLogits.fc"]
    assert [layer.out_features for layer in (net.fc, net.aux1.fc2, net.AuxLogits.fc, net.aux1.fc1)] == [7, 7, 7, 6]


def test_heads_that_cannot_be_replaced():
    net = make_net()
    with pytest.raises(ValueError, match="num_classes must be a positive int, got 0"):
        nn.replace_head(net, 0)
    assert net.fc.out_features == CLASSES
    with pytest.raises(ValueError, match="neither a Linear nor a 1x1 Conv2d"):
        nn.replace_head(nn.Sequential(nn.Conv2d(1, 1, 3)), 2)
    with pytest.raises(ValueError, match="neither"):
        nn.replace_head(nn.Linear(2, 2), 2)


@pytest.mark.parametrize("name", models.names())
def test_the_head_of_every_network_is_found(name):
    with nn.init.skipped():
        network = models.create(name)
    kinds = {
        ("resne", "wide_resnet", "digit", "cifar"): ["fc"],
        ("vgg", "alexnet"): ["classifier.6"],
        ("squeezenet", "mobilenet"): ["classifier.1"],
        ("googlenet",): ["fc", "aux1.fc2", "aux2.fc2"],
        ("inception",): ["fc", "AuxLogits.fc"],
        ("lenet5",): ["fc3"],
    }
    (expected,) = (heads for beginnings, heads in kinds.items() if name.startswith(beginnings))
    nn.freeze(network)
    assert nn.replace_head(network, 3) == expected
    trained = {path: item.shape for path, item in network.named_parameters() if item.requires_grad}
    assert set(trained) == {f"{head}.{kind}" for head in expected for kind in ("weight", "bias")}
    assert {shape[0] for shape in trained.values()} == {3}
