"""Networks in float64, forward and backward, layer by layer; shares no code with the tape, the layers or any kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fastconv.bench.workloads import conv2d, max_pool2d
from fastconv.bench.workloads.parts import Layer, Part, Residual
from fastconv.geometry import Conv2dGeometry, Pool2dGeometry

Back = Callable[[np.ndarray], np.ndarray]


class Pass:
    """A forward pass of ``state`` that, in training, can go back: ``grads`` then maps names to gradients.

    ``products`` are the operations of each layer that multiplies, in the order in which they ran. Nothing is dropped
    out; ``is_training`` makes batch normalisation use the batch's own statistics.
    """

    def __init__(self, state: Mapping[str, np.ndarray], *, is_training: bool):
        self.state, self.is_training = state, is_training
        self.grads: dict[str, np.ndarray] = {}
        self.products: list[int] = []

    def through(self, parts: tuple[Part, ...], x: np.ndarray) -> tuple[np.ndarray, Back]:
        """The output, and what turns the gradient of it into the gradient of the input."""
        backs: list[Back] = []
        for part in parts:
            compute = _residual if isinstance(part, Residual) else _LAYERS[part.kind]
            x, back = compute(self, part, x)
            backs.append(back)

        def back_through(grad):
            while backs:  # what a layer has kept is free as soon as its gradient is there
                grad = backs.pop()(grad)
            return grad

        return x, back_through

    def parameters(self, layer: Layer, *names: str) -> list[np.ndarray | None]:
        """Those of a layer in float64; None for one that it has not."""
        found = (self.state.get(layer.key(name)) for name in names)
        return [None if array is None else array.astype(np.float64) for array in found]

    def keep(self, layer: Layer, **grads: np.ndarray) -> None:
        """Remember gradients of the parameters that the layer has."""
        self.grads |= {layer.key(name): grad for name, grad in grads.items() if layer.key(name) in self.state}


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the batch, and its gradient."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    probability = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(probability[rows, labels]).mean()
    probability[rows, labels] -= 1
    return loss, probability / len(labels)


def _residual(run, part, x):
    main, back_main = run.through(part.main, x)
    shortcut, back_shortcut = run.through(part.shortcut, x)
    return main + shortcut, lambda grad: back_main(grad) + back_shortcut(grad)


def _conv2d(run, part, x):
    module, (weight, bias) = part.module, run.parameters(part, "weight", "bias")
    parameters = {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")}
    g = Conv2dGeometry.of(x.shape, weight.shape, **parameters)
    run.products.append(g.flops)

    def back(grad):
        run.keep(part, weight=conv2d.grad_weight(g, grad, x), bias=grad.sum(axis=(0, 2, 3)))
        return conv2d.grad_input(g, grad, weight)

    return conv2d.forward(g, x, weight, bias), back


def _linear(run, part, x):
    weight, bias = run.parameters(part, "weight", "bias")
    run.products.append(2 * len(x) * weight.size)

    def back(grad):
        run.keep(part, weight=grad.T @ x, bias=grad.sum(axis=0))
        return grad @ weight

    return x @ weight.T + (0 if bias is None else bias), back


def _batch_norm2d(run, part, x):
    weight, bias, mean, var = (
        None if array is None else array[:, None, None]
        for array in run.parameters(part, "weight", "bias", "running_mean", "running_var")
    )
    axes = (0, 2, 3)
    if run.is_training:
        mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    factor = 1 / np.sqrt(var + part.module.eps)
    normal = (x - mean) * factor

    def back(grad):
        run.keep(part, weight=(grad * normal).sum(axis=axes), bias=grad.sum(axis=axes))
        grad = grad * weight * factor
        own = grad.mean(axis=axes, keepdims=True) + normal * (grad * normal).mean(axis=axes, keepdims=True)
        return grad - own

    return normal * weight + bias, back


def _relu(_run, _part, x):
    return np.maximum(x, 0), lambda grad: grad * (x > 0)


def _max_pool2d(_run, part, x):
    parameters = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    g = Pool2dGeometry.of(x.shape, **{name: getattr(part.module, name) for name in parameters})
    best, winner = max_pool2d.winners(g, x)
    return best, lambda grad: max_pool2d.scattered(g, grad, winner)


def _adaptive_avg_pool2d(_run, part, x):
    size = part.module.output_size
    size = (size, size) if isinstance(size, int) else size
    rows, cols = (_shares(*sizes) for sizes in zip(size, x.shape[2:], strict=True))
    return rows @ x @ cols.T, lambda grad: rows.T @ grad @ cols


def _shares(out, size):
    """(out, size): how much each input counts in each mean."""
    found = np.zeros((out, size))
    for position in range(out):
        window = slice(position * size // out, -(-(position + 1) * size // out))
        found[position, window] = 1 / len(found[position, window])
    return found


def _flatten(_run, _part, x):
    return x.reshape(len(x), -1), lambda grad: grad.reshape(x.shape)


def _nothing(_run, _part, x):
    return x, lambda grad: grad


_LAYERS: dict[str, Callable] = {
    "Conv2d": _conv2d,
    "Linear": _linear,
    "BatchNorm2d": _batch_norm2d,
    "ReLU": _relu,
    "MaxPool2d": _max_pool2d,
    "AdaptiveAvgPool2d": _adaptive_avg_pool2d,
    "Flatten": _flatten,
    "Dropout": _nothing,
    "Identity": _nothing,
}
