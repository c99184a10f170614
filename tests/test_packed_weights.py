"""Packed weights: used again only while the values are the same, in bounded bytes, and released with the parameter."""

import copy
import gc
import threading
import weakref

import numpy as np
import pytest
from support.backends import compiled_backends
from support.data import integers

import fastconv as fc
import fastconv.functional as F
from fastconv import backends, nn, optim
from fastconv.packed_weights import PackedWeights

store = backends.packed_weights


@pytest.fixture(autouse=True)
def _empty_store():
    gc.collect()
    store.clear()
    limit = store.limit
    yield
    store.limit = limit
    store.clear()


def layer_of(rng, *, bias=False, K=6):
    layer = nn.Conv2d(4, K, 3, padding=1, bias=bias)
    with fc.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(integers(rng, parameter.shape))
    return layer


def expected_of(layer, x):
    """The reference's answer for the values as they are, from plain arrays."""
    bias = None if layer.bias is None else layer.bias.numpy().copy()
    return F.conv2d(x, layer.weight.numpy().copy(), bias, padding=layer.padding, backend="reference")


def steps_of(function):
    """What happened to the weight in every kernel call that packs."""
    with backends.recording() as launches:
        function()
    return [record.weight for record in launches if record.weight is not None]


@compiled_backends
def test_kept_from_the_second_use_on(backend, rng):
    layer, x = layer_of(rng, bias=True), integers(rng, (2, 4, 6, 5))
    with fc.use_backend(backend), fc.no_grad():
        assert [steps_of(lambda: layer(x)) for _ in range(4)] == [["unpacked"], ["packed"], ["kept"], ["kept"]]
        assert store.nbytes >= layer.weight.numpy().nbytes
        np.testing.assert_array_equal(layer(x).numpy(), expected_of(layer, x))


@compiled_backends
def test_explain_tells(backend, rng):
    layer = layer_of(rng)
    with fc.use_backend(backend):
        found = [fc.explain(layer, (1, 4, 6, 5)).steps[0].weight for _ in range(3)]
        assert found == ["unpacked", "packed", "kept"]
        assert "kept" in str(fc.explain(layer, (1, 4, 6, 5)))
        assert fc.explain(F.max_pool2d, (1, 4, 6, 5), 2).steps[0].weight is None
    with fc.use_backend("reference"):
        assert fc.explain(layer, (1, 4, 6, 5)).steps[0].weight is None


@compiled_backends
@pytest.mark.parametrize("level", ["strict", "fast"])
def test_explain_reports_the_bytes_that_are_kept_of_each_parameter(backend, level):
    model = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 48, 3, bias=False))
    x = np.zeros((1, 32, 16, 16), np.float32).transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1)
    with fc.use_backend(backend), fc.use_precision(level):
        first, second = fc.explain(model, x), fc.explain(model, x)
    assert first.kept == dict.fromkeys(("0.weight", "0.bias", "1.weight"), 0)
    assert "are kept" not in str(first)
    assert second.kept["0.bias"] == 0
    # 36 numbers for 9 taps where tiles are transformed.
    share = 36 / 9 if level == "fast" else 1
    assert second.kept["0.weight"] >= share * model[0].weight.numpy().nbytes
    assert second.kept["1.weight"] >= share * model[1].weight.numpy().nbytes
    assert second.kept_bytes == sum(second.kept.values()) == store.nbytes
    assert f"weights of 2 parameters are kept: {store.nbytes:,} bytes" in str(second)
    with fc.no_grad():
        model[0].weight.copy_(model[0].weight)
    with fc.use_backend(backend), fc.use_precision(level):
        third = fc.explain(model, x)
    assert third.kept == {**second.kept, "0.weight": 0}
    store.clear()
    assert fc.explain(F.conv2d, (1, 4, 6, 5), (4, 4, 3, 3)).kept == {}
    assert store.nbytes_of(model[1].weight) == 0


@compiled_backends
def test_gradients_of_the_input_use_them_too(backend, rng):
    layer, x = layer_of(rng), fc.tensor(integers(rng, (1, 4, 6, 5)), requires_grad=True)
    grad_out = integers(rng, (1, 6, 6, 5))

    def call():
        x.grad = None
        layer(x).backward(grad_out)

    with fc.use_backend(backend):
        assert [steps_of(call) for _ in range(3)] == [["unpacked"] * 2, ["packed"] * 2, ["kept"] * 2]
    found = x.grad.tolist()
    with fc.use_backend("reference"):
        call()
    assert x.grad.tolist() == found


