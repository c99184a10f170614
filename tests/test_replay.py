"""Recorded passes give what the modules would give, and only as long as they would."""

import gc
import threading
import weakref
from copy import copy, deepcopy

import numpy as np
import pytest
from support.backends import every_backend
from support.data import assert_same_bits

import fastconv as fc
import fastconv.functional as F
from fastconv import backends, models, nn, optim, replay

# A pass is recorded at the third input of a kind.
RECORDED = 3


def small():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 16, 5),
    ).eval()


def images(rng, n=2, size=8, channels=3):
    return rng.standard_normal((n, channels, size, size)).astype(np.float32)


def replaying(rng, model=None):
    """A fused model that has recorded a pass, and the same one that never does."""
    fused = fc.fuse(model or small())
    plain = deepcopy(fused)
    plain._replays = None
    for _ in range(RECORDED):
        fused(images(rng))
    assert is_recorded(fused)
    return fused, plain


def is_recorded(fused):
    return [type(found).__name__ for found in fused._replays._seen.values()] == ["_Pass"]


def calls_of_forward(monkeypatch):
    """Counts how often a model runs its modules."""
    calls, forward = [], nn.Sequential.forward
    monkeypatch.setattr(nn.Sequential, "forward", lambda self, x: calls.append(self) or forward(self, x))
    return calls


@every_backend
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("name", "shape"), [("lenet5", (1, 28, 28)), ("cifar_small", (3, 32, 32)), ("resnet18", (3, 40, 40))]
)
def test_networks_replayed_have_the_bits_of_their_modules(rng, backend, name, shape, batch):
    fused = fc.fuse(getattr(models, name)())
    plain = deepcopy(fused)
    plain._replays = None
    with fc.use_backend(backend):
        for _ in range(RECORDED + 2):
            x = rng.standard_normal((batch, *shape)).astype(np.float32)
            assert_same_bits(fused(x).numpy(), plain(x).numpy())
    assert is_recorded(fused)


def test_modules_run_until_the_pass_is_recorded_and_no_more(rng, monkeypatch):
    fused, calls = fc.fuse(small()), calls_of_forward(monkeypatch)
    for _ in range(RECORDED):
        fused(images(rng))
    ran = len(calls)
    for _ in range(3):
        fused(images(rng))
    assert len(calls) == ran > 0


def test_results_share_no_memory_with_later_ones(rng):
    fused, plain = replaying(rng)
    x, other = images(rng), images(rng)
    first = fused(x).numpy()
    kept = first.copy()
    second = fused(other).numpy()
    assert not np.may_share_memory(first, second)
    assert_same_bits(first, kept)
    assert_same_bits(second, plain(other).numpy())


def test_inputs_are_not_held_and_not_written(rng):
    fused, plain = replaying(rng)
    x = images(rng)
    expected = plain(x).numpy()
    x.flags.writeable = False
    assert_same_bits(fused(x).numpy(), expected)
    found = next(iter(fused._replays._seen.values())).replay
    assert not any(operand is x for _, operands in found._calls for operand in operands)


@pytest.mark.parametrize("kind", ["channels_last", "strided", "float64", "other size", "tensor"])
def test_every_kind_of_input_has_its_own_pass(rng, kind):
    fused, plain = replaying(rng)
    if kind == "float64":
        fused, plain = fused.double(), plain.double()
    for _ in range(RECORDED + 1):
        x = images(rng)
        x = {
            "channels_last": np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
            "strided": np.repeat(x, 2, axis=3)[..., ::2],
            "float64": x.astype(np.float64),
            "other size": images(rng, n=5),
            "tensor": fc.tensor(x),
        }[kind]
        assert_same_bits(fused(x).numpy(), plain(x).numpy())


def test_a_changed_parameter_is_seen(rng):
    fused, plain = replaying(rng)
    x = images(rng)
    for model in (fused, plain):
        model[0].weight.copy_(np.ones((16, 3, 3, 3), np.float32))
    for _ in range(RECORDED + 1):
        assert_same_bits(fused(x).numpy(), plain(x).numpy())


