"""Passes around a convolution in PyTorch, each in the form that works fastest there."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from fastconv.bench.contestant import Prepared
from fastconv.bench.peers import onednn
from fastconv.bench.peers.torch_tensors import Tensors, array, tensor
from fastconv.bench.workloads import Workload, steps


def batch_norm_forward(workload: Workload, flavour: str) -> Prepared:
    """Nothing is recorded; what is normalised is rectified in place, as networks do."""
    tensors = Tensors(workload, flavour)
    return tensors.prepared(_batch_norm(*tensors.weights))


def batch_norm_grad_input(workload: Workload, flavour: str) -> Prepared:
    """Backward through a graph that is kept, with the gradients of weight and bias; x is in it, in its format."""
    with torch.inference_mode(False):
        tensors = Tensors(workload, flavour)
        x, parameters = _saved(workload, tensors).requires_grad_(), [w.requires_grad_() for w in tensors.weights]
        out = _batch_norm(*parameters)(x)

    def function(grad):
        with torch.inference_mode(False):
            return torch.autograd.grad(out, (x, *parameters), grad, retain_graph=True)[0]

    tensors.activations = tensors.activations[:1]
    return tensors.prepared(function)


def relu_forward(workload: Workload, flavour: str) -> Prepared:
    """The function."""
    return Tensors(workload, flavour).prepared(torch.relu)


def relu_grad_input(workload: Workload, flavour: str) -> Prepared:
    """The operation that backward calls, with the output that forward left."""
    tensors = Tensors(workload, flavour)
    out = torch.relu(_saved(workload, tensors))
    tensors.activations = tensors.activations[:1]
    return tensors.prepared(lambda grad: torch.ops.aten.threshold_backward(grad, out, 0))


def add_relu_forward(workload: Workload, flavour: str) -> Prepared:
    """The sum is rectified in place."""
    return Tensors(workload, flavour).prepared(lambda x, residual: torch.add(x, residual).relu_())


def _step(make, counters, workload, _flavour):
    """The fused step; what is checked is one from the state that everybody begins with."""
    inputs = {name: tensor(values) for name, values in workload.inputs.items()}
    with torch.inference_mode(False):
        parameter = torch.nn.Parameter(inputs[steps.PARAMETER].clone())
        parameter.grad = inputs[steps.GRAD].clone()
        optimizer = make([parameter], fused=True)

    def begin():
        with torch.inference_mode(False), torch.no_grad():
            parameter.copy_(inputs[steps.PARAMETER])
            optimizer.state[parameter] = {
                **{name: inputs[name].clone() for name in steps.kept(workload)},
                **{name: torch.tensor(float(steps.EARLIER_STEPS)) for name in counters},
            }

    def call():
        with torch.inference_mode(False):
            optimizer.step()

    def result(_returned):
        begin()
        call()
        kept = [optimizer.state[parameter][name] for name in steps.kept(workload)]
        return np.stack([array(item.detach()) for item in (parameter, *kept)])

    begin()
    return Prepared(call, result, partial(onednn.implementation, call))


sgd_step = partial(_step, partial(torch.optim.SGD, **steps.SGD), ())
adam_step = partial(_step, partial(torch.optim.Adam, **steps.ADAM), ("step",))


def _batch_norm(weight, bias):
    """The function with running statistics, which move as in training."""
    running = torch.zeros_like(weight), torch.ones_like(weight)
    return lambda x: F.batch_norm(x, *running, weight, bias, training=True).relu_()


def _saved(workload, tensors):
    """What forward left, in the format that is computed in."""
    return tensor(workload.inputs["x"]).contiguous(memory_format=tensors.inner)
