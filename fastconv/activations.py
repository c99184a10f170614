"""What the layers of a network answer to one image."""

from __future__ import annotations

import numpy as np

from fastconv import arrays
from fastconv.autograd import Tensor, no_grad
from fastconv.errors import ShapeError
from fastconv.explain import expected_kind
from fastconv.nn.module import Module, watching
from fastconv.training.modes import mode


def activations(model: Module, image) -> dict[str, np.ndarray]:
    """The result of every layer for one image, by its name, in the order of the calls; of one called twice the last.

    Shapes: (C, H, W) -> (K, OH, OW) or (K,) each. The model runs once, in evaluation mode. A rectifier that runs in the
    pass of the layer before has no entry, and that layer's is rectified. Raises TypeError, ShapeError, and what
    ``forward`` raises.

    >>> from fastconv import models
    >>> found = activations(models.lenet5(), np.zeros((1, 28, 28), np.float32))
    >>> list(found), found["pool2"].shape
    (['conv1', 'pool1', 'conv2', 'pool2', 'flatten', 'fc1', 'fc2', 'fc3'], (16, 5, 5))
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a fastconv.nn.Module, got {type(model).__name__}")
    image = np.asarray(image)
    if image.ndim != 3:
        raise ShapeError(f"an image has a shape (C, H, W), got {image.shape}")
    dtype, device = expected_kind(model)
    names = {id(module): name for name, module in model.named_modules()}
    found: dict[str, np.ndarray] = {}

    def watch(module: Module, run):
        result = run()
        name = names.get(id(module))
        if name and isinstance(result, Tensor):
            found.pop(name, None)
            found[name] = result.cpu().numpy()[0]
        return result

    with watching(watch), mode(model, False), no_grad():
        model(arrays.moved(image[None].astype(dtype), device))
    return found
