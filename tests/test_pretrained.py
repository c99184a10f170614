"""Networks that take their weights from files: what they hold, what they do not draw, what is refused."""

import itertools
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from support import peers
from support.keras_layers import named

import fastconv as fc
from fastconv import models, nn, optim, training, weights
from fastconv.errors import FormatError, ShapeError


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


def save_with_torch(state, path):
    torch = pytest.importorskip("torch")
    torch.save({name: torch.tensor(value.numpy()) for name, value in state.items()}, path)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("resnet18", ".safetensors"),
        ("resnet50", ".safetensors"),
        pytest.param("resnet50", ".pth", marks=pytest.mark.oracle),
    ],
)
def test_nothing_is_drawn_and_nothing_copied(tmp_path, name, suffix):
    path = tmp_path / f"weights{suffix}"
    (weights.save if suffix == ".safetensors" else save_with_torch)(models.create(name, 7).state_dict(), path)
    models.create(name, weights=path)  # whatever is imported or cached by the first call
    before = fc.rng.generator().bit_generator.state
    tracemalloc.start()
    try:
        model = models.create(name, weights=path)
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


def test_the_file_decides_what_is_not_said(tmp_path, saved):
    _, path = saved
    assert models.resnet18(weights=path).fc.weight.shape == (7, 512)
    for option, name in itertools.product((True, False), ("googlenet", "inception_v3")):
        path = tmp_path / "weights.npz"
        weights.save(models.create(name, 5, aux_logits=option).state_dict(), path)
        loaded = models.create(name, weights=path)
        assert loaded.fc.weight.shape[0] == 5
        auxiliary = [key for key in loaded.state_dict() if key.startswith(("aux", "Aux"))]
        assert bool(auxiliary) is option
        if option:  # heads that nobody asks for stay in the file
            lean = models.create(name, weights=path, aux_logits=False)
            assert not [key for key in lean.state_dict() if key.startswith(("aux", "Aux"))]
        else:
            with pytest.raises(ShapeError, match=r"weights\.npz: error\(s\)[^$]*missing key"):
                models.create(name, weights=path, aux_logits=True)


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ({"fc.weight": 1}, TypeError, "got dict; load_state_dict takes dictionaries"),
        (3, TypeError, "a path or a name on the hub, got int"),
        ("https://example.org/resnet18.pth", ValueError, "got the address 'https://example.org/resnet18.pth'"),
        ("IMAGENET1K_V1", ValueError, "got 'IMAGENET1K_V1'; none are shipped"),
        ("", ValueError, "got ''; none are shipped"),
    ],
)
def test_what_names_no_file_says_what_would(source, kind, words):
    with pytest.raises(kind, match=f"^weights must be .*{re.escape(words)}"):
        models.resnet18(weights=source)