def _step(layer):
    optimizer = optim.SGD(layer.parameters(), lr=1.0)
    layer.weight.grad = fc.tensor(np.ones(layer.weight.shape, np.float32))
    optimizer.step()


def _momentum(layer):
    optimizer = optim.Adam(layer.parameters(), lr=1.0)
    layer.weight.grad = fc.tensor(np.ones(layer.weight.shape, np.float32))
    optimizer.step()


def _interrupted_step(layer):
    class Interrupted(optim.SGD):
        def _update(self, p, grad, state, group):
            super()._update(p, grad, state, group)
            raise KeyboardInterrupt

    layer.weight.grad = fc.tensor(np.ones(layer.weight.shape, np.float32))
    with pytest.raises(KeyboardInterrupt):
        Interrupted(layer.parameters(), lr=1.0).step()


def _assign(layer):
    layer.weight[1, 2] = 5


def _load(layer):
    layer.load_state_dict({"weight": np.full(layer.weight.shape, 2, np.float32)})


def _cast(layer):
    layer.double().float()
    layer.weight[...] = 3


def _replace(layer):
    layer.weight = nn.Parameter(np.full(layer.weight.shape, -1, np.float32))


WRITES = {
    "copy_": lambda layer: layer.weight.copy_(np.float32(2)),
    "zero_": lambda layer: layer.weight.zero_(),
    "item assignment": _assign,
    "a view": lambda layer: layer.weight.reshape(-1).__setitem__(3, 7),
    "a row": lambda layer: layer.weight[0].zero_(),
    "detach": lambda layer: layer.weight.detach().copy_(np.float32(4)),
    "state_dict": lambda layer: layer.state_dict()["weight"].zero_(),
    "load_state_dict": _load,
    "SGD": _step,
    "Adam": _momentum,
    "an interrupted step": _interrupted_step,
    "initialisation": lambda layer: nn.init.constant_(layer.weight, 2.0),
    "reset_parameters": lambda layer: layer.reset_parameters(),
    "cast": _cast,
    "another parameter": _replace,
}


@compiled_backends
@pytest.mark.parametrize("write", WRITES)
def test_a_write_is_seen(backend, write, rng):
    layer, x = layer_of(rng), integers(rng, (1, 4, 6, 5))
    with fc.use_backend(backend), fc.no_grad():
        for _ in range(3):
            before = layer(x).numpy()
        WRITES[write](layer)
        assert steps_of(lambda: layer(x)) == ["unpacked"]
        for _ in range(3):
            found = layer(x).numpy()
            np.testing.assert_allclose(found, expected_of(layer, x), rtol=1e-5, atol=1e-5)
        assert not np.array_equal(found, before)


@compiled_backends
def test_views_of_one_parameter_are_told_apart(backend, rng):
    layer, x = layer_of(rng), integers(rng, (1, 4, 6, 5))
    halves = [layer.weight.detach()[part] for part in (slice(0, 3), slice(3, 6))]
    with fc.use_backend(backend), fc.no_grad():
        for _ in range(4):
            for half in halves:
                np.testing.assert_array_equal(
                    F.conv2d(fc.tensor(x), half).numpy(), F.conv2d(x, half.numpy().copy(), backend="reference")
                )
            for start in (0, 3):  # new arrays, perhaps at the addresses of earlier ones
                part = layer.weight[start : start + 3]
                np.testing.assert_array_equal(
                    F.conv2d(x, part).numpy(), F.conv2d(x, part.numpy().copy(), backend="reference")
                )


@compiled_backends
def test_memory_that_a_cast_left_behind_is_told_apart(backend, rng):
    layer, x = layer_of(rng), integers(rng, (1, 4, 6, 5))
    old = layer.state_dict()["weight"]
    values = old.numpy().copy()
    layer.double().float()
    with fc.use_backend(backend), fc.no_grad():
        layer.weight.zero_()
        for _ in range(3):
            assert not layer(x).numpy().any()
            np.testing.assert_array_equal(
                F.conv2d(x, old, padding=1).numpy(), F.conv2d(x, values, padding=1, backend="reference")
            )


