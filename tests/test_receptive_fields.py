"""Receptive fields: the known sizes, and the gradients of units, which reach exactly as far."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import models, nn
from fastconv.nn import init
from fastconv.receptive_fields import Progression, receptive_fields


# What A. Araujo, W. Norris and J. Sim, "Computing receptive fields of convolutional neural networks" (2019), lists;
# ResNet-18: 7 of conv1, 11 with the pooling, then 8, 16, 32 and 64 for each 3x3 convolution but the striding ones.
@pytest.mark.parametrize(
    ("name", "layer", "extent", "size", "jump"),
    [
        ("alexnet", "features.12", 224, 195, 32),
        ("vgg16", "features.30", 224, 212, 32),
        ("mobilenet_v2", "features.17", 224, 491, 32),
        ("inception_v3", "Mixed_7c", 299, 1311, 32),
        ("resnet18", "layer4", 224, 11 + 4 * 8 + (8 + 3 * 16) + (16 + 3 * 32) + (32 + 3 * 64), 32),
    ],
)
def test_published_sizes(name, layer, extent, size, jump):
    with init.skipped():
        model = models.create(name)
    fields = receptive_fields(model, (3, extent, extent))[layer]
    for part in (fields.rows, fields.cols):
        assert part.progression[:2] == (size, jump)


def positive(model, rng):
    """Weights that let nothing cancel, and rectifiers open."""
    for parameter in model.parameters():
        parameter.detach().copy_(rng.uniform(0.5, 1.0, parameter.shape).astype(np.float32))
    return model.eval()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 5, padding=2))

    def forward(self, x):
        return fc.functional.relu(self.inner(x) + x)


class Squeeze(nn.Module):
    """Scales every map by what is seen of all of it."""

    def forward(self, x):
        return x * x.mean((2, 3), keepdims=True)


NETWORKS = {
    "strides": lambda: [nn.Conv2d(2, 3, 3, 2, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(3, 2, 3, padding=1)],
    "unread pixels": lambda: [nn.Conv2d(2, 2, 3, 2), nn.Conv2d(2, 2, 3, padding=1)],
    "unequal": lambda: [nn.Conv2d(2, 2, (2, 3), (1, 2), ((1, 0), (0, 2))), nn.Conv2d(2, 2, (3, 1))],
    "same, even": lambda: [nn.Conv2d(2, 2, 4, padding="same"), nn.AvgPool2d(3, 1, 1)],
    "rounded up": lambda: [nn.AvgPool2d(3, 2, ceil_mode=True), nn.Conv2d(2, 2, 2)],
    "dilation": lambda: [nn.Conv2d(2, 2, 3, dilation=3, padding=3), nn.Conv2d(2, 2, 3, padding=1)],
    "deep padding": lambda: [nn.Conv2d(2, 2, 3, padding=4), nn.Conv2d(2, 2, 1)],
    "reflect": lambda: [nn.Conv2d(2, 2, 5, padding=4, padding_mode="reflect")],
    "circular": lambda: [nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), nn.Conv2d(2, 2, 3)],
    "transposed": lambda: [nn.Conv2d(2, 2, 3, 2), nn.ConvTranspose2d(2, 2, 3, 2, padding=1), nn.Conv2d(2, 2, 2)],
    "transposed, same size": lambda: [nn.ConvTranspose2d(2, 2, 2), nn.ConvTranspose2d(2, 2, 3, padding=1)],
    "padding layer": lambda: [nn.ZeroPad2d((2, 0, 1, 3)), nn.Conv2d(2, 2, 3, 2)],
    "adaptive": lambda: [nn.Conv2d(2, 2, 3, padding=1), nn.AdaptiveAvgPool2d((3, 4))],
    "residual": lambda: [nn.Conv2d(2, 2, 3, 2), Residual(), Residual()],
    "squeezed": lambda: [nn.Conv2d(2, 2, 3), Squeeze(), nn.Conv2d(2, 2, 2)],
    "connected": lambda: [nn.Conv2d(2, 2, 3, 2), nn.Flatten(), nn.Linear(72, 5)],
}


def box_of(mask):
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (rows[0], cols[0], rows[-1] + 1, cols[-1] + 1) if len(rows) else None


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_units_reach_exactly_as_far(name, rng):
    model = positive(nn.Sequential(*NETWORKS[name]()), rng)
    shape = (2, 13, 14)
    found = receptive_fields(model, shape)
    fields = found[list(found)[-1]]
    image = fc.tensor(rng.uniform(0.5, 1.0, (1, *shape)).astype(np.float32), requires_grad=True)
    for row in range(fields.shape[0]):
        for col in range(fields.shape[1]):
            image.grad = None
            out = model(image)
            (out[:, :, row, col] if out.ndim == 4 else out).sum().backward()
            seen = None if image.grad is None else box_of(image.grad.numpy()[0].any(axis=0))
            top, left, bottom, right = fields.box(row, col)
            assert seen == ((top, left, bottom, right) if top < bottom and left < right else None)


def test_gradients_reach_exactly_as_far_in_a_residual_network(rng):
    model = models.resnet18()
    model.maxpool = nn.AvgPool2d(3, 2, 1)  # of the largest value alone there would be a gradient
    positive(model, rng)
    fields = receptive_fields(model, (3, 70, 70))
    stages = nn.Sequential(model.conv1, model.maxpool, model.layer1, model.layer2)
    image = fc.tensor(np.ones((1, 3, 70, 70), np.float32), requires_grad=True)
    for row, col in ((0, 0), (4, 8), (8, 3)):
        image.grad = None
        stages(image)[:, :, row, col].sum().backward()
        assert box_of(image.grad.numpy()[0].any(axis=0)) == fields["layer2"].box(row, col)


def test_the_formula_holds_where_nothing_is_cut():
    model = nn.Sequential(nn.Conv2d(1, 1, 5, 2, 1), nn.MaxPool2d(3, 2))
    fields = receptive_fields(model, (1, 40, 50))["1"]
    assert fields.rows.progression == Progression(9, 4, -1)
    for unit in range(1, fields.shape[0]):
        assert (fields.rows.begins[unit], fields.rows.ends[unit]) == fields.rows.progression.at(unit)
    assert fields.box(0, 3) == (0, 11, 8, 20)


def test_the_model_is_as_before():
    model = models.resnet18().train()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    receptive_fields(model, (3, 64, 64))
    assert model.training
    assert all(np.array_equal(value.numpy(), before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


class Turned(nn.Module):
    def forward(self, x):
        return x.permute(0, 1, 3, 2)


def test_what_cannot_be_followed_is_refused():
    with pytest.raises(fc.UnsupportedError, match="Permute makes 9 x 8 units of 8 x 9"):
        receptive_fields(nn.Sequential(Turned()), (1, 8, 9))
    with pytest.raises(TypeError, match="must be a fastconv"):
        receptive_fields(len, (1, 8, 8))
    with pytest.raises(fc.ShapeError, match=r"shape \(C, H, W\)"):
        receptive_fields(models.lenet5(), (28, 28))
    with pytest.raises(fc.ShapeError, match="kernel size can't be greater"):
        receptive_fields(models.alexnet(), (3, 20, 20))
    with pytest.raises(IndexError, match=r"no unit \(10, 0\): the layer has 10 x 10"):
        receptive_fields(models.lenet5(), (1, 28, 28))["conv2"].box(10, 0)
