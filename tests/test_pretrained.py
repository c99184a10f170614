"""Networks that take their weights from files: what they hold, what they do not draw, what is refused."""

import tracemalloc

import numpy as np
import pytest

import fastconv as fc
from fastconv import models, nn, optim, weights
from fastconv.errors import ShapeError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network of few classes with trained statistics, and its file."""
    fc.manual_seed(3)
    model = models.resnet18(7)
    model(np.random.default_rng(3).normal(size=(2, 3, 32, 32)).astype(np.float32))
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    weights.save(model.state_dict(), path)
    return model.eval(), path


def test_outputs_are_those_of_the_saved_network(saved, rng):
    model, path = saved
    x = rng.normal(size=(2, 3, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(models.resnet18(7, weights=path).eval()(x).numpy(), model(x).numpy())
    np.testing.assert_array_equal(models.create("resnet18", 7, weights=str(path)).eval()(x).numpy(), model(x).numpy())


def test_nothing_is_drawn_and_nothing_copied(saved):
    _, path = saved
    models.resnet18(7, weights=path)  # whatever is imported or cached by the first call
    before = fc.rng.generator().bit_generator.state
    tracemalloc.start()
    try:
        model = models.resnet18(7, weights=path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    nbytes = sum(parameter.numpy().nbytes for parameter in model.parameters())
    assert nbytes > 40e6
    assert peak < nbytes / 20, f"a peak of {peak:,} bytes for weights of {nbytes:,}"
    assert fc.rng.generator().bit_generator.state == before


def test_a_step_of_training_leaves_the_file_as_it_was(saved, rng):
    _, path = saved
    content = path.read_bytes()
    model = models.resnet18(7, weights=path)
    fc.functional.cross_entropy(model(rng.normal(size=(2, 3, 32, 32)).astype(np.float32)), np.array([1, 2])).backward()
    before = model.conv1.weight.numpy().copy()
    optim.SGD(model.parameters(), lr=0.1).step()
    assert (model.conv1.weight.numpy() != before).any()
    assert path.read_bytes() == content


def test_one_report_lists_what_does_not_fit(saved):
    _, path = saved
    with pytest.raises(ShapeError) as caught:
        models.resnet18(8, weights=path)
    assert "'fc.weight': size mismatch: shape (7, 512) in the state, (8, 512) in the module" in str(caught.value)
    with pytest.raises(ShapeError) as caught:
        models.alexnet(7, weights=path)
    assert "missing key 'features.0.weight'" in str(caught.value)
    assert "unexpected key 'conv1.weight'" in str(caught.value)


def test_assign_holds_what_can_be_held_and_copies_the_rest():
    layer = nn.Linear(3, 2)
    weight, bias = np.ones((2, 3), np.float32), np.zeros(2)
    layer.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    assert np.shares_memory(layer.weight.numpy(), weight)
    assert layer.bias.dtype == np.float32
    for unfit in (np.broadcast_to(np.float32(1), (2, 3)), weight.T.copy().T, np.frombuffer(weight.tobytes(), "f4")):
        unfit = unfit.reshape(2, 3)
        layer.load_state_dict({"weight": unfit, "bias": bias}, assign=True)
        assert not np.shares_memory(layer.weight.numpy(), unfit)
        np.testing.assert_array_equal(layer.weight.numpy(), unfit)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown network 'resnet1'; there are alexnet, .*vgg11"):
        models.create("resnet1")