@compiled_backends
def test_a_copied_layer_has_its_own(backend, rng):
    layer, x = layer_of(rng), integers(rng, (1, 4, 6, 5))
    with fc.use_backend(backend), fc.no_grad():
        for _ in range(3):
            layer(x)
        other = copy.deepcopy(layer)
        other.weight.zero_()
        for _ in range(3):
            assert not other(x).numpy().any()
            np.testing.assert_array_equal(layer(x).numpy(), expected_of(layer, x))


@compiled_backends
def test_memory_that_numpy_can_write_to_is_packed_at_every_call(backend, rng):
    x, weight = integers(rng, (1, 4, 6, 5)), integers(rng, (6, 4, 3, 3))
    plain, leaf = fc.tensor(weight), fc.tensor(weight)
    view = leaf.numpy()
    leaf.requires_grad_()
    with fc.use_backend(backend):
        for given, writable in ((weight, weight), (plain, plain.numpy()), (leaf, view)):
            for value in range(4):
                writable[...] = value
                assert steps_of(lambda given=given: F.conv2d(x, given)) == ["unpacked"]
                np.testing.assert_array_equal(
                    np.asarray(F.conv2d(x, given)), F.conv2d(x, np.full_like(weight, value), backend="reference")
                )
        assert store.nbytes == 0


@compiled_backends
def test_training_keeps_nothing(backend, rng):
    model = nn.Sequential(layer_of(rng), nn.ReLU(), nn.Conv2d(6, 5, 3))
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    x = integers(rng, (2, 4, 6, 5))
    with fc.use_backend(backend):
        for size in (2, 2, 1, 2, 1, 1):
            optimizer.zero_grad()
            assert "kept" not in steps_of(lambda size=size: model(x[:size]).sum().backward())
            assert store.nbytes == 0
            optimizer.step()


@compiled_backends
def test_bytes_stay_flat_when_training_and_evaluation_alternate(backend, rng):
    layer, x = layer_of(rng), integers(rng, (2, 4, 6, 5))
    optimizer = optim.SGD(layer.parameters(), lr=1e-3)
    sizes = []
    with fc.use_backend(backend):
        for _ in range(5):
            optimizer.zero_grad()
            layer(x).sum().backward()
            optimizer.step()
            for _ in range(3):
                with fc.no_grad():
                    layer(x)
                    layer(x[:1])
            sizes.append(store.nbytes)
    assert sizes[0] > 0
    assert sizes == sizes[:1] * 5
    assert len(layer.weight._version.derived) == 1  # both batches share it


@compiled_backends
def test_released_with_the_parameter(backend, rng):
    model, x = nn.Sequential(layer_of(rng), nn.Conv2d(6, 5, 3)), integers(rng, (1, 4, 6, 5))
    with fc.use_backend(backend), fc.no_grad():
        for _ in range(3):
            model(x)
    kept = store.nbytes
    assert kept > 0
    watched = [weakref.ref(parameter) for parameter in model.parameters()]
    watched += [weakref.ref(entry) for p in model.parameters() for entry in p._version.derived.values()]
    assert len(watched) > 4
    del model[1]
    gc.collect()
    assert 0 < store.nbytes < kept
    del model
    gc.collect()
    assert store.nbytes == 0
    assert not [ref for ref in watched if ref() is not None]


@compiled_backends
def test_bytes_are_bounded_and_the_least_recently_used_goes(backend, rng):
    layers, x = [layer_of(rng) for _ in range(3)], integers(rng, (1, 4, 6, 5))
    with fc.use_backend(backend), fc.no_grad():
        for _ in range(2):
            layers[0](x)
        one = store.nbytes
        store.limit = 2 * one
        for _ in range(2):
            layers[1](x)
        layers[0](x)
        for _ in range(2):
            layers[2](x)
        assert store.nbytes == 2 * one
        assert [steps_of(lambda layer=layer: layer(x))[0] for layer in (layers[0], layers[2])] == ["kept"] * 2
        assert steps_of(lambda: layers[1](x)) == ["packed"]
        store.limit = one
        assert store.nbytes == one
        assert steps_of(lambda: layers[1](x)) == ["kept"]
        store.limit = one - 1
        assert store.nbytes == 0
        for layer in layers * 3:
            assert steps_of(lambda layer=layer: layer(x)) == ["packed"]
            np.testing.assert_array_equal(layer(x).numpy(), expected_of(layer, x))
        assert store.nbytes == 0


