"""Times of a network's layers, forward and backward, on every usable backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastconv import autograd, backends
from fastconv.bench.timing import Budget, medians
from fastconv.nn import Sequential


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """Median seconds of one layer in one direction, by backend."""

    layer: str
    direction: str
    seconds: dict[str, float]

    def speedups(self, baseline: str) -> dict[str, float]:
        """How many times faster than ``baseline`` each backend is."""
        return {name: self.seconds[baseline] / value for name, value in self.seconds.items()}


def layer_times(model: Sequential, x: np.ndarray, names: Sequence[str], *, seconds: float = 1.0) -> list[LayerTimes]:
    """Time every child of ``model`` that calls a kernel, on the input that it gets from its predecessors.

    ``seconds`` bounds the time per layer and direction. Backward computes all gradients that training needs.
    """
    budget = Budget(rounds=7, seconds=seconds / len(names), least=3, warm_up=2, pause=0.0, sample=0.0)
    rows = []
    value = np.asarray(x)
    for index, (name, layer) in enumerate(model.named_children()):
        with autograd.no_grad(), backends.recording() as records:
            out = layer(value).numpy()
        if records:
            forward = {backend: _forward(layer, value, backend) for backend in names}
            backward = {backend: _backward(layer, value, backend, needs_input=index > 0) for backend in names}
            rows += [
                LayerTimes(name, direction, medians(calls, budget))
                for direction, calls in (("forward", forward), ("backward", backward))
            ]
        value = out
    return rows


def _forward(layer, x, backend) -> Callable[[], object]:
    def call():
        with autograd.no_grad(), backends.use_backend(backend):
            return layer(x)

    return call


def _backward(layer, x, backend, *, needs_input) -> Callable[[], object]:
    with backends.use_backend(backend):
        out = layer(autograd.tensor(x, requires_grad=needs_input))
    grad = np.ones(out.shape, out.dtype)
    if not out.requires_grad:
        return lambda: None
    return lambda: out.backward(grad, retain_graph=True)