def _other_layer(model):
    model[5] = nn.Linear(256, 5).requires_grad_(False).eval()
    model[5].weight.copy_(np.ones((5, 256), np.float32))
    model[5].bias.copy_(np.ones(5, np.float32))


def _other_stride(model):
    model[3].stride = 1
    model[5] = nn.Identity()


def _no_layer(model):
    del model[2]


def _own_forward(model):
    model[3].forward = lambda x: F.avg_pool2d(x, 2)


@pytest.mark.parametrize("change", [_other_layer, _other_stride, _no_layer, _own_forward], ids=lambda f: f.__name__)
def test_a_changed_module_is_seen(rng, change):
    fused, plain = replaying(rng)
    for model in (fused, plain):
        change(model)
    for _ in range(RECORDED + 1):
        x = images(rng)
        assert_same_bits(fused(x).numpy(), plain(x).numpy())


def test_a_change_is_counted_after_it_was_made(rng, monkeypatch):
    """A thread that runs the model in the middle of a change must not take it for seen."""
    fused, plain = replaying(rng)
    x, place = images(rng), nn.Module._place

    def run_in_the_middle(module, registry, name, value):
        fused(x)
        place(module, registry, name, value)

    with monkeypatch.context() as patch:
        other = nn.AvgPool2d(2).eval()
        patch.setattr(nn.Module, "_place", run_in_the_middle)
        fused[3] = other
    plain[3] = other
    assert_same_bits(fused(x).numpy(), plain(x).numpy())


def test_the_order_of_modules_counts(rng):
    shared = nn.ReLU()
    model = nn.Sequential({"x": nn.Conv2d(3, 4, 3), "a": shared, "b": nn.Conv2d(4, 4, 3), "c": shared})
    fused, plain = replaying(rng, model)
    for changed in (fused, plain):
        moved = changed.b
        del changed.b
        changed.b = moved
    x = images(rng)
    assert_same_bits(fused(x).numpy(), plain(x).numpy())


def test_a_shallow_copy_does_not_share_passes(rng):
    fused = fc.fuse(nn.Sequential(nn.MaxPool2d(2)))[0]
    fused._replays = fc.fuse(nn.MaxPool2d(2))._replays
    shallow = copy(fused)
    shallow.stride = 1
    for _ in range(RECORDED + 1):
        assert shallow(images(rng)).shape == (2, 3, 7, 7)
        assert fused(images(rng)).shape == (2, 3, 4, 4)


def test_attributes_that_may_change_unseen_keep_a_model_from_being_recorded(rng):
    fused = fc.fuse(nn.Sequential(nn.MaxPool2d([2, 2])))
    for _ in range(RECORDED + 1):
        fused(images(rng))
    assert not is_recorded(fused)
    fused[0].kernel_size[0] = 3
    assert fused(images(rng)).shape == (2, 3, 2, 4)


def test_weights_as_input_are_not_taken_for_every_input(rng):
    fused = fc.fuse(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)))
    for _ in range(RECORDED):
        fused(fused[0].weight.detach())
    x = rng.standard_normal((3, 3, 3, 3)).astype(np.float32)
    assert_same_bits(fused(x).numpy(), fused.forward(fc.tensor(x)).numpy())


def test_models_of_several_results_run_their_modules(rng):
    fused = fc.fuse(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, return_indices=True)))
    for _ in range(RECORDED + 1):
        values, indices = fused(images(rng))
        assert values.shape == indices.shape == (2, 4, 3, 3)


def test_without_memory_to_record_a_model_runs_its_modules(rng, monkeypatch):
    fused = fc.fuse(small())

    def no_memory(*args):
        raise MemoryError

    monkeypatch.setattr(replay, "Replay", no_memory)
    for _ in range(RECORDED + 1):
        fused(images(rng))
    monkeypatch.undo()
    for _ in range(2 * RECORDED):
        fused(images(rng))
    assert is_recorded(fused)


