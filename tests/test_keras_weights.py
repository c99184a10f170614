"""Weights of Keras: its networks, saved in its formats, give the same features and logits here."""

import collections
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import keras_layers

from fastconv import models, nn, training, weights
from fastconv.models.from_keras import conversion

FOLDER = Path(__file__).parent / "support"
# Name here and there, side of the images, classes.
NETWORKS = {
    "vgg16": ("VGG16", 64, 6),
    "resnet50": ("ResNet50", 64, 5),
    "inception_v3": ("InceptionV3", 107, 4),
    "mobilenet_v2": ("MobileNetV2", 96, 7),
}
# Of the same parts, with more layers.
DEEPER = {"vgg19": "VGG19", "resnet101": "ResNet101", "resnet152": "ResNet152"}
KINDS = ("keras", "weights.h5", "h5")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """All networks with random weights and statistics, saved by a process that runs Keras, with what they compute."""
    # Not imported here: without KERAS_BACKEND, Keras asks for another framework.
    if not all(map(importlib.util.find_spec, ("keras", "torch"))):
        pytest.skip("needs Keras and PyTorch")
    folder = tmp_path_factory.mktemp("keras")
    script = FOLDER / "keras_networks.py"
    environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-P", str(script), str(folder), json.dumps(NETWORKS), json.dumps(DEEPER)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def features(model, x):
    """What the network computes before it averages the maps."""
    if hasattr(model, "features"):
        return model.features(x)
    for name, module in model.named_children():
        if name == "avgpool":
            return x
        x = module(x)
    raise AssertionError("no pooling")


def assert_near(found, expected):
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.oracle
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_keras(saved, name, kind):
    expected = np.load(saved / f"{name}.npz")
    model = models.create(name, weights=saved / f"{name}.{kind}").eval()
    assert_near(model(expected["x"]), expected["logits"])
    if kind == "h5":
        assert_near(features(model, expected["x"]), expected["features"])


@pytest.mark.oracle
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_stay_those_of_keras_in_a_file_of_our_own(saved, tmp_path, name):
    expected = np.load(saved / f"{name}.npz")
    model = models.create(name, weights=saved / f"{name}.h5")
    classes = [f"class {label}" for label in range(expected["logits"].shape[1])]
    training.save_network(tmp_path / "own.safetensors", model, name, classes)
    assert_near(training.load_network(tmp_path / "own.safetensors").model.eval()(expected["x"]), expected["logits"])


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["inception_v3", "mobilenet_v2"])
def test_files_of_keras_2_give_the_same(saved, tmp_path, name):
    h5py = pytest.importorskip("h5py")
    layers = collections.defaultdict(dict)
    for key, values in weights.load(saved / f"{name}.h5").items():
        layer, _, role = key.rpartition(".")
        role = "depthwise_kernel" if role == "kernel" and "depthwise" in layer else role
        layers[layer][f"{layer}/{role}:0"] = values
    with h5py.File(tmp_path / "a.h5", "w") as file:
        keras_layers.named(file.create_group("model_weights"), layers, lambda names: np.array(list(names), "S"))
    expected = np.load(saved / f"{name}.npz")
    assert_near(models.create(name, weights=tmp_path / "a.h5").eval()(expected["x"]), expected["logits"])


@pytest.mark.oracle
@pytest.mark.parametrize("name", DEEPER)
def test_every_weight_of_the_deeper_networks_has_its_place(saved, name):
    shapes = json.loads((saved / "shapes.json").read_text())[name]
    arrays = {key: np.broadcast_to(np.int8(0), shape) for key, shape in shapes.items()}
    convert = conversion(name)
    with nn.init.skipped():
        model = models.create(name, **convert.options_for(arrays))
    targets = {key: value.shape for key, value in model.state_dict().items() if not key.endswith("tracked")}
    assert {key: value.shape for key, value in convert.translate(arrays, list(targets)).items()} == targets


@pytest.mark.oracle
@pytest.mark.parametrize("name", NETWORKS)
def test_without_the_top_the_head_is_drawn(saved, name):
    expected = np.load(saved / f"{name}.npz")
    model = models.create(name, 3, weights=saved / f"{name}_notop.weights.h5").eval()
    assert_near(features(model, expected["x"]), expected["features"])
    logits = model(expected["x"])
    assert logits.shape == (len(expected["x"]), 3)
    assert np.ptp(logits.numpy()) > 0
