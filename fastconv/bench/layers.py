"""Times of a network's layers, forward and backward, on every usable backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from fastconv import autograd, backends, device_arrays
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

    ``seconds`` bounds the time per layer and direction. Backward computes all gradients that training needs. Backends
    of a GPU get copies there, and each call waits until it is done.
    """
    budget = Budget(rounds=7, seconds=seconds / len(names), least=3, warm_up=2, pause=0.0, sample=0.0)
    rows = []
    value = np.asarray(x)
    for index, (name, layer) in enumerate(model.named_children()):
        with autograd.no_grad(), backends.recording() as records:
            out = layer(value).numpy()
        if records:
            forward, backward = {}, {}
            for backend in names:
                own, x = _placed(layer, value, backend)
                forward[backend] = _forward(own, x, backend)
                backward[backend] = _backward(own, x, backend, needs_input=index > 0)
            rows += [
                LayerTimes(name, direction, medians(calls, budget))
                for direction, calls in (("forward", forward), ("backward", backward))
            ]
        value = out
    return rows


def _placed(layer, x, backend):
    """The layer and its input where a backend computes."""
    device, x = backends.device(backend), autograd.tensor(x)
    return (layer, x) if device == device_arrays.HOST else (deepcopy(layer).to(device), x.to(device))


def _forward(layer, x, backend) -> Callable[[], object]:
    def call():
        with autograd.no_grad(), backends.use_backend(backend):
            return layer(x)

    return _finished(call, x)


def _finished(call, x) -> Callable[[], object]:
    """The call, and the wait for what it has queued on a GPU."""
    if x.device == device_arrays.HOST:
        return call

    def waiting():
        call()
        device_arrays.wait()

    return waiting


def _backward(layer, x, backend, *, needs_input) -> Callable[[], object]:
    with backends.use_backend(backend):
        out = layer(x.detach().requires_grad_(needs_input))
    grad = autograd.tensor(np.ones(out.shape, out.dtype)).to(out.device)
    if not out.requires_grad:
        return lambda: None
    return _finished(lambda: out.backward(grad, retain_graph=True), x)
