"""Batch normalisation: torch's numbers, gradients, running statistics and state."""

import threading

import numpy as np
import pytest
from support.backends import every_backend
from support.data import FORMATS, in_format

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays, nn
from fastconv.errors import DTypeError, ShapeError

SHAPES = [(6, 5), (3, 4, 7), (4, 3, 5, 6), (2, 17, 7, 7), (3, 64, 9, 8)]


def tensors(rng, shape, dtype, wanted):
    C = shape[1]
    arrays = [rng.standard_normal(shape) * 2 + 3, rng.uniform(0.5, 2, C), rng.standard_normal(C)]
    return [in_format(array.astype(dtype), wanted) for array in arrays]


@pytest.mark.oracle
@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_results_gradients_and_running_statistics_are_torchs(torch, rng, backend, dtype, wanted, shape, training):
    x, weight, bias = tensors(rng, shape, dtype, wanted)
    grad = rng.standard_normal(shape).astype(dtype)
    running = [rng.standard_normal(shape[1]).astype(dtype), rng.uniform(1, 2, shape[1]).astype(dtype)]
    leaves = [fc.tensor(array, requires_grad=True) for array in (x, weight, bias)]
    theirs = [torch.from_numpy(array.copy()).requires_grad_() for array in (x, weight, bias)]
    kept, peer_kept = [array.copy() for array in running], [torch.from_numpy(array.copy()) for array in running]
    out = F.batch_norm(leaves[0], *kept, *leaves[1:], training, 0.3, 1e-3, backend=backend)
    peer = torch.nn.functional.batch_norm(theirs[0], *peer_kept, *theirs[1:], training, 0.3, 1e-3)
    tolerance = {"rtol": 1e-4, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-10}
    np.testing.assert_allclose(out.numpy(), peer.detach().numpy(), **tolerance)
    out.backward(grad)
    peer.backward(torch.from_numpy(grad))
    for ours, other in zip(leaves, theirs, strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), **tolerance)
    for ours, other in zip(kept, peer_kept, strict=True):
        np.testing.assert_allclose(ours, other.numpy(), **tolerance)


@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("has_residual", [True, False])
def test_the_fused_pass_gives_what_the_single_ones_give(rng, backend, wanted, training, has_residual):
    shape = (3, 20, 6, 7)
    grad = rng.standard_normal(shape)
    results = []
    for fused in (True, False):
        drawn = [*tensors(same_rng(), shape, "float64", wanted), in_format(same_rng().standard_normal(shape), wanted)]
        x, weight, bias, residual = (fc.tensor(array, requires_grad=True) for array in drawn)
        running = [np.full(20, 2.5), np.full(20, 3.0)]
        with fc.use_backend(backend):
            if fused:
                added = residual if has_residual else None
                out = F.batch_norm(x, *running, weight, bias, training, residual=added, activation="relu")
            else:
                out = F.batch_norm(x, *running, weight, bias, training)
                out = F.relu(out + residual if has_residual else out)
            out.backward(grad)
        leaves = [x, weight, bias, *([residual] if has_residual else [])]
        results.append([out.numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    assert (results[0][0] == 0).any()
    for fused, single in zip(*results, strict=True):
        np.testing.assert_allclose(fused, single, rtol=1e-12, atol=1e-12)


def same_rng():
    return np.random.default_rng(7)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "settings", [{}, {"momentum": None}, {"affine": False}, {"bias": False}, {"track_running_stats": False}]
)
@pytest.mark.parametrize(
    ("name", "shape"), [("BatchNorm2d", (4, 5, 3, 3)), ("BatchNorm1d", (4, 5)), ("BatchNorm1d", (4, 5, 7))]
)
def test_the_layer_counts_batches_and_averages_them_as_torch_does(torch, rng, settings, name, shape):
    ours, theirs = getattr(nn, name)(5, **settings), getattr(torch.nn, name)(5, **settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    for _ in range(3):
        x = rng.standard_normal(shape).astype(np.float32) + 1
        np.testing.assert_allclose(ours(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), atol=2e-6)
    for name, expected in theirs.state_dict().items():
        found = ours.state_dict()[name]
        assert found.numpy().dtype == expected.numpy().dtype
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5)
    ours.eval(), theirs.eval()
    np.testing.assert_allclose(ours(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), atol=2e-6)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})


