"""Optimisers and schedules: torch's numbers, in-place writes that are counted, state that continues exactly."""

import json

import numpy as np
import pytest

import fastconv as fc
from fastconv import nn, optim
from fastconv.errors import ShapeError

STEPS = 50
SGD_SETTINGS = [
    {"lr": 0.1},
    {"lr": 0.05, "momentum": 0.9},
    {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
]
ADAM_SETTINGS = [
    {},
    {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3},
    {"lr": 0.02, "weight_decay": 0.1},
    {"lr": 0.02, "amsgrad": True, "weight_decay": 0.05},
]
OPTIMIZERS = [
    *(("SGD", settings) for settings in SGD_SETTINGS),
    *(("Adam", settings) for settings in ADAM_SETTINGS),
    *(("AdamW", settings) for settings in ADAM_SETTINGS),
]


def parameter(values, dtype=np.float32):
    return nn.Parameter(np.array(values, dtype))


def give(tensor, gradient):
    tensor.grad = fc.tensor(np.asarray(gradient, tensor.dtype))


def run(optimizer, tensors, gradients):
    for step in gradients:
        for tensor, gradient in zip(tensors, step, strict=True):
            give(tensor, gradient)
        optimizer.step()


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "settings"), OPTIMIZERS)
def test_fifty_steps_give_torchs_numbers(torch, rng, name, settings, dtype):
    shapes = [(4, 3, 3, 3), (5,)]
    starts = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    gradients = [[rng.standard_normal(shape).astype(dtype) for shape in shapes] for _ in range(STEPS)]
    ours = [nn.Parameter(start) for start in starts]
    theirs = [torch.nn.Parameter(torch.from_numpy(start.copy())) for start in starts]
    run(getattr(optim, name)(ours, **settings), ours, gradients)
    peer = getattr(torch.optim, name)(theirs, **settings, foreach=False)
    for step in gradients:
        for tensor, gradient in zip(theirs, step, strict=True):
            tensor.grad = torch.from_numpy(gradient)
        peer.step()
    roundoff = np.finfo(dtype).eps
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=0, atol=40 * roundoff)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_defaults_are_torchs(torch, name):
    ours = getattr(optim, name)([parameter([1.0])]).defaults
    theirs = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)]).defaults
    assert ours == {key: theirs[key] for key in ours}


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("StepLR", {"step_size": 3}),
        ("StepLR", {"step_size": 1, "gamma": 0.9}),
        ("CosineAnnealingLR", {"T_max": 10}),
        ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    ],
)
def test_schedules_follow_torchs(torch, name, settings):
    ours = optim.SGD([{"params": parameter([1.0])}, {"params": parameter([1.0]), "lr": 0.5}], lr=0.2)
    theirs = torch.optim.SGD(
        [{"params": torch.zeros(1, requires_grad=True)}, {"params": torch.zeros(1, requires_grad=True), "lr": 0.5}],
        lr=0.2,
    )
    schedule, peer = getattr(optim, name)(ours, **settings), getattr(torch.optim.lr_scheduler, name)(theirs, **settings)
    for _ in range(30):
        assert schedule.get_last_lr() == pytest.approx(peer.get_last_lr(), rel=1e-9, abs=1e-12)
        assert [group["lr"] for group in ours.param_groups] == schedule.get_last_lr()
        assert [group["initial_lr"] for group in ours.param_groups] == [0.2, 0.5]
        give(ours.param_groups[0]["params"][0], [0.0])
        ours.step()
        theirs.step()
        schedule.step()
        peer.step()


