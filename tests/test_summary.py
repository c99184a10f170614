"""What ``summary`` says of networks, beside numbers that were worked out by hand, and beside ``explain``."""

import json

import numpy as np
import pytest

import fastconv as fc
import fastconv.functional as F
from fastconv import models, nn
from fastconv.cli import main
from fastconv.errors import ShapeError


def empty(name, *args, **options):
    """A network without values; a summary asks for none."""
    with nn.init.skipped():
        return models.create(name, *args, **options)


def by_name(found):
    return {layer.name: layer for layer in found.layers}


def test_the_network_of_2012_layer_by_layer():
    found = fc.summary(empty("alexnet_2012"), (3, 227, 227))
    first = found.layers[0]
    assert (first.name, first.kind) == ("features.0", "Conv2d + relu")
    assert (first.filter_size, first.stride, first.padding, first.filters) == ((11, 11), (4, 4), ((0, 0), (0, 0)), 96)
    assert first.volume == (1, 96, 55, 55)
    assert first.parameters == 11 * 11 * 3 * 96 + 96 == 34_944
    assert first.multiply_adds == 55 * 55 * 96 * 11 * 11 * 3 == 105_415_200
    assert first.activation_bytes == 4 * 55 * 55 * 96
    layers = by_name(found)
    # Two groups: filters see half the maps.
    assert layers["features.4"].parameters == 5 * 5 * 48 * 256 + 256
    assert layers["features.4"].multiply_adds == 27 * 27 * 256 * 5 * 5 * 48
    assert layers["features.3"].volume == (1, 96, 27, 27)
    assert (layers["features.3"].filter_size, layers["features.3"].filters) == ((3, 3), None)
    assert (layers["classifier.1"].filter_size, layers["classifier.1"].filters) == (None, 4096)
    assert layers["classifier.1"].parameters == 9216 * 4096 + 4096
    assert found.parameters == 60_965_224
    assert found.multiply_adds == 724_406_816


@pytest.mark.parametrize(
    ("name", "size", "published"),
    [
        ("resnet18", 224, 1.814),
        ("resnet50", 224, 4.089),
        ("resnext50_32x4d", 224, 4.230),
        ("vgg16", 224, 15.470),
        ("inception_v3", 299, 5.713),
        ("googlenet", 224, 1.498),
        ("mobilenet_v2", 224, 0.301),
        ("squeezenet1_0", 224, 0.819),
        ("squeezenet1_1", 224, 0.349),
    ],
)
def test_multiply_adds_are_as_torchvision_documents_them(name, size, published):
    """In thousands of millions, with three decimals."""
    assert round(fc.summary(empty(name), (3, size, size)).multiply_adds / 1e9, 3) == published


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v2", "squeezenet1_1"])
def test_multiply_adds_are_half_of_what_explain_counts(name):
    model = models.create(name, 5).eval()
    explained = {}
    for step in fc.explain(model, (2, 3, 45, 50)).steps:
        if step.op.startswith("conv2d"):
            explained[step.layer] = explained.get(step.layer, 0) + step.flops
    found = fc.summary(model, (2, 3, 45, 50))
    assert {layer.name: 2 * layer.multiply_adds for layer in found.layers if layer.multiply_adds} == explained