def test_a_model_is_freed_with_its_last_reference(rng):
    fused, _ = replaying(rng)
    weight = weakref.ref(fused[0].weight)
    gc.collect()
    gc.disable()
    try:
        del fused, _
        assert weight() is None
    finally:
        gc.enable()


def test_passes_hold_little_memory_and_no_packed_weights_that_are_to_go(rng):
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.Flatten())
    fused = fc.fuse(model)
    for _ in range(RECORDED):
        fused(images(rng, n=8, size=64))
    (found,) = fused._replays._seen.values()
    assert isinstance(found.replay._arena, int)
    assert found.replay._arena > 2**20
    held = [operand for _, operands in found.replay._calls for operand in operands if isinstance(operand, np.ndarray)]
    assert sum(array.nbytes for array in held) < 2**20
    packed = [weakref.ref(array) for array in held if array.nbytes > 64 * 64 * 9]
    assert packed
    del held, found
    fc.backends.packed_weights.clear()
    assert [reference() for reference in packed] == [None] * len(packed)
    x = images(rng, n=8, size=64)
    for _ in range(2 * RECORDED):
        assert_same_bits(fused(x).numpy(), fused.forward(fc.tensor(x)).numpy())
    assert is_recorded(fused)


def test_many_kinds_of_input_are_known_at_once(rng, monkeypatch):
    fused, calls = fc.fuse(nn.Sequential(nn.Conv2d(3, 4, 3))), calls_of_forward(monkeypatch)
    for _ in range(RECORDED):
        for size in range(8, 24):
            fused(images(rng, size=size))
    ran = len(calls)
    for size in range(8, 24):
        fused(images(rng, size=size))
    assert len(calls) == ran


def test_what_did_not_last_is_tried_again_later(rng):
    fused = fc.fuse(nn.Sequential(nn.Conv2d(3, 4, 3)))
    fused.train()
    for _ in range(RECORDED):
        fused(images(rng))
    assert not is_recorded(fused)
    fused.eval()
    for _ in range(2 * RECORDED):
        fused(images(rng))
    assert is_recorded(fused)


def test_a_pass_that_an_interrupt_left_busy_is_given_up(rng, monkeypatch):
    fused, plain = replaying(rng)
    (found,) = fused._replays._seen.values()
    found.replay._busy.acquire()
    monkeypatch.setattr("fastconv.nn.replays._BUSY_CALLS", 5)
    for _ in range(5 + 2 * RECORDED):
        x = images(rng)
        assert_same_bits(fused(x).numpy(), plain(x).numpy())
    assert fused._replays._seen
    assert is_recorded(fused)
    assert next(iter(fused._replays._seen.values())) is not found


def test_a_listener_that_an_interrupt_left_behind_hears_nothing(rng):
    log = replay._Log(images(rng))
    with backends.listening(log):
        leaf = fc.tensor(images(rng), requires_grad=True)
        F.conv2d(leaf, np.ones((2, 3, 1, 1), np.float32)).sum().backward()
        optim.SGD([leaf], lr=0.1).step()
    assert not log._calls


def test_what_changes_elsewhere_does_not_matter(rng, monkeypatch):
    fused, _ = replaying(rng)
    calls = calls_of_forward(monkeypatch)
    small().train().eval()
    fused.eval()
    fused(images(rng))
    assert not calls


def test_gradients_are_recorded_where_they_are_asked_for(rng):
    fused, plain = replaying(rng)
    x = fc.tensor(images(rng), requires_grad=True)
    fused(x).sum().backward()
    assert x.grad is not None
    fused.requires_grad_()
    fused(images(rng)).sum().backward()
    assert fused[0].weight.grad is not None
    fused.requires_grad_(False)
    y = images(rng)
    assert_same_bits(fused(y).numpy(), plain(y).numpy())