@pytest.mark.parametrize(("name", "settings"), OPTIMIZERS)
def test_saved_state_continues_bit_for_bit(rng, name, settings):
    def build(start):
        tensors = [nn.Parameter(array) for array in start]
        groups = [{"params": tensors[:2]}, {"params": tensors[2:], "lr": 0.3}]
        return tensors, getattr(optim, name)(groups, **settings)

    start = [rng.standard_normal(shape, np.float32) for shape in ((3, 2), (4,), (2,))]
    gradients = [[rng.standard_normal(array.shape, np.float32) for array in start] for _ in range(6)]
    tensors, optimizer = build(start)
    run(optimizer, tensors, gradients[:3])
    twins, twin = build([tensor.numpy() for tensor in tensors])
    saved = optimizer.state_dict()
    run(optimizer, tensors, gradients[3:])
    # Saved arrays are copies: the steps since then do not show in them. Numbers survive JSON.
    saved["param_groups"] = json.loads(json.dumps(saved["param_groups"]))
    saved["state"] = {str(position): kept for position, kept in saved["state"].items()}
    twin.load_state_dict(saved)
    for kept in saved["state"].values():
        for item in kept.values():
            if isinstance(item, np.ndarray):
                item[...] = np.nan
    run(twin, twins, gradients[3:])
    for found, expected in zip(twins, tensors, strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    assert repr(twin) == repr(optimizer)
    assert twin.param_groups[1]["lr"] == 0.3


def test_steps_write_in_place_and_are_counted():
    layer = nn.Linear(2, 2)
    memory = layer.state_dict()["weight"]
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    x = fc.tensor(np.ones((1, 2), np.float32), requires_grad=True)
    first, second = layer(x).sum(), layer(x).sum()
    before = layer.weight.numpy().copy()
    first.backward()
    optimizer.step()
    np.testing.assert_array_equal(memory.numpy(), before - 0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        second.backward()


def test_parameters_without_gradient_stay():
    used, unused = parameter([1.0]), parameter([2.0])
    optimizer = optim.Adam([used, unused], lr=0.1, weight_decay=0.5)
    give(used, [1.0])
    optimizer.step()
    assert unused.item() == 2.0
    assert list(optimizer.state_dict()["state"]) == [0]
    optimizer.zero_grad(set_to_none=False)
    assert used.grad.item() == 0
    optimizer.zero_grad()
    assert used.grad is None


def test_a_gradient_of_wrong_shape_changes_nothing():
    first, second = parameter([1.0, 2.0]), parameter([[1.0], [2.0]])
    optimizer = optim.SGD([first, second], lr=1.0)
    give(first, [1.0, 1.0])
    give(second, [1.0])
    with pytest.raises(ShapeError, match=r"gradient has shape \(1,\), its parameter has shape \(2, 1\)"):
        optimizer.step()
    assert first.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("construct", "error", "message"),
    [
        (lambda p: optim.SGD([]), ValueError, "empty parameter list"),
        (lambda p: optim.SGD(p), TypeError, "single Tensor"),
        (lambda p: optim.SGD(nn.Linear(2, 3)), TypeError, r"got a Linear: pass its \.parameters\(\)"),
        (lambda p: optim.SGD([{"params": nn.Sequential(nn.ReLU())}]), TypeError, r"got a Sequential: pass its \.para"),
        (lambda p: optim.SGD([p.numpy()]), TypeError, "one of the params is ndarray"),
        (lambda p: optim.SGD([p, p]), ValueError, "more than once"),
        (lambda p: optim.SGD([{"params": [p]}, {"params": p}]), ValueError, "more than once"),
        (lambda p: optim.SGD([p * 2]), ValueError, "non-leaf"),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "invalid lr: -1"),
        (lambda p: optim.SGD([p], lr=float("nan")), ValueError, "invalid lr"),
        (lambda p: optim.SGD([p], lr="fast"), TypeError, "lr must be a number"),
        (lambda p: optim.SGD([p], momentum=-0.1), ValueError, "invalid momentum"),
        (lambda p: optim.SGD([p], weight_decay=-0.1), ValueError, "invalid weight_decay"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "Nesterov momentum requires"),
        (lambda p: optim.SGD([p], nesterov=True, momentum=0.9, dampening=0.1), ValueError, "Nesterov"),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), ValueError, "invalid betas"),
        (lambda p: optim.Adam([p], betas=(0.9, -0.1)), ValueError, "invalid betas"),
        (lambda p: optim.Adam([p], eps=-1e-8), ValueError, "invalid eps"),
        (lambda p: optim.AdamW([p], amsgrad="no"), TypeError, "amsgrad must be True or False"),
        (lambda p: optim.StepLR(optim.SGD([p]), 0), ValueError, "step_size"),
        (lambda p: optim.StepLR(optim.SGD([p]), 1.5), TypeError, "step_size"),
        (lambda p: optim.CosineAnnealingLR(optim.SGD([p]), 0), ValueError, "T_max"),
        (lambda p: optim.StepLR([p], 1), TypeError, "needs an Optimizer, got list"),
        (lambda p: optim.StepLR(optim.SGD([p]), 1, last_epoch=3), KeyError, "initial_lr"),
    ],
)
def test_bad_arguments_are_refused(construct, error, message):
    with pytest.raises(error, match=message):
        construct(parameter([1.0]))


def spoil(change):
    def changed(saved):
        change(saved)
        return saved

    return changed