def test_a_flat_layer_rectifies_in_its_own_pass(rng):
    x = rng.standard_normal((6, 5)).astype(np.float32)
    net = nn.Sequential(nn.BatchNorm1d(5), nn.ReLU())
    steps = [step for step in fc.explain(net, x).steps if step.op == "batch_norm_forward"]
    assert [step.fused for step in steps] == [("relu",)]
    np.testing.assert_array_equal(net(x).numpy(), F.relu(nn.BatchNorm1d(5)(x)).numpy())


def test_evaluation_changes_no_running_statistic(rng):
    layer = nn.BatchNorm2d(3).eval()
    before = {name: value.numpy().copy() for name, value in layer.state_dict().items()}
    layer(rng.standard_normal((2, 3, 4, 4)).astype(np.float32))
    for name, value in before.items():
        np.testing.assert_array_equal(layer.state_dict()[name].numpy(), value)


@pytest.mark.parametrize("backend", ["cython", "numba"])
def test_a_mean_far_from_zero_costs_no_digits(rng, backend):
    """The mean is rounded to float32 before it is subtracted; the shift gives back what that takes away."""
    x = (rng.standard_normal((8, 6, 9, 9)) + 4096.3).astype(np.float32)
    wide = x.astype(np.float64)
    exact = (wide - wide.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(wide.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
    found = F.batch_norm(x, None, None, training=True, backend=backend)
    np.testing.assert_allclose(found, exact, atol=2e-6)


@every_backend
def test_an_empty_batch_in_evaluation_is_empty(backend):
    layer = nn.BatchNorm2d(3).eval()
    x = fc.tensor(np.zeros((0, 3, 4, 4), np.float32), requires_grad=True)
    with fc.use_backend(backend):
        out = layer(x)
        out.backward(np.zeros(out.shape, np.float32))
    assert out.shape == x.grad.shape == (0, 3, 4, 4)
    assert layer.weight.grad.tolist() == [0, 0, 0]


ONES = np.ones(3, np.float32)
X = np.zeros((2, 3, 4, 4), np.float32)
WEIGHT = np.ones(4, np.float32)
BAD = {
    "one axis": (lambda: F.batch_norm(ONES, ONES, ONES), ShapeError, "expected 2D, 3D or 4D input"),
    "five axes": (lambda: F.batch_norm(np.zeros((1, 3, 1, 1, 1)), ONES, ONES), ShapeError, "expected 2D, 3D or 4D"),
    "weight": (
        lambda: F.batch_norm(X, ONES, ONES, WEIGHT),
        ShapeError,
        r"weight must have shape \(3,\), one value per channel of input \(2, 3, 4, 4\), got \(4,\)",
    ),
    "running": (lambda: F.batch_norm(X, ONES[:2], ONES), ShapeError, r"running_mean must have shape \(3,\)"),
    "neither": (lambda: F.batch_norm(X, None, None), ValueError, "must be given where training is False"),
    "one of two": (lambda: F.batch_norm(X, ONES, None), ValueError, "both or neither"),
    "dtype": (lambda: F.batch_norm(X, ONES, ONES, ONES.astype(np.float64)), DTypeError, "mixed dtypes"),
    "integers": (lambda: F.batch_norm(X.astype(int), None, None, training=True), DTypeError, "input has dtype int64"),
    "activation": (
        lambda: F.batch_norm(X, ONES, ONES, activation="gelu"),
        ValueError,
        "activation must be None or",
    ),
    "residual": (
        lambda: F.batch_norm(X, ONES, ONES, residual=X[:1]),
        ShapeError,
        "residual must have the shape of input",
    ),
    "wide residual": (lambda: F.batch_norm(X, ONES, ONES, residual=X.astype(float)), DTypeError, "mixed dtypes"),
    "one value": (lambda: F.batch_norm(X[:1, :, :1, :1], None, None, training=True), ValueError, "more than 1 value"),
    "training": (lambda: F.batch_norm(X, ONES, ONES, training=1), TypeError, "training must be True or False"),
    "list": (lambda: F.batch_norm(X, [0.0] * 3, [1.0] * 3, training=True), TypeError, "running_mean must be an array"),
    "momentum": (lambda: F.batch_norm(X, ONES, ONES, momentum=np.nan), ValueError, "momentum must be finite, got nan"),
    "no momentum": (lambda: F.batch_norm(X, ONES, ONES, momentum=None), TypeError, "momentum must be a number"),
    "eps": (lambda: F.batch_norm(X, ONES, ONES, eps=np.inf), ValueError, "eps must be finite, got inf"),
    "negative eps": (lambda: F.batch_norm(X, ONES, ONES, eps=-1e-5), ValueError, "eps must not be negative"),
    "no eps": (lambda: F.batch_norm(X, None, None, training=True, eps=0.0), ValueError, "must be positive during"),
    "layer, momentum": (lambda: nn.BatchNorm2d(3, momentum=-np.inf), ValueError, "momentum must be finite"),
    "layer, text": (lambda: nn.BatchNorm2d(3, momentum="0.1"), TypeError, "momentum must be a number"),
    "layer, eps": (lambda: nn.BatchNorm2d(3, eps=np.nan), ValueError, "eps must be finite"),
    "layer, negative eps": (lambda: nn.BatchNorm2d(3, eps=-1.0), ValueError, "eps must not be negative"),
    "features": (lambda: nn.BatchNorm2d(0), ValueError, "num_features must be a positive int"),
    "layer, three axes": (lambda: nn.BatchNorm2d(3)(X[0]), ShapeError, "expected 4D input"),
    "layer, channels": (
        lambda: nn.BatchNorm2d(4)(X),
        ShapeError,
        r"BatchNorm2d with num_features=4 expects input of shape \(N, 4, H, W\), got shape \(2, 3, 4, 4\)",
    ),
    "flat layer, axes": (lambda: nn.BatchNorm1d(3)(X), ShapeError, r"expected 2D or 3D input \(N, C\) or \(N, C, L\)"),
    "flat layer, channels": (
        lambda: nn.BatchNorm1d(5)(X[0]),
        ShapeError,
        r"num_features=5 expects input of shape \(N, 5\) or \(N, 5, L\), got shape \(3, 4, 4\)",
    ),
    "layer without weight, channels": (
        lambda: nn.BatchNorm2d(4, affine=False, track_running_stats=False)(X),
        ShapeError,
        "BatchNorm2d with num_features=4 expects input",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


def test_an_eps_of_zero_is_for_running_statistics():
    out = F.batch_norm(X + 3, ONES, ONES * 4, eps=0.0)
    np.testing.assert_array_equal(out, X + 1)


def test_refused_input_moves_no_running_statistic():
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    with pytest.raises(ShapeError):
        F.batch_norm(X, mean, var, training=True, residual=X[:1])
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(var, 1)


def test_running_statistics_that_move_later_do_not_change_a_recorded_gradient(rng):
    x = rng.standard_normal((4, 3, 5, 5))
    gradients = []
    for moves in (False, True):
        layer = nn.BatchNorm2d(3).double().eval()
        out = layer(x)
        if moves:
            layer.train()(x * 5 + 50)
        (out * out).sum().backward()
        gradients.append(layer.weight.grad.numpy())
    np.testing.assert_array_equal(*gradients)


@pytest.mark.parametrize("reason", ["read-only", "requires grad", "no memory"])
def test_a_call_that_fails_moves_no_running_statistic(rng, reason, monkeypatch):
    x, mean, var = rng.standard_normal((4, 3, 5, 5)), fc.tensor(np.zeros(3)), fc.tensor(np.ones(3))
    if reason == "read-only":
        var._array.flags.writeable = False
    elif reason == "requires grad":
        var.requires_grad_()
    else:
        monkeypatch.setattr(arrays, "empty", refuse)
    with pytest.raises((ValueError, MemoryError)):
        F.batch_norm(x, mean, var, training=True)
    assert mean.tolist() == [0, 0, 0]
    assert var.tolist() == [1, 1, 1]


def refuse(*arguments, **options):
    raise MemoryError("no room")


@every_backend
def test_an_empty_batch_in_training_moves_nothing(backend):
    layer, x = nn.BatchNorm2d(3), fc.tensor(np.zeros((0, 3, 4, 4), np.float32), requires_grad=True)
    with fc.use_backend(backend):
        out = layer(x)
        out.backward(np.zeros(out.shape, np.float32))
    assert out.shape == x.grad.shape == (0, 3, 4, 4)
    assert layer.running_mean.tolist() == [0, 0, 0]


def test_threads_that_walk_over_one_retained_tape_get_what_one_gets(rng):
    x = fc.tensor(rng.standard_normal((16, 32, 40, 40)).astype(np.float32), requires_grad=True)
    out = F.batch_norm(x, None, None, training=True)
    grads = [rng.standard_normal(out.shape).astype(np.float32) for _ in range(3)]
    node = out._node
    expected, found = [node.gradients(node.context, [grad])[0] for grad in grads], [None] * 3

    def walk(number):
        for _ in range(5):
            found[number] = node.gradients(node.context, [grads[number]])[0]

    threads = [threading.Thread(target=walk, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