def test_layers_that_differ_in_training_are_run_there(rng):
    fused = fc.fuse(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5)))
    x = images(rng)
    expected = fused(x).numpy()
    for _ in range(RECORDED):
        fused(x)
    assert (fused.train()(x).numpy() == 0).sum() > (expected == 0).sum()
    assert_same_bits(fused.eval()(x).numpy(), expected)


def test_modules_of_others_are_always_run(rng):
    class Noisy(nn.Module):
        calls = 0

        def forward(self, x):
            Noisy.calls += 1
            return F.relu(x)

    fused = fc.fuse(nn.Sequential(nn.Conv2d(3, 4, 3), Noisy()))
    for _ in range(RECORDED + 2):
        fused(images(rng))
    assert Noisy.calls == RECORDED + 2


def test_several_threads_get_their_own_results(rng):
    fused, plain = replaying(rng)
    inputs = [images(rng) for _ in range(8)]
    expected = [plain(x).numpy() for x in inputs]
    wrong, barrier = [], threading.Barrier(8)

    def work(number):
        barrier.wait()
        for _ in range(50):
            if fused(inputs[number]).numpy().tobytes() != expected[number].tobytes():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_pass_that_failed_can_be_repeated(rng, monkeypatch):
    fused, plain = replaying(rng)
    found = next(iter(fused._replays._seen.values())).replay
    call, operands = found._calls[0]

    def interrupted(*operands):
        raise KeyboardInterrupt

    found._calls[0] = interrupted, operands
    x = images(rng)
    with pytest.raises(KeyboardInterrupt):
        fused(x)
    found._calls[0] = call, operands
    assert_same_bits(fused(x).numpy(), plain(x).numpy())


def test_a_copy_records_passes_of_its_own(rng):
    fused, _ = replaying(rng)
    copied = deepcopy(fused)
    assert copied._replays is not fused._replays
    copied[0].weight.copy_(np.zeros((16, 3, 3, 3), np.float32))
    x = images(rng)
    for _ in range(RECORDED + 1):
        assert_same_bits(copied(x).numpy(), np.broadcast_to(copied(x).numpy()[0], (2, 5)))
        assert not np.array_equal(fused(x).numpy(), copied(x).numpy())


def test_a_fused_model_is_explained_after_its_pass_was_recorded(rng):
    fused, _ = replaying(rng)
    assert [step.op for step in fc.explain(fused, (2, 3, 8, 8)).steps] == [
        "conv2d_forward",
        "max_pool2d_forward",
        "conv2d_forward",
    ]


class OfOnesOwn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize(
    ("model", "change", "reason"),
    [
        (small, lambda fused: None, None),
        (lambda: models.resnet18(num_classes=3), lambda fused: None, None),
        (OfOnesOwn, lambda fused: None, "OfOnesOwn is no class of fastconv"),
        (lambda: nn.Sequential(nn.ReLU(), OfOnesOwn()), lambda fused: None, "module '1' (OfOnesOwn) is no"),
        (small, lambda fused: fused.train(), "Sequential is in training mode"),
        (small, lambda fused: fused[2].train(), "module '2' (ReLU) is in training mode"),
        (small, lambda fused: fused.requires_grad_(), "parameter '0.weight' asks for gradients"),
        (lambda: nn.Sequential(nn.MaxPool2d([2, 2])), lambda fused: None, "'kernel_size' of module '0' (Max"),
        (lambda: nn.Sequential(nn.BatchNorm2d(3)), lambda fused: None, "of batch_norm_forward was filled by no kernel"),
        (lambda: nn.MaxPool2d(2, return_indices=True), lambda fused: None, "the model returns a tuple"),
    ],
)
def test_explain_says_whether_passes_are_repeated(rng, model, change, reason):
    fused = fc.fuse(model())
    change(fused)
    before = fc.explain(fused, (1, 3, 32, 32) if model is not small else (2, 3, 8, 8))
    said = str(before).splitlines()[-1]
    assert said == before.passes
    x = images(rng, size=8 if model is small else 32)
    for _ in range(RECORDED):
        fused(x)
    assert is_recorded(fused) == (reason is None)
    if reason is None:
        assert said.startswith("passes: from the third such input on")
        assert fc.explain(fused, x).passes == said
    else:
        assert said.startswith("passes: not repeated")
        assert reason in said