def test_counts_of_batches_may_be_missing(tmp_path, saved, rng):
    model, _ = saved
    state = {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    weights.save(state, tmp_path / "old.npz")
    loaded = models.resnet18(weights=tmp_path / "old.npz").eval()
    x = rng.normal(size=(1, 3, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x).numpy(), model(x).numpy())
    assert loaded.bn1.num_batches_tracked.item() == 0


def test_a_file_of_another_network_of_keras_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        named(file, {"conv1_conv": {"kernel": np.ones((7, 7, 3, 64), np.float32)}, "strange": {"kernel": np.ones(3)}})
    with pytest.raises(ShapeError, match=r"a\.h5: [^$]*missing key 'bn1\.weight'[^$]*unexpected key 'strange\.kernel'"):
        models.resnet50(3, weights=tmp_path / "a.h5")
    with pytest.raises(FormatError, match=r"Keras has no weights for alexnet; there are some for resnet50"):
        models.alexnet(weights=tmp_path / "a.h5")


def test_options_that_a_file_decides_wrongly_are_its_fault(tmp_path):
    weights.save({"fc3.bias": np.zeros(0, np.float32)}, tmp_path / "a.npz")
    with pytest.raises(FormatError, match=r"a\.npz: out_features must be a positive int, got 0"):
        models.lenet5(weights=tmp_path / "a.npz")
    h5py = pytest.importorskip("h5py")
    for shape, reason in (((100, 5), "pooled must be a positive int"), ((2**50, 0), "in_features is too large")):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            named(file, {"fc1": {"kernel": np.empty(shape, np.float32)}})
        with pytest.raises(FormatError, match=rf"a\.h5: {reason}"):
            models.vgg16(weights=tmp_path / "a.h5")
        with pytest.raises(ValueError, match=r"^out_features must be a positive int, got -1"):
            models.vgg16(-1, weights=tmp_path / "a.h5")


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet", "squeezenet1_1"])
def test_files_of_torchvision_give_its_outputs(tmp_path, torch, rng, name):
    options = {"init_weights": False} if name == "googlenet" else {}
    theirs = peers.network(torch, name, num_classes=6, **options).eval()
    theirs = peers.load(torch, theirs, peers.values(theirs.state_dict(), rng))
    parallel = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    torch.save({"epoch": 90, "state_dict": parallel}, tmp_path / "checkpoint.pth")
    ours = models.create(name, weights=tmp_path / "checkpoint.pth").eval()
    x = rng.normal(size=(2, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours(x).numpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_subnormal_weights_are_kept_and_count(tmp_path):
    model = models.digits_net(3)
    tiny = np.full(model.conv1.weight.shape, 1e-40, np.float32)
    weights.save({**model.state_dict(), "conv1.weight": tiny}, tmp_path / "a.safetensors")
    loaded = models.digits_net(weights=tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded.conv1.weight.numpy(), tiny)
    x = np.full((1, 1, 8, 8), 1e30, np.float32)
    out = fc.functional.conv2d(x, loaded.conv1.weight, padding=1).numpy()
    np.testing.assert_allclose(out[0, :, 4, 4], 9 * float(tiny.flat[0]) * 1e30, rtol=1e-6)


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


@pytest.mark.parametrize("begins", [(0, 0), (0, 2), (2, 0)], ids=["same", "behind", "before"])
def test_two_tensors_never_hold_the_same_memory(begins, rng):
    values = rng.normal(size=(6, 4, 3, 3)).astype(np.float32)
    first, second = (values[begin : begin + 4] for begin in begins)
    bias = np.zeros(4, np.float32)
    net = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)).eval()
    state = {"0.weight": first, "1.weight": second, "0.bias": bias, "1.bias": bias}
    net.load_state_dict(state, assign=True)
    assert np.shares_memory(net[0].weight.numpy(), values)
    x, kept = rng.normal(size=(1, 4, 8, 8)).astype(np.float32), second.copy()
    with fc.no_grad():
        expected = [net[1](x).numpy() for _ in range(3)][-1]
        net[0].weight.copy_(np.zeros_like(first))
        net[0].bias.copy_(np.ones_like(bias))
    np.testing.assert_array_equal(net[1].weight.numpy(), kept)
    np.testing.assert_array_equal(net[1](x).numpy(), expected)


def test_a_parameter_of_two_names_holds_what_both_bring():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    weight = np.eye(3, dtype=np.float32)
    net.load_state_dict({"0.weight": weight, "1.weight": weight}, assign=True)
    assert net[0].weight is net[1].weight
    assert np.shares_memory(net[0].weight.numpy(), weight)


def test_two_names_of_one_array_in_a_file_are_two_weights(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        named(file, {"a": {"bias:0": np.ones(4, np.float32)}, "b": {}})
        file["b"].attrs["weight_names"] = [b"bias:0"]
        file["b"]["bias:0"] = file["a"]["bias:0"]
    state = weights.load(tmp_path / "a.h5", writable=True)
    net = nn.Sequential({"a": nn.BatchNorm2d(4), "b": nn.BatchNorm2d(4)})
    net.load_state_dict(state, strict=False, assign=True)
    with fc.no_grad():
        net.a.bias.copy_(np.zeros(4))
    assert net.b.bias.numpy().tolist() == [1, 1, 1, 1]


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown network 'resnet1'; there are alexnet, .*vgg11"):
        models.create("resnet1")


@pytest.mark.oracle
def test_the_page_on_weights_runs(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    page = (Path(__file__).parents[1] / "docs" / "weights.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(compile(re.search(r"```python\n(import numpy.*?)```", page, re.DOTALL)[1], "docs/weights.md", "exec"), {})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mobilenet_v2", {"pad_behind": True, "eps": 1e-3}),
        ("resnet50", {"stride_in_1x1": True, "bias": True, "eps": 1.001e-5}),
        ("inception_v3", {"aux_logits": False, "count_include_pad": False}),
        ("vgg16", {"pooled": 1}),
    ],
)
def test_a_network_with_the_options_of_keras_is_the_same_from_its_own_file(name, options, tmp_path, rng):
    fc.manual_seed(0)
    model = models.create(name, 5, **options)
    nn.replace_head(model, 3)
    x = rng.normal(size=(2, 3, 96, 96)).astype(np.float32)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = 1.0
    with fc.no_grad():
        model(x)  # with statistics of its own no layer makes values so small that all networks agree
    model.eval()
    training.save_network(tmp_path / "a.safetensors", model, name, list("abc"))
    loaded = training.load_network(tmp_path / "a.safetensors").model.eval()
    training.save_network(tmp_path / "b.safetensors", loaded, name, list("abc"))
    again = training.load_network(tmp_path / "b.safetensors").model.eval()
    expected = model(x).numpy()
    np.testing.assert_array_equal(loaded(x).numpy(), expected)
    np.testing.assert_array_equal(again(x).numpy(), expected)


@pytest.mark.parametrize(
    "text", ["[", "[1]", '{"eps": "1"}', '{"eps": NaN}', '{"eps": 1e99}', '{"num_classes": 9}', '{"dtype": null}']
)
def test_options_in_a_file_are_moderate_numbers(text, tmp_path):
    model = models.lenet5(2)
    weights.save(model.state_dict(), tmp_path / "a.npz", {"model": "lenet5", "classes": '["a", "b"]', "options": text})
    with pytest.raises(FormatError, match="no numbers by names"):
        training.load_network(tmp_path / "a.npz")


def test_options_that_no_constructor_knows(tmp_path):
    texts = {"model": "lenet5", "classes": '["a", "b"]', "options": '{"evil": 1}'}
    weights.save(models.lenet5(2).state_dict(), tmp_path / "a.npz", texts)
    with pytest.raises(FormatError, match="lenet5 has no such options"):
        training.load_network(tmp_path / "a.npz")
