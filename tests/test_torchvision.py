"""torchvision as the judge of the networks that bear its names: keys, shapes, results, gradients."""

import numpy as np
import pytest
from support import peers

import fastconv as fc
from fastconv import models, nn

pytestmark = pytest.mark.oracle

# Images as small as each network takes, of uneven sizes.
IMAGES = {
    "alexnet": (75, 83),
    "vgg11": (33, 38),
    "vgg13_bn": (33, 38),
    "resnet18": (67, 71),
    "resnet50": (67, 71),
    "resnext50_32x4d": (67, 71),
}
# Made of the same parts, with more or wider layers.
DEEPER = [
    *("vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg16_bn", "vgg19_bn"),
    *("resnet34", "resnet101", "resnet152", "wide_resnet50_2"),
]
# What torchvision's constructors must be told, so that nothing is drawn.
OPTIONS = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}


def empty(name, *args, **options):
    """A network of ours without values."""
    with nn.init.skipped():
        return models.create(name, *args, **options)


@pytest.mark.parametrize("name", [*IMAGES, *DEEPER])
def test_keys_and_shapes_are_torchvisions(torch, name):
    peer, ours = peers.network(torch, name, **OPTIONS.get(name, {})), empty(name)
    theirs = [(key, tuple(tensor.shape)) for key, tensor in peer.state_dict().items()]
    assert [(key, tensor.shape) for key, tensor in ours.state_dict().items()] == theirs
    learned = [key for key, _ in peer.named_parameters()]
    assert [key for key, _ in ours.named_parameters()] == learned


@pytest.mark.parametrize("name", IMAGES)
def test_results_are_torchvisions_also_after_folding(torch, name, rng):
    peer, ours = peers.network(torch, name, num_classes=7, **OPTIONS.get(name, {})), empty(name, 7)
    state = peers.values(peer.state_dict(), rng)
    peers.load(torch, peer, state).eval()
    ours.load_state_dict(state, assign=True)
    x = rng.standard_normal((2, 3, *IMAGES[name]), np.float32)
    with torch.no_grad(), fc.no_grad():
        theirs = peer(torch.from_numpy(x)).numpy()
        largest = np.abs(theirs).max()
        np.testing.assert_allclose(ours.eval()(x).numpy(), theirs, rtol=0, atol=1e-4 * largest)
        if not any(isinstance(module, nn.BatchNorm2d) for module in ours.modules()):
            return
        fused = fc.fuse(ours)
        np.testing.assert_allclose(fused(x).numpy(), theirs, rtol=0, atol=1e-4 * largest)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