def test_explain_says_what_keeps_an_input_from_being_repeated(rng):
    fused = fc.fuse(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)))
    assert "shares memory with a weight" in fc.explain(fused, fused[0].weight.detach()).passes
    assert "asks for no gradient" in fc.explain(fused, fc.tensor(images(rng), requires_grad=True)).passes
    assert "by name" in fc.explain(fused, x=images(rng)).passes
    assert "shallow copy" in fc.explain(copy(fused), images(rng)).passes
    assert fc.explain(nn.Conv2d(3, 3, 3), images(rng)).passes == ""


def doubled(x):
    return F.relu(x) * np.float32(2)


def doubled_on_the_way(x):
    return F.relu(F.relu(x) * np.float32(2))


def freed_and_filled_again(x):
    address = F.relu(x).ctypes.data
    for _ in range(1000):
        other = fc.arrays.empty(x.shape, x.dtype)
        if other.ctypes.data == address:
            break
    other[...] = x
    return F.relu(other)


def input_itself(x):
    F.relu(x)
    return x


def fresh_constant(x):
    return F.conv2d(x, np.ones((2, 3, 1, 1), np.float32))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (doubled, "the result was filled by no kernel"),
        (doubled_on_the_way, "operand 0 of relu_forward was filled by no kernel"),
        (freed_and_filled_again, "operand 0 of relu_forward was filled by no kernel"),
        (input_itself, "the result was filled by no kernel"),
        (fresh_constant, "was filled by no kernel"),
        (lambda x: x, "no kernel ran"),
        (lambda x: F.relu(x[:, :, ::2]), "was filled by no kernel"),
    ],
)
def test_what_kernels_alone_do_not_compute_is_not_recorded(rng, function, reason):
    with pytest.raises(replay.CannotReplayError, match=reason):
        replay.record(function, images(rng))


@pytest.mark.parametrize("other_shape", [(2, 3, 8, 8), (1, 3, 1, 1)])
def test_sums_are_repeated_though_no_kernel_computes_them(rng, other_shape):
    kept = rng.standard_normal(other_shape).astype(np.float32)
    found = replay.record(lambda x: F.add(F.add(F.relu(x), kept), x), images(rng))
    x = images(rng)
    assert_same_bits(found.run(x), np.maximum(x, 0) + kept + x)


def test_passes_that_differ_are_not_recorded(rng):
    operations = iter([F.relu, lambda x: F.max_pool2d(x, 2)])
    with pytest.raises(replay.CannotReplayError, match="different kernels"):
        replay.record(lambda x: next(operations)(x), images(rng))


def region_of(size, first, last):
    return replay._Region(0, size, weakref.ref(np.zeros(1)), first, last)


def test_memory_is_shared_by_what_is_never_needed_together(rng):
    for _ in range(200):
        regions = []
        for _ in range(int(rng.integers(1, 12))):
            first, length, size = rng.integers(0, 8), rng.integers(0, 4), int(rng.integers(1, 500))
            regions.append(region_of(size, int(first), int(first + length)))
        total = replay._placed(regions)
        for i, region in enumerate(regions):
            size = region.high
            assert 0 <= region.offset <= total - size
            for other in regions[:i]:
                together = other.first <= region.last and region.first <= other.last
                apart = region.offset + size <= other.offset or other.offset + other.high <= region.offset
                assert apart or not together
    chain = [region_of(64, step, step + 1) for step in range(10)]
    assert replay._placed(chain) == 128
