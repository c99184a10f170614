"""Cached features: training on what the frozen part made once is training the whole network, bit for bit."""

import errno
import os

import numpy as np
import pytest

import fastconv as fc
from fastconv import functional as F
from fastconv import models, nn, optim, training
from fastconv.datasets import transforms
from fastconv.errors import UnsupportedError

CUTS = ["conv1", "bn", "pool", "blocks.0", "blocks.1.conv", "blocks.1", "flatten", "classifier.0"]


def block():
    return nn.Sequential({"conv": nn.Conv2d(16, 16, 3, padding=1), "relu": nn.ReLU()})


def make_net():
    fc.manual_seed(0)
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(2, 16, 3, padding=1),
            "bn": nn.BatchNorm2d(16),
            "relu": nn.ReLU(),
            "pool": nn.MaxPool2d(2),
            "blocks": nn.Sequential(block(), block()),
            "flatten": nn.Flatten(),
            "classifier": nn.Sequential(nn.Linear(256, 12), nn.ReLU(), nn.Dropout(0.4), nn.Linear(12, 3)),
        }
    )


@pytest.fixture
def data(rng):
    return rng.normal(size=(11, 2, 8, 8)).astype(np.float32), rng.integers(0, 3, 11)


def counted(module):
    """Counts the images that a module sees."""
    seen, forward = [], module.forward
    module.forward = lambda x, **options: (seen.append(len(x)), forward(x, **options))[1]
    return seen


def state(model):
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def test_frozen_layers_that_ask_for_gradients_again_are_trained(data):
    net = nn.freeze(make_net(), "flatten")
    net.blocks[0].conv.requires_grad_(True)
    frozen, rest = training.split(net)
    assert {id(p) for p in rest.parameters()} >= {id(p) for p in net.parameters() if p.requires_grad}
    assert not any(p.requires_grad for p in frozen.parameters())
    before = net.blocks[0].conv.weight.numpy().copy()
    training.finetune(net, data, epochs=1, progress=False)
    assert (net.blocks[0].conv.weight.numpy() != before).any()


@pytest.mark.parametrize("until", CUTS)
def test_both_parts_together_are_the_model(until, data):
    net = nn.freeze(make_net(), until)
    frozen, rest = training.split(net)
    assert all(module._frozen for module in frozen.modules() if not isinstance(module, nn.Sequential))
    assert {id(p) for p in rest.parameters()} == {id(p) for p in net.parameters() if p.requires_grad}
    net.eval()
    np.testing.assert_array_equal(rest(frozen(data[0])).numpy(), net(data[0]).numpy())


@pytest.mark.parametrize("until", CUTS)
@pytest.mark.parametrize("where", ["memory", "file"])
def test_training_on_features_is_training_the_model(until, where, data, tmp_path):
    results = []
    for is_cached in (False, True):
        net = nn.freeze(make_net(), until)
        given, model = data, net
        if is_cached:
            frozen, model = training.split(net)
            given = training.features(frozen, data, batch_size=4, folder=tmp_path if where == "file" else None)
        optimizer = optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=0.01)
        history = training.fit(model, given, epochs=3, batch_size=4, optimizer=optimizer, seed=1, validation=given)
        results.append((history, state(net)))
    assert results[0][0] == results[1][0]
    for name, array in results[0][1].items():
        np.testing.assert_array_equal(results[1][1][name], array, err_msg=name)


def test_features_are_computed_once_in_evaluation(data):
    net = nn.freeze(make_net(), "flatten")
    seen, before = counted(net.conv1), state(net)
    frozen, _ = training.split(net.train())
    kept, labels = training.features(frozen, data, batch_size=4)
    assert seen == [4, 4, 3]
    np.testing.assert_array_equal(labels, data[1])
    with fc.no_grad():
        expected = nn.Sequential(*list(net.eval())[:6])(data[0]).numpy()
    np.testing.assert_array_equal(kept, expected, strict=True)
    assert type(kept) is np.ndarray
    for name, array in state(net).items():
        np.testing.assert_array_equal(before[name], array)


def test_passes_hold_a_new_version_of_every_image_each(data):
    images, labels = data
    augment = transforms.random_shift(2)
    kept, repeated = training.features(nn.Flatten(), data, augment=augment, passes=3, seed=5, batch_size=4)
    assert kept.shape == (33, 128)
    np.testing.assert_array_equal(repeated, np.concatenate([labels] * 3))
    generator = np.random.default_rng(5)
    expected = [augment(images[i : i + 4], generator) for _ in range(3) for i in (0, 4, 8)]
    np.testing.assert_array_equal(kept, np.concatenate(expected).reshape(33, 128))


def test_a_file_of_features_has_no_name_and_goes_with_them(data, tmp_path):
    kept, _ = training.features(nn.Flatten(), data, folder=tmp_path)
    assert os.listdir(tmp_path) == []
    np.testing.assert_array_equal(kept, data[0].reshape(11, -1))
    owner = kept
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    assert type(owner).__name__ == "mmap"


