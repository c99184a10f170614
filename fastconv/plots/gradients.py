"""How large the gradients are that reach each layer of a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastconv import functional
from fastconv.autograd import Tensor
from fastconv.nn import Module
from fastconv.plots import canvas
from fastconv.training.modes import mode


def gradients(models, images, labels, axes=None):
    """Draw the root mean square of the gradient of each layer's weights, from the first layer to the last.

    ``models`` is a model, or several by name; the loss is the cross-entropy of ``images`` (N, C, H, W) and ``labels``
    (N,). The scale is logarithmic, and a gradient of zero is missing. The models run once, in evaluation mode, and
    their gradients remain what they were. Returns the matplotlib axes. Raises ValueError where a model has no weights
    to train, and what the models raise.

    >>> from fastconv import datasets, models
    >>> axes = gradients(models.digits_net(), *datasets.load_digits("test"))
    >>> [label.get_text() for label in axes.get_xticklabels()]
    ['conv1', 'conv2', 'conv3', 'fc']
    """
    named: Mapping[str, Module] = {"": models} if isinstance(models, Module) else models
    sizes = {name: _sizes(model, images, labels) for name, model in named.items()}
    if not sizes:
        raise ValueError("there must be at least one model")
    axes = canvas.axes_or_new(axes, figsize=(8, 4))
    for number, (name, found) in enumerate(sizes.items()):
        colour = canvas.PALETTE[number % len(canvas.PALETTE)]
        values = [size or np.nan for size in found.values()]
        axes.plot(range(1, len(found) + 1), values, ".-", color=colour, label=name)
    layers = max(map(list, sizes.values()), key=len)
    axes.set_yscale("log")
    axes.set_ylabel("gradient of the weights, root mean square")
    is_long = sum(map(len, layers)) > 60
    axes.set_xticks(range(1, len(layers) + 1), layers, rotation=90 if is_long else 0, fontsize=8)
    axes.grid(color=canvas.FAINT)
    if any(sizes):
        axes.legend()
    return axes


def _sizes(model: Module, images, labels) -> dict[str, float]:
    """By layer."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    weights = {name.removesuffix(".weight"): weight for name, weight in trained.items() if weight.ndim > 1}
    if not weights:
        raise ValueError("there must be at least one layer with weights that are trained")
    kept = {name: parameter.grad for name, parameter in trained.items()}
    try:
        model.zero_grad()
        with mode(model, False):
            functional.cross_entropy(model(images), labels).backward()
        return {name: _size(weight.grad) for name, weight in weights.items() if weight.grad is not None}
    finally:
        for name, parameter in trained.items():
            parameter.grad = kept[name]


def _size(gradient: Tensor) -> float:
    """Its root mean square."""
    return float(np.sqrt(np.mean(np.square(gradient.cpu().numpy(), dtype=np.float64))))
