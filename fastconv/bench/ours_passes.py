"""Passes around a convolution as layers and optimisers run them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

import fastconv.functional as F
from fastconv import autograd, backends, nn, optim
from fastconv._kernels.contract import RELU
from fastconv.bench.contestant import Prepared
from fastconv.bench.ours_networks import variants
from fastconv.bench.workloads import Workload, steps
from fastconv.functional.relu import rectified_gradient


def batch_norm_forward(workload: Workload, backend: str, _variant) -> Prepared:
    """The rectifier in the same pass."""
    return _within(backend, partial(_batch_norm(workload), **workload.inputs))


def batch_norm_grad_input(workload: Workload, backend: str, _variant) -> Prepared:
    """What the tape hands to the layer before; the gradients of weight and bias come with it."""
    found: list[np.ndarray] = []
    leaf = autograd.tensor(np.zeros(1, workload.dtype), requires_grad=True)
    x = _LayerBefore.apply(leaf, workload.inputs["x"], found)
    weight, bias = (nn.Parameter(workload.inputs[name]) for name in ("weight", "bias"))
    with backends.use_backend(backend):
        out = _batch_norm(workload)(x, weight=weight, bias=bias)
    grad_out = workload.inputs["grad_out"]

    def call():
        out.backward(grad_out, retain_graph=True)
        return found.pop()

    return Prepared(call, variant=partial(variants, call))


def relu_forward(workload: Workload, backend: str, _variant) -> Prepared:
    """The public function."""
    return _within(backend, partial(F.relu, workload.inputs["x"]))


def relu_grad_input(workload: Workload, backend: str, _variant) -> Prepared:
    """What backward calls, with the output that forward left."""
    kernels = backends.select(backend)
    with backends.use_backend(backend):
        out = F.relu(workload.inputs["x"])
    call = partial(rectified_gradient, kernels, workload.inputs["grad_out"], out)
    return Prepared(call, variant=partial(variants, call))


def add_relu_forward(workload: Workload, backend: str, _variant) -> Prepared:
    """The public function."""
    return _within(backend, partial(F.add_relu, **workload.inputs))


def _step(make, workload, backend, _variant):
    """A step of an optimiser; what is checked is one from the state that everybody begins with."""
    inputs = workload.inputs
    parameter = nn.Parameter(inputs[steps.PARAMETER])
    parameter.grad = autograd.tensor(inputs[steps.GRAD])
    optimizer = make([parameter])

    def begin():
        with autograd.no_grad():
            parameter.copy_(inputs[steps.PARAMETER])
        optimizer.state[parameter] = {
            **{name: inputs[name].copy() for name in steps.kept(workload)},
            **dict.fromkeys(optimizer.counters, steps.EARLIER_STEPS),
        }

    def call():
        with backends.use_backend(backend):
            optimizer.step()

    def result(_returned):
        begin()
        call()
        return np.stack([parameter.numpy(), *(optimizer.state[parameter][name] for name in steps.kept(workload))])

    begin()
    return Prepared(call, result, partial(variants, call))


sgd_step = partial(_step, partial(optim.SGD, **steps.SGD))
adam_step = partial(_step, partial(optim.Adam, **steps.ADAM))


class _LayerBefore(autograd.Function):
    """Takes the gradient as the layer before would, without the copy that the tape makes for a leaf."""

    @staticmethod
    def forward(ctx, leaf, x, found):
        ctx.found, ctx.leaf = found, np.zeros_like(leaf)
        return x

    @staticmethod
    def backward(ctx, grad):
        ctx.found.append(grad)
        return ctx.leaf, None, None


def _batch_norm(workload):
    """The function with running statistics, which move as in training."""
    weight = workload.inputs["weight"]
    running = {"running_mean": np.zeros_like(weight), "running_var": np.ones_like(weight)}
    return partial(F.batch_norm, **running, training=True, activation=RELU)


def _within(backend: str, function: Callable[[], object]) -> Prepared:
    """A function that takes the backend from its context."""

    def call():
        with backends.use_backend(backend):
            return function()

    return Prepared(call, variant=partial(variants, call))
