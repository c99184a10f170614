"""Weights of Keras: its networks, saved in its formats, give the same features and logits here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastconv import models

FOLDER = Path(__file__).parent / "support"
# Name here and there, side of the images, classes.
NETWORKS = {
    "vgg16": ("VGG16", 64, 6),
    "resnet50": ("ResNet50", 64, 5),
    "inception_v3": ("InceptionV3", 107, 4),
    "mobilenet_v2": ("MobileNetV2", 96, 7),
}
KINDS = ("keras", "weights.h5", "h5")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """All networks with random weights and statistics, saved by a process that runs Keras, with what they compute."""
    pytest.importorskip("keras")
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("keras")
    script = FOLDER / "keras_networks.py"
    environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-P", str(script), str(folder), json.dumps(NETWORKS)],
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
def test_without_the_top_the_head_is_drawn(saved, name):
    expected = np.load(saved / f"{name}.npz")
    model = models.create(name, 3, weights=saved / f"{name}_notop.weights.h5").eval()
    assert_near(features(model, expected["x"]), expected["features"])
    logits = model(expected["x"])
    assert logits.shape == (len(expected["x"]), 3)
    assert np.ptp(logits.numpy()) > 0
