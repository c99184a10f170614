"""LocallyConnected2D of Keras 2: files and answers that Keras 2.15 (TensorFlow 2.15, on a CPU) wrote, and bad ones.

Every file holds the weights, drawn from N(0, 1), of a Sequential of one layer named ``local``: 3 filters of (3, 2) on
inputs of 6 x 5 with 2 channels. Its name says ``implementation``, ``data_format`` and ``padding``; strides are (2, 1)
where that is valid. Beside it are an input of two images and what ``predict`` made of it.
"""

from pathlib import Path

import numpy as np
import pytest
from support.backends import every_backend

import fastconv as fc
from fastconv import nn, weights
from fastconv.errors import ShapeError
from fastconv.models.keras_local import local_state

FILES = Path(__file__).parent / "keras2"
NAMES = sorted(path.stem for path in FILES.glob("*.h5"))
# How Keras pads for an even kernel: before.
PADS = {"valid": 0, "same": ((1, 1), (1, 0))}


@every_backend
@pytest.mark.parametrize("name", NAMES)
def test_layers_answer_as_keras_did(backend, name):
    *_, padding = name.split("_")
    data_format = "channels_first" if "first" in name else "channels_last"
    layer = nn.LocallyConnected2d(2, 3, (3, 2), (2, 1) if padding == "valid" else 1, PADS[padding], input_size=(6, 5))
    arrays, told = weights.load(FILES / f"{name}.h5"), np.load(FILES / f"{name}.npz")
    layer.load_state_dict(local_state(layer, arrays["local.kernel"], arrays["local.bias"], data_format))
    x, expected = told["x"], told["y"]
    if data_format == "channels_last":
        x, expected = x.transpose(0, 3, 1, 2), expected.transpose(0, 3, 1, 2)
    with fc.use_backend(backend):
        np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_files_are_of_every_implementation():
    assert [name[0] for name in NAMES] == ["1", "2", "3"]


def of_weight(weight, connected):
    """The kernels of all implementations and formats that have this weight, by implementation and format."""
    OH, OW, K, C, kH, kW = weight.shape
    last = weight.transpose(0, 1, 2, 4, 5, 3), connected.transpose(0, 1, 2, 4, 5, 3)
    first = weight.transpose(2, 0, 1, 3, 4, 5), connected.transpose(2, 0, 1, 3, 4, 5)
    return {
        (1, "channels_last"): weight.transpose(0, 1, 4, 5, 3, 2).reshape(OH * OW, kH * kW * C, K),
        (1, "channels_first"): weight.transpose(0, 1, 3, 4, 5, 2).reshape(OH * OW, C * kH * kW, K),
        (3, "channels_last"): last[0][last[1]],
        (3, "channels_first"): first[0][first[1]],
    }


@pytest.mark.parametrize(
    "key", [(number, layout) for number in (1, 3) for layout in ("channels_last", "channels_first")]
)
def test_layouts(key, rng):
    layer = nn.LocallyConnected2d(2, 3, (2, 3), input_size=(5, 4))
    weight = rng.standard_normal(layer.weight.shape)
    kernel = of_weight(weight, np.ones(weight.shape, bool))[key]
    np.testing.assert_array_equal(local_state(layer, kernel, data_format=key[1])["weight"], weight)


LAYER = nn.LocallyConnected2d(1, 2, 3, input_size=5)
REFUSED = {
    "two axes": (lambda: local_state(LAYER, np.zeros((9, 9))), ShapeError, r"1, 3 or 6 axes, got shape \(9, 9\)"),
    "patches": (lambda: local_state(LAYER, np.zeros((9, 8, 2))), ShapeError, r"shape \(9, 9, 2\) .* got \(9, 8, 2\)"),
    "pairs": (lambda: local_state(LAYER, np.zeros((5, 5, 1, 3, 3, 1))), ShapeError, r"shape \(5, 5, 1, 3, 3, 2\)"),
    "connections": (lambda: local_state(LAYER, np.zeros(161)), ShapeError, r"shape \(162,\) .* got \(161,\)"),
    "bias": (lambda: local_state(LAYER, np.zeros(162), np.zeros(2)), ShapeError, r"bias .* shape \(3, 3, 2\)"),
    "format": (lambda: local_state(LAYER, np.zeros(162), data_format="NHWC"), ValueError, "data_format must be one of"),
    "dilation": (
        lambda: local_state(nn.LocallyConnected2d(1, 2, 3, dilation=2, input_size=9), np.zeros(162)),
        ValueError,
        "neither groups nor dilation",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_arrays_are_refused(name):
    call, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        call()
