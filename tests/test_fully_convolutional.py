"""A classifier of windows that slides over an image says at each position what it says of the window there."""

import numpy as np
import pytest
from support.data import DTYPES, assert_same_bits, integers

import fastconv as fc
from fastconv import nn
from fastconv.errors import ShapeError


def integer_valued(model, rng):
    """The model with small integers in its parameters: every order of summation gives the same bits."""
    with fc.no_grad():
        for parameter in model.parameters():
            parameter.copy_(integers(rng, parameter.shape, parameter.dtype, 2))
    return model.eval()


def by_window(model, image, shape):
    """The model on every window (C, h, w) of an image (C, H, W): (classes, rows, columns)."""
    windows = np.lib.stride_tricks.sliding_window_view(image, shape)[0]
    with fc.no_grad():
        logits = model(windows.reshape(-1, *shape)).numpy()
    return logits.T.reshape(-1, *windows.shape[:2])


CHAINS = {
    "pooling, two linear layers": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(45, 7), nn.ReLU(), nn.Linear(7, 4)
        ),
        (2, 8, 8),
        2,
    ),
    "two strides behind one another": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 2, stride=2), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(16, 3)
        ),
        (1, 12, 12),
        4,
    ),
    "other strides along the axes, groups, dilation, no bias": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, (3, 2), stride=(1, 3), groups=2, dilation=(2, 1), bias=False),
            nn.ReLU6(),
            nn.MaxPool2d((3, 1), (1, 1)),
            nn.Flatten(),
            nn.Linear(24, 3, bias=False),
        ),
        (2, 9, 7),
        (1, 3),
    ),
    "nested, a mean, dropout, sizes that do not divide": (
        lambda: nn.Sequential(
            nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 2), nn.ReLU()),
            nn.Dropout(0.5),
            nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(24, 5), nn.LeakyReLU()),
        ),
        (3, 9, 7),
        2,
    ),
    "no linear layer": (lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 2)), (1, 4, 4), 1),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chain", CHAINS)
def test_every_position_gets_what_its_window_gets(chain, dtype, rng):
    build, shape, step = CHAINS[chain]
    model = integer_valued(build().to(dtype), rng)
    image = 4 * integers(rng, (shape[0], 21, 23), dtype)
    sliding = nn.fully_convolutional(model, shape)
    expected = by_window(model, image, shape)
    assert_same_bits(sliding(image).numpy(), expected)
    down, right = step if isinstance(step, tuple) else (step, step)
    strided = nn.fully_convolutional(model, shape, dense=False)
    assert_same_bits(strided(image).numpy(), np.ascontiguousarray(expected[:, ::down, ::right]))


@pytest.mark.parametrize("backend", [name for name, usable in fc.available_backends().items() if usable])
def test_windows_of_real_numbers_have_the_same_bits_wherever_they_lie(backend, rng):
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 40, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(640, 9),
    )
    sliding = fc.fully_convolutional(model, (3, 12, 12))
    image = rng.standard_normal((3, 33, 30)).astype(np.float32)
    with fc.use_backend(backend), fc.use_precision("strict"):
        found = sliding(image).numpy()
        assert_same_bits(found, by_window(sliding, image, (3, 12, 12)).copy())
        # The classifier itself adds the same terms in another order.
        np.testing.assert_allclose(found, by_window(model, image, (3, 12, 12)), atol=2e-6)


def test_the_original_is_neither_changed_nor_shared(rng):
    model = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 10)).train()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    sliding = fc.fully_convolutional(model, (1, 8, 8))
    assert model.training
    assert model[0].stride == (2, 2)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not sliding.training
    assert not any(parameter.requires_grad for parameter in sliding.parameters())
    with fc.no_grad():
        for parameter in model.parameters():
            parameter.copy_(np.zeros(parameter.shape, np.float32))
    for name, value in sliding.state_dict().items():
        np.testing.assert_array_equal(value.numpy().ravel(), before[name].ravel())


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        ([nn.Conv2d(1, 2, 3, padding=1)], ValueError, "layer '0', Conv2d.* reads beyond the ends"),
        ([nn.Conv2d(1, 2, 3, padding="same")], ValueError, "reads beyond the ends"),
        ([nn.Conv2d(1, 2, 1), nn.MaxPool2d(3, padding=1)], ValueError, "layer '1', MaxPool2d.* reads beyond"),
        ([nn.MaxPool2d(3, ceil_mode=True)], ValueError, "reads beyond the ends"),
        ([nn.AdaptiveAvgPool2d(1)], ValueError, "'0', AdaptiveAvgPool2d.* has no form that slides"),
        ([nn.MaxPool2d(2, return_indices=True)], ValueError, "no form that slides"),
        ([nn.Linear(8, 3)], ValueError, "'0', Linear.* has no form that slides"),
        ([nn.Flatten(2)], ValueError, "'0', Flatten.* has no form that slides"),
        ([nn.Flatten(), nn.Linear(64, 3), nn.BatchNorm1d(3)], ValueError, "'2', BatchNorm1d"),
        ([nn.MaxPool2d(2), nn.AvgPool2d(2)], ValueError, "cannot be dilated; pass dense=False"),
        ([nn.Conv2d(1, 2, 3)], ValueError, r"one answer for a window, but it ends with maps \(2, 6, 6\)"),
        ([nn.Flatten()], ValueError, "one answer for a window"),
        ([nn.Conv2d(1, 2, 9)], ShapeError, "kernel"),
        ([nn.Flatten(), nn.Linear(63, 3)], ShapeError, "63"),
        ([nn.Conv2d(2, 2, 3)], ShapeError, "channel"),
    ],
)
def test_what_cannot_slide_is_named(layers, error, words):
    with pytest.raises(error, match=words):
        fc.fully_convolutional(nn.Sequential(*layers), (1, 8, 8))


def test_bad_arguments():
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    with pytest.raises(TypeError, match="Module"):
        fc.fully_convolutional(len, (1, 3, 3))
    for shape in ((3, 3), 8, (1, 1, 8, 8)):
        with pytest.raises(ShapeError, match="input_shape must be"):
            fc.fully_convolutional(model, shape)
    with pytest.raises(ValueError, match="positive"):
        fc.fully_convolutional(model, (1, 0, 8))
    with pytest.raises(TypeError, match="dense"):
        fc.fully_convolutional(model, (1, 8, 8), dense=1)
