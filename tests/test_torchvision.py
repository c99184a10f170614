"""torchvision as the judge of the networks that bear its names: keys, shapes, results, gradients."""

import numpy as np
import pytest
from support import peers

import fastconv as fc
from fastconv import models, nn

pytestmark = pytest.mark.oracle

# Images of uneven sizes, small ones: most networks take them.
SIZE = (67, 71)
SIZES = {"alexnet": (75, 83), "inception_v3": (99, 105), **{f"vgg{depth}": (33, 38) for depth in (11, 13, 16, 19)}}
NAMES = [
    *("alexnet", "googlenet", "inception_v3", "mobilenet_v2", "squeezenet1_0", "squeezenet1_1"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2"),
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
]
# What torchvision's constructors must be told, so that nothing is drawn.
OPTIONS = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}
every_network = pytest.mark.parametrize("name", NAMES)


def empty(name, *args, **options):
    """A network of ours without values."""
    with nn.init.skipped():
        return models.create(name, *args, **options)


@every_network
def test_keys_and_shapes_are_torchvisions(torch, name):
    peer, ours = peers.network(torch, name, **OPTIONS.get(name, {})), empty(name)
    theirs = [(key, tuple(tensor.shape)) for key, tensor in peer.state_dict().items()]
    assert [(key, tensor.shape) for key, tensor in ours.state_dict().items()] == theirs
    learned = [key for key, _ in peer.named_parameters()]
    assert [key for key, _ in ours.named_parameters()] == learned


@every_network
def test_results_are_torchvisions_also_after_folding(torch, name, rng):
    peer, ours = peers.network(torch, name, num_classes=7, **OPTIONS.get(name, {})), empty(name, 7)
    state = peers.values(peer.state_dict(), rng)
    peers.load(torch, peer, state).eval()
    ours.load_state_dict(state, assign=True)
    x = rng.standard_normal((2, 3, *SIZES.get(name.removesuffix("_bn"), SIZE)), np.float32)
    with torch.no_grad(), fc.no_grad():
        theirs = peer(torch.from_numpy(x)).numpy()
        largest = np.abs(theirs).max()
        np.testing.assert_allclose(ours.eval()(x).numpy(), theirs, rtol=0, atol=1e-4 * largest)
        if not any(isinstance(module, nn.BatchNorm2d) for module in ours.modules()):
            return
        fused = fc.fuse(ours)
        np.testing.assert_allclose(fused(x).numpy(), theirs, rtol=0, atol=1e-4 * largest)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())


def gradients_of_peer(torch, peer, x, target):
    """The loss, the gradients of all parameters and the buffers after a step's forward and backward."""
    out = peer.train()(torch.from_numpy(x))
    losses = [torch.nn.functional.cross_entropy(logits, torch.from_numpy(target)) for logits in as_tuple(out)]
    total = sum(losses)
    total.backward()
    named = {name: parameter.grad.numpy() for name, parameter in peer.named_parameters()}
    return total.item(), named, {name: buffer.numpy() for name, buffer in peer.named_buffers()}


def gradients(model, x, target):
    """The same of ours."""
    out = model.train()(x)
    losses = [fc.functional.cross_entropy(logits, target) for logits in as_tuple(out)]
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    total.backward()
    named = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    return total.item(), named, {name: buffer.numpy() for name, buffer in model.named_buffers()}


def as_tuple(out):
    return out if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("resnet18", (33, 34), {}),
        ("mobilenet_v2", (33, 34), {"width_mult": 0.35, "dropout": 0.0}),
        ("squeezenet1_1", (33, 34), {"dropout": 0.0}),
        ("googlenet", (66, 67), {"dropout": 0.0, "dropout_aux": 0.0}),
    ],
)
def test_a_step_of_training_has_torchvisions_gradients(torch, name, size, options, rng):
    """In float64, so that every difference is one of meaning."""
    peer = peers.network(torch, name, num_classes=5, **options, **OPTIONS.get(name, {}))
    ours = empty(name, 5, **options, dtype=np.float64)
    state = peers.values(peer.state_dict(), rng, np.float64)
    peers.load(torch, peer, {key: array.copy() for key, array in state.items()})
    ours.load_state_dict(state, assign=True)
    x, target = rng.standard_normal((2, 3, *size)), np.array([0, 4])
    loss, expected, buffers = gradients_of_peer(torch, peer, x, target)
    found_loss, found, found_buffers = gradients(ours, x, target)
    assert found_loss == pytest.approx(loss, rel=1e-9)
    assert list(found) == list(expected)
    largest = max(np.abs(grad).max() for grad in expected.values())
    for key, grad in expected.items():
        np.testing.assert_allclose(found[key], grad, rtol=1e-6, atol=1e-9 * largest, err_msg=key)
    for key, buffer in buffers.items():
        np.testing.assert_allclose(found_buffers[key], buffer, rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_inputs_are_transformed_as_torchvision_does(torch, name, rng):
    peer = peers.network(torch, name, transform_input=True, init_weights=False)
    x = rng.standard_normal((2, 3, 4, 5), np.float32)
    ours = empty(name, transform_input=True)
    theirs = peer._transform_input(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours.transform(x).numpy(), theirs, rtol=1e-6, atol=1e-6)
    assert list(ours.state_dict()) == list(peer.state_dict())
