"""torchvision's networks as peers: built without values, which both sides are then given alike."""

import importlib
import importlib.util
import math

import numpy as np
import pytest

# Operators that torchvision needs at its import; its compiled ones do not load beside every build of PyTorch.
_DECLARED = ("nms", "qnms")
_declared = []


def torchvision_models():
    """The module ``torchvision.models``; the test is skipped where the package is missing."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError:
        from torch.library import Library

        _declared.append(Library("torchvision", "DEF"))
        for name in _DECLARED:
            _declared[0].define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        return importlib.import_module("torchvision.models")


def network(torch, name, *args, **options):
    """One of torchvision's networks, whose parameters have shapes and no memory."""
    models = torchvision_models()
    with torch.device("meta"):
        return getattr(models, name)(*args, weights=None, **options)


def values(state, rng, dtype=np.float32):
    """Arrays for a state: weights that keep the size of activations, unlike statistics of every channel.

    Large ones repeat a block, which is faster than drawing; its length is prime, so that no two filters are alike.
    """
    block = rng.standard_normal(65521).astype(dtype)
    made = {}
    for name, tensor in state.items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            made[name] = np.array(3)
        elif len(shape) > 1:
            made[name] = np.resize(block * dtype(math.sqrt(2 / math.prod(shape[1:]))), shape)
        elif name.endswith(("running_var", "weight")):
            made[name] = rng.uniform(0.5, 1.5, shape).astype(dtype)
        else:
            made[name] = rng.uniform(-0.5, 0.5, shape).astype(dtype)
    return made


def load(torch, peer, made):
    """Let a network of torchvision hold these very arrays."""
    peer.load_state_dict({name: torch.from_numpy(array) for name, array in made.items()}, assign=True)
    return peer