def test_what_does_not_fit_is_refused_after_one_batch(data, tmp_path, monkeypatch):
    layer = nn.Flatten()
    seen = counted(layer)
    with pytest.raises(MemoryError, match="need 5,632 bytes, above the limit of 5,631; folder= keeps them in a file"):
        training.features(layer, data, batch_size=2, max_bytes=5631)
    with pytest.raises(OSError, match="need 5,632 bytes, above the limit of 5,631") as caught:
        training.features(layer, data, batch_size=2, max_bytes=5631, folder=tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert seen == [2, 2]
    assert training.features(layer, data, max_bytes=5632)[0].nbytes == 5632
    monkeypatch.setattr(fc.memory, "available_bytes", lambda: 10_000)
    with pytest.raises(MemoryError, match="above the limit of 5,000"):
        training.features(layer, data)
    with pytest.raises(FileNotFoundError):
        training.features(layer, data, folder=tmp_path / "absent")
    assert os.listdir(tmp_path) == []


def test_models_that_cannot_be_split():
    class Own(nn.Sequential):
        def forward(self, x):
            return super().forward(x + 1)

    with pytest.raises(ValueError, match="nothing at the beginning of the model is frozen"):
        training.split(make_net())
    with pytest.raises(ValueError, match="the whole model is frozen"):
        training.split(nn.freeze(make_net()))
    for model in (nn.freeze(Own(nn.Linear(2, 2), nn.Linear(2, 2)), "0"), nn.Linear(2, 2)):
        with pytest.raises(UnsupportedError, match="is no chain of layers"):
            training.split(model)


def test_the_head_of_googlenet_is_split_off(rng):
    fc.manual_seed(0)
    images, labels = rng.normal(size=(4, 3, 32, 32)).astype(np.float32), np.array([0, 1, 1, 0])
    whole = nn.freeze(models.googlenet(7))
    nn.replace_head(whole, 2)
    frozen, head = training.split(whole)
    assert head is whole.fc
    whole.eval()
    np.testing.assert_array_equal(head(frozen(images)).numpy(), whole(images).numpy())
    before = whole.fc.weight.numpy().copy()
    seen = counted(whole.conv1)
    training.finetune(whole, (images, labels), epochs=3)
    assert sum(seen) == 4
    assert (whole.fc.weight.numpy() != before).any()
    with pytest.raises(UnsupportedError, match="GoogLeNet is no chain"):
        training.split(nn.freeze(models.googlenet(2), "inception4a"))


def test_wrong_arguments_of_features(data):
    with pytest.raises(ValueError, match="passes=2 needs an augment"):
        training.features(nn.Flatten(), data, passes=2)
    with pytest.raises(ValueError, match="batch_size must be a positive int"):
        training.features(nn.Flatten(), data, batch_size=0)
    with pytest.raises(TypeError, match="must be a pair"):
        training.features(nn.Flatten(), data[0])


@pytest.mark.parametrize(
    ("augment", "passes", "expected"),
    [(None, None, 22), (transforms.random_flip(), 2, 33), (transforms.random_flip(), None, 3 * 22)],
    ids=["plain", "passes", "augmented"],
)
def test_finetuning_runs_the_frozen_part_as_rarely_as_it_can(data, augment, passes, expected):
    net = nn.freeze(make_net(), "flatten")
    seen, before = counted(net.conv1), state(net)
    history = training.finetune(net, data, epochs=3, validation=data, augment=augment, passes=passes)
    assert sum(seen) == expected
    assert len(history) == 3
    assert history[-1].validation_accuracy is not None
    for name, array in state(net).items():
        assert np.array_equal(before[name], array) != name.startswith("classifier"), name


def test_finetuning_a_model_that_is_no_chain(data):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = make_net()

        def forward(self, x):
            return self.body(x)

    whole, wrapped = nn.freeze(make_net(), "flatten"), nn.freeze(Wrapped(), "body.flatten")
    assert training.finetune(whole, data, epochs=2) == training.finetune(wrapped, data, epochs=2)
    assert len(training.finetune(make_net(), data, epochs=1)) == 1


def test_finetuning_what_cannot_be(data):
    with pytest.raises(ValueError, match="nothing is left to train"):
        training.finetune(nn.freeze(make_net()), data)
    with pytest.raises(ValueError, match="passes needs an augment"):
        training.finetune(make_net(), data, passes=2)
    with pytest.raises(ValueError, match="epochs must be a positive int"):
        training.finetune(make_net(), data, epochs=0)


def test_a_new_head_of_a_whole_network_learns(rng):
    fc.manual_seed(1)
    net = nn.freeze(models.resnet18())
    assert nn.replace_head(net, 2) == ["fc"]
    labels = np.arange(12) % 2
    images = rng.normal(size=(12, 3, 32, 32)).astype(np.float32)
    images[labels == 1] *= np.linspace(0, 2, 32, dtype=np.float32)
    training.finetune(net, (images, labels), epochs=60, learning_rate=0.01)
    assert training.evaluate(net, (images, labels)).accuracy == 1.0
    assert F.softmax(net.eval()(images), dim=1).shape == (12, 2)