class Own(nn.Module):
    """A user's network: a layer called twice, an operation beside the layers, a branch, own and unused parameters."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, (3, 1), padding=(1, 0))
        self.scale = nn.Parameter(np.ones((4, 1, 1), np.float32))
        self.unused = nn.Linear(3, 2)

    def forward(self, x):
        x = self.conv(self.conv(x))
        return F.max_pool2d(x, 2) * self.scale


def test_any_module_is_followed_call_by_call():
    found = fc.summary(Own(), (4, 6, 8))
    assert [(layer.name, layer.kind) for layer in found.layers] == [
        ("conv", "Conv2d"),
        ("conv", "Conv2d"),
        ("", "max_pool2d"),
        ("", "Own"),
        ("unused", "Linear"),
    ]
    conv, again, pool, product, unused = found.layers
    assert (conv.parameters, again.parameters, pool.parameters, unused.parameters) == (52, 0, 4, 8)
    assert (conv.status, again.status, pool.status, product.status) == ("trainable", "shared", "trainable", "shared")
    assert conv.filter_size == (3, 1)
    assert conv.padding == ((1, 1), (0, 0))
    assert conv.multiply_adds == again.multiply_adds == 6 * 8 * 4 * 3 * 4
    assert pool.volume == product.volume == (1, 4, 3, 4)
    assert unused.volume is None
    assert found.parameters == 52 + 4 + 8
    assert found.activation_bytes == 4 * (2 * 4 * 48 + 2 * 4 * 12)


def test_views_take_no_memory_and_copies_do():
    model = nn.Sequential(nn.Dropout(0.5), nn.Identity(), nn.Flatten(), nn.Linear(12, 2))
    found = by_name(fc.summary(model, (3, 2, 2)))
    assert found["0"].activation_bytes == found["2"].activation_bytes == 0
    assert found["3"].activation_bytes == 8
    assert "1" not in found  # a chain passes over what does nothing


def test_frozen_and_mixed_layers_are_named():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    model[0].requires_grad_(False)
    model[1].bias.requires_grad_(False)
    found = fc.summary(model, (3, 2, 2))
    assert [layer.status for layer in found.layers] == ["frozen", "mixed", "trainable"]
    assert (found.parameters, found.trainable_parameters) == (16 + 20 + 10, 16 + 10)


def test_branches_of_training_are_listed_though_nobody_calls_them():
    found = fc.summary(empty("googlenet", 10), (3, 64, 64))
    uncalled = {layer.name.split(".")[0] for layer in found.layers if layer.volume is None}
    assert uncalled == {"aux1", "aux2"}
    assert found.parameters == sum(p.numpy().size for p in empty("googlenet", 10).parameters())


def test_the_model_is_as_before(rng):
    model = models.resnet18(4)
    model.layer1.eval()
    state = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    training = [module.training for module in model.modules()]
    for shape, refused in (((3, 33, 33), False), ((4, 33, 33), True)):
        if refused:
            with pytest.raises(ShapeError):
                fc.summary(model, shape)
        else:
            fc.summary(model, shape)
        assert [module.training for module in model.modules()] == training
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), state[name])


def test_several_inputs_and_outputs():
    class Two(nn.Module):
        def forward(self, x, y):
            return {"sum": x + y, "both": (x, y)}

    found = fc.summary(Two(), (2, 3), [2, 3])
    assert found.input_shapes == ((2, 3), (2, 3))
    assert found.layers[0].volume == (2, 3)
    assert found.layers[0].activation_bytes == 24


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((len, (3, 8, 8)), TypeError, "model must be a fastconv.nn.Module, got builtin_function_or_method"),
        ((nn.ReLU(), 3), TypeError, "an input shape must be a tuple of ints"),
        ((nn.ReLU(), (3, 0, 8)), ValueError, "positive"),
        ((nn.ReLU(), (3, 8.0, 8)), TypeError, "must be an int"),
    ],
)
def test_what_is_no_model_or_shape_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fc.summary(*arguments)


def test_no_kernel_is_prepared_and_no_weight_packed():
    model = empty("vgg11", 3)
    before = fc.backends.packed_weights.nbytes
    with fc.use_backend("reference"):  # would take minutes
        fc.summary(model, (3, 224, 224))
    assert fc.backends.packed_weights.nbytes == before


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    path = tmp_path / "net.json"
    assert main(["summary", "lenet5", "--batch", "2", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "conv1 Conv2d + relu 5x5 1 2 6 2x6x28x28 156 235,200 37,632 trainable" in " ".join(printed.split())
    assert "61,706 parameters (61,706 trainable), 833,040 multiply-adds" in printed
    written = json.loads(path.read_text())
    assert written["input_shapes"] == [[2, 1, 28, 28]]
    assert written["totals"]["parameters"] == 61_706
    assert written["layers"][0]["padding"] == [[2, 2], [2, 2]]


def test_the_command_takes_an_image_size_classes_and_weights(tmp_path, capsys):
    path = tmp_path / "weights.npz"
    fc.weights.save(models.lenet5(4).state_dict(), path)
    assert main(["summary", "lenet5", "--num-classes", "4", "--weights", str(path)]) == 0
    assert main(["summary", "resnet18", "--input", "3,64,96", "--num-classes", "4"]) == 0
    assert "1x512x2x3" in capsys.readouterr().out
    assert main(["summary", "lenet5", "--num-classes", "5", "--weights", str(path)]) == 1
    assert "size mismatch" in capsys.readouterr().err
    assert main(["summary", "lenet6"]) == 1
    assert "unknown network 'lenet6'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["summary", "lenet5", "--input", "28,28"])
    assert "must be C,H,W" in capsys.readouterr().err


def test_a_terminal_sees_a_drawn_table(monkeypatch, capsys):
    pytest.importorskip("rich")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["summary", "lenet5"]) == 0
    printed = capsys.readouterr().out
    assert "│" in printed
    assert "61,706 parameters" in printed