@compiled_backends
def test_emptying(backend, rng):
    layer, x = layer_of(rng), integers(rng, (1, 4, 6, 5))
    with fc.use_backend(backend), fc.no_grad():
        for _ in range(3):
            layer(x)
        assert store.nbytes > 0
        store.clear()
        assert store.nbytes == 0
        assert [steps_of(lambda: layer(x)) for _ in range(2)] == [["packed"], ["kept"]]


@compiled_backends
@pytest.mark.parametrize(
    ("layer", "numbers"), [(nn.Linear(600, 500), 1), (nn.Conv2d(64, 48, 3), 16 / 9)], ids=["linear", "conv"]
)
def test_a_weight_is_packed_once_for_all_batches(backend, rng, layer, numbers):
    """``numbers``: how many are kept for one; tiles of 2 x 2 have 16 for nine taps."""
    shapes = [(n, 600) if isinstance(layer, nn.Linear) else (n, 64, 9, 9) for n in (1, 2, 3, 8, 9, 12, 16)]
    store.clear()
    for parameter in layer.parameters():
        with fc.no_grad():
            parameter.copy_(integers(rng, parameter.shape))
    with fc.use_backend(backend), fc.no_grad():
        for shape in shapes:
            x = integers(rng, shape)
            for _ in range(3):
                found = layer(x).numpy()
            with fc.use_backend("reference"):
                np.testing.assert_array_equal(found, layer(x).numpy())
    assert 1 <= store.nbytes / (layer.weight.numpy().nbytes * numbers) < 1.1
    store.clear()


def test_at_first_an_eighth_of_the_memory_that_is_left_may_be_kept(monkeypatch):
    monkeypatch.setattr("fastconv.memory.available_bytes", lambda: 8 << 30)
    own = PackedWeights()
    assert own.limit == 1 << 30
    for unknown_or_little in (None, 0):
        monkeypatch.setattr("fastconv.memory.available_bytes", lambda left=unknown_or_little: left)
        assert own.limit == 1 << 30
        assert PackedWeights().limit == 256 * 2**20


def test_a_limit_is_a_number_of_bytes():
    own = PackedWeights(256 * 2**20)
    assert own.nbytes == 0
    for wrong, error in ((-1, ValueError), (1.5, TypeError), (True, TypeError), ("1", TypeError)):
        with pytest.raises(error, match="limit must be"):
            own.limit = wrong
    assert own.limit == 256 * 2**20


@compiled_backends
def test_a_parameter_remembers_few_kernels(backend, rng):
    layer = layer_of(rng)
    with fc.use_backend(backend), fc.no_grad():
        for width in range(3, 150):
            layer(np.ones((1, 4, 3, width), np.float32))
            assert 1 <= len(layer.weight._version.derived) <= 64


@compiled_backends
def test_another_backend_packs_for_itself(backend, rng):
    layer, x = layer_of(rng), integers(rng, (1, 4, 6, 5))
    with fc.no_grad():
        for _ in range(3):
            for name in (backend, "reference", "auto"):
                with fc.use_backend(name):
                    np.testing.assert_array_equal(layer(x).numpy(), expected_of(layer, x))


@compiled_backends
def test_many_threads_use_and_one_writes(backend, rng):
    """No thread ever gets the product with a value that was overwritten before it began."""
    layers = [layer_of(rng) for _ in range(2)]
    x, wrong, stop = np.ones((1, 4, 3, 3), np.float32), [], threading.Event()
    written = [0.0, 0.0]
    with fc.no_grad():
        for layer in layers:
            layer.weight.zero_()

    def use():
        with fc.use_backend(backend), fc.no_grad():
            while not stop.is_set():
                for position, layer in enumerate(layers):
                    least = written[position]
                    if layer(x).numpy()[0, 0, 1, 1] < 36 * least:
                        wrong.append((position, least))

    def write():
        with fc.no_grad():
            for value in range(1, 120):
                for position, layer in enumerate(layers):
                    layer.weight.copy_(np.float32(value))
                    written[position] = float(value)
                store.limit = (0, 10_000, 1 << 20)[value % 3]
                if value % 10 == 0:
                    store.clear()
        stop.set()

    threads = [threading.Thread(target=use) for _ in range(4)] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    store.limit = 1 << 20
    with fc.use_backend(backend), fc.no_grad():
        for layer in layers:
            assert [steps_of(lambda layer=layer: layer(x)) for _ in range(3)][-1] == ["kept"]
            np.testing.assert_array_equal(layer(x).numpy(), expected_of(layer, x))
    assert store.nbytes <= store.limit