BAD_STATES = [
    lambda saved: {},
    lambda saved: {"state": {}},
    lambda saved: saved | {"state": 3},
    lambda saved: saved | {"param_groups": saved["param_groups"] * 2},
    lambda saved: saved | {"param_groups": [{}]},
    lambda saved: saved | {"param_groups": [7]},
    spoil(lambda saved: saved["param_groups"][0].update(params=[0])),
    spoil(lambda saved: saved["param_groups"][0].update(lr=-1.0)),
    spoil(lambda saved: saved["param_groups"][0].update(betas=5)),
    spoil(lambda saved: saved["param_groups"][0].pop("eps")),
    spoil(lambda saved: saved["state"].update({2: saved["state"][0]})),
    spoil(lambda saved: saved["state"].update({-1: saved["state"][0]})),
    spoil(lambda saved: saved["state"].update({"x": saved["state"][0]})),
    spoil(lambda saved: saved["state"][0].update(exp_avg=np.ones((2, 2)))),
    spoil(lambda saved: saved["state"][0].update(exp_avg=np.ones(3) * 1j)),
    spoil(lambda saved: saved["state"][0].update(exp_avg="text")),
    spoil(lambda saved: saved["state"][0].update(momentum_buffer=np.ones(3))),
    spoil(lambda saved: saved["state"][0].update(step=-1)),
    spoil(lambda saved: saved["state"][0].update(step=1.5)),
    spoil(lambda saved: saved["state"][0].pop("step")),
]


@pytest.mark.parametrize("change", BAD_STATES)
def test_a_bad_state_is_refused_and_changes_nothing(change):
    tensors = [parameter([1.0, 2.0, 3.0]), parameter([4.0])]
    optimizer = optim.Adam(tensors, lr=0.1)
    run(optimizer, tensors, [([1, 2, 3], [4])])
    before = optimizer.state_dict()
    with pytest.raises((ValueError, TypeError)):
        optimizer.load_state_dict(change(optimizer.state_dict()))
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for position, kept in before["state"].items():
        for name, item in kept.items():
            np.testing.assert_array_equal(after["state"][position][name], item)


def test_schedules_save_and_refuse_state():
    def build():
        optimizer = optim.SGD([parameter([1.0])], lr=1.0)
        return optimizer, optim.CosineAnnealingLR(optimizer, T_max=5, eta_min=0.1)

    optimizer, schedule = build()
    for _ in range(3):
        schedule.step()
    _, twin = build()
    twin.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert twin.get_last_lr() == schedule.get_last_lr() == [optimizer.param_groups[0]["lr"]]
    before = twin.state_dict()
    for bad in (
        None,
        {},
        before | {"gamma": 1},
        before | {"T_max": 0},
        before | {"base_lrs": [1.0, 2.0]},
        before | {"base_lrs": ["x"]},
        before | {"last_epoch": 1.5},
    ):
        with pytest.raises((ValueError, TypeError)):
            twin.load_state_dict(bad)
        assert twin.state_dict() == before


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_linear_fit_converges(name):
    fc.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3), np.float32)
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32)
    layer = nn.Linear(3, 1)
    optimizer = getattr(optim, name)(layer.parameters(), lr=0.1, weight_decay=0.0)
    for _ in range(300):
        optimizer.zero_grad()
        ((layer(x) - y) ** 2).mean().backward()
        optimizer.step()
    np.testing.assert_allclose(layer.weight.numpy(), [[1.0, -2.0, 0.5]], atol=1e-3)


@pytest.mark.parametrize("make", [lambda p: optim.SGD([p], lr=0.1, momentum=0.9), lambda p: optim.Adam([p], lr=0.1)])
def test_a_step_that_fails_leaves_nothing_behind(make):
    failing, other = parameter([1.0, 2.0]), parameter([1.0, 2.0])
    optimizers = [make(failing), make(other)]
    give(failing, [1.0, 1.0])
    optimizers[0].param_groups[0]["lr"] = [1, 2]
    with pytest.raises((TypeError, ValueError)):
        optimizers[0].step()
    assert not optimizers[0].state.get(failing)
    optimizers[0].param_groups[0]["lr"] = 0.1
    give(other, [1.0, 1.0])
    for optimizer in optimizers:
        optimizer.step()
    assert failing.tolist() == other.tolist()


@pytest.mark.parametrize("kept", [np.zeros(1, np.float32), np.zeros((2, 2), np.float32), np.zeros(2, np.complex64)])
def test_what_is_kept_must_fit_before_anything_changes(kept):
    first, second = parameter([1.0, 2.0]), parameter([1.0, 2.0])
    optimizer = optim.SGD([first, second], lr=0.1, momentum=0.9)
    for tensor in (first, second):
        give(tensor, [1.0, 1.0])
    optimizer.state[second] = {"momentum_buffer": kept}
    with pytest.raises((ShapeError, TypeError), match="momentum_buffer has"):
        optimizer.step()
    assert first.tolist() == second.tolist() == [1.0, 2.0]


def test_a_read_only_buffer_is_never_written():
    tensor, kept = parameter([1.0, 2.0]), np.zeros(2, np.float32)
    kept.flags.writeable = False
    optimizer = optim.SGD([tensor], lr=0.1, momentum=0.9)
    optimizer.state[tensor] = {"momentum_buffer": kept}
    give(tensor, [1.0, 1.0])
    with pytest.raises(ValueError, match="momentum_buffer is read-only"):
        optimizer.step()
    assert kept.tolist() == [0, 0]
