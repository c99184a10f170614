"""PyTorch on the CPU, computing in NCHW and in channels_last; data in the other layout is converted there and back."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from fastconv._kernels.contract import Declined
from fastconv.bench.allocator import KEEPING
from fastconv.bench.contestant import Contestant, is_network, offered
from fastconv.bench.peers import torch_networks, torch_passes
from fastconv.bench.peers.torch_tensors import FORMATS, Tensors, environment, tensor

_PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
_aten = torch.ops.aten


def _conv2d_forward(workload, flavour):
    g, tensors = workload.geometry, Tensors(workload, flavour)
    weight, bias = (*tensors.weights, None)[:2]
    amount, ahead, mode = _padding(g)
    parameters = _strides(g), amount, _dilations(g), g.groups

    def function(x):
        return F.conv2d(F.pad(x, ahead, mode) if ahead else x, weight, bias, *parameters)

    return tensors.prepared(function)


def _conv2d_gradient(which, workload, flavour):
    """One of the three results of the operation that backward calls."""
    g, tensors = workload.geometry, Tensors(workload, flavour)
    amount, ahead, _ = _padding(g)
    if ahead:
        return Declined("pads unequal sides and other modes than zeros in an operation of its own")
    parameters = (
        None,
        _strides(g),
        amount,
        _dilations(g),
        False,
        (0, 0),
        g.groups,
        [index == which for index in range(3)],
    )
    shape = g.x_shape if which == 0 else g.weight_shape
    unread = torch.empty(shape).to(tensors.activations[0].dtype).contiguous(memory_format=tensors.inner)
    if which == 0:
        (weight,) = tensors.weights
        return tensors.prepared(lambda grad: _aten.convolution_backward(grad, unread, weight, *parameters)[0])
    return tensors.prepared(
        lambda grad, x: _aten.convolution_backward(grad, x, unread, *parameters)[1], converts_back=False
    )


def _padding(g):
    """What conv2d pads itself, and the widths and the mode of what must be padded ahead of it."""
    pads = (g.cols.low, g.cols.high, g.rows.low, g.rows.high)
    if g.padding_mode == "zeros" and pads[0] == pads[1] and pads[2] == pads[3]:
        return (g.rows.low, g.cols.low), None, "constant"
    return (0, 0), pads, _PADDING_MODES[g.padding_mode]


def _strides(g):
    return g.rows.stride, g.cols.stride


def _dilations(g):
    return g.rows.dilation, g.cols.dilation


def _pool_parameters(workload):
    """Arguments after the input, or None where torch cannot pad unequally."""
    g = workload.geometry
    if g.rows.low != g.rows.high or g.cols.low != g.cols.high:
        return None
    kernel, padding = (g.rows.kernel, g.cols.kernel), (g.rows.low, g.cols.low)
    return kernel, _strides(g), padding, _dilations(g), workload.case.ceil_mode


def _max_pool2d_forward(workload, flavour):
    parameters = _pool_parameters(workload)
    if parameters is None:
        return Declined("pads both sides alike")
    return Tensors(workload, flavour).prepared(lambda x: F.max_pool2d(x, *parameters))


def _max_pool2d_grad_input(workload, flavour):
    parameters, tensors = _pool_parameters(workload), Tensors(workload, flavour)
    if parameters is None:
        return Declined("pads both sides alike")
    x = tensor(workload.inputs["x"]).contiguous(memory_format=tensors.inner)
    _, indices = _aten.max_pool2d_with_indices(x, *parameters)
    if indices.min() < 0 or indices.max() >= x.shape[2] * x.shape[3]:
        return Declined("writes outside its array where a window has no input")
    tensors.activations = tensors.activations[:1]
    return tensors.prepared(lambda grad: _aten.max_pool2d_with_indices_backward(grad, x, *parameters, indices))


def _avg_pool2d(workload, flavour):
    """Forward, or the operation that backward calls."""
    parameters, tensors = _pool_parameters(workload), Tensors(workload, flavour)
    if parameters is None:
        return Declined("pads both sides alike")
    kernel, stride, padding, _, ceil_mode = parameters
    if workload.direction == "forward":
        return tensors.prepared(lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil_mode))
    x = _unread(workload, tensors)
    return tensors.prepared(
        lambda grad: _aten.avg_pool2d_backward(grad, x, kernel, stride, padding, ceil_mode, True, None)
    )


def _adaptive_avg_pool2d(workload, flavour):
    tensors = Tensors(workload, flavour)
    if workload.direction == "forward":
        return tensors.prepared(lambda x: F.adaptive_avg_pool2d(x, workload.geometry.out_shape[2:]))
    x = _unread(workload, tensors)
    return tensors.prepared(lambda grad: _aten._adaptive_avg_pool2d_backward(grad, x))


def _adaptive_max_pool2d(workload, flavour):
    tensors, size = Tensors(workload, flavour), workload.geometry.out_shape[2:]
    if workload.direction == "forward":
        return tensors.prepared(lambda x: F.adaptive_max_pool2d(x, size))
    x = tensor(workload.inputs["x"]).contiguous(memory_format=tensors.inner)
    _, indices = _aten.adaptive_max_pool2d(x, size)
    tensors.activations = tensors.activations[:1]
    return tensors.prepared(lambda grad: _aten.adaptive_max_pool2d_backward(grad, x, indices))


def _unread(workload, tensors):
    """An input of which nothing but shape, dtype and format matters."""
    shape, dtype = workload.geometry.x_shape, tensors.activations[0].dtype
    return torch.empty(shape).to(dtype).contiguous(memory_format=tensors.inner)


def _chain_forward(workload, flavour):
    tensors = Tensors(workload, flavour)
    if any(_padding(g)[1] for g in workload.geometry):
        return Declined("pads unequal sides and other modes than zeros in an operation of its own")
    weights = [tensor(workload.inputs[f"weight{i}"]) for i in range(len(workload.geometry))]
    layers = [
        (weight.contiguous(memory_format=tensors.inner), workload.inputs.get(f"bias{i}"), g)
        for i, (weight, g) in enumerate(zip(weights, workload.geometry, strict=True))
    ]
    calls = [
        (weight, None if bias is None else tensor(bias), _strides(g), _padding(g)[0], _dilations(g), g.groups)
        for weight, bias, g in layers
    ]

    def function(x):
        for parameters in calls:
            x = F.conv2d(x, *parameters)
        return x

    return tensors.prepared(function)


def _locally_connected2d_forward(workload, flavour):
    """As it is written with what there is: every window unfolded, and a sum at every place."""
    tensors, g = Tensors(workload, flavour), workload.geometry
    zeros, ahead, _ = _padding(g)
    weight, *rest = tensors.weights
    weight = weight.reshape(g.rows.out * g.cols.out, g.groups, g.K_g, g.terms)
    kernel = (g.rows.kernel, g.cols.kernel)
    bias = rest[0].permute(2, 0, 1) if rest else 0

    def function(x):
        x = F.pad(x, ahead) if ahead else x
        columns = F.unfold(x, kernel, _dilations(g), zeros, _strides(g)).reshape(g.N, g.groups, g.terms, -1)
        out = torch.einsum("ngtp,pgkt->ngkp", columns, weight).reshape(g.out_shape) + bias
        return out.contiguous(memory_format=tensors.inner)

    return tensors.prepared(function)


def _linear_forward(workload, flavour):
    tensors = Tensors(workload, flavour)
    return tensors.prepared(lambda x: F.linear(x, *tensors.weights))


def _linear_grad_input(workload, flavour):
    tensors = Tensors(workload, flavour)
    return tensors.prepared(lambda grad: grad @ tensors.weights[0])


def _linear_grad_weight(workload, flavour):
    return Tensors(workload, flavour).prepared(lambda grad, x: grad.t() @ x)


_TABLE = {
    "conv2d_forward": _conv2d_forward,
    "conv2d_grad_input": partial(_conv2d_gradient, 0),
    "conv2d_grad_weight": partial(_conv2d_gradient, 1),
    "max_pool2d_forward": _max_pool2d_forward,
    "max_pool2d_grad_input": _max_pool2d_grad_input,
    "avg_pool2d_forward": _avg_pool2d,
    "avg_pool2d_grad_input": _avg_pool2d,
    "adaptive_avg_pool2d_forward": _adaptive_avg_pool2d,
    "adaptive_avg_pool2d_grad_input": _adaptive_avg_pool2d,
    "adaptive_max_pool2d_forward": _adaptive_max_pool2d,
    "adaptive_max_pool2d_grad_input": _adaptive_max_pool2d,
    "chain_forward": _chain_forward,
    "linear_forward": _linear_forward,
    "linear_grad_input": _linear_grad_input,
    "linear_grad_weight": _linear_grad_weight,
    "locally_connected2d_forward": _locally_connected2d_forward,
    "network_step": torch_networks.step,
    "network_forward": torch_networks.forward,
    "batch_norm_forward": torch_passes.batch_norm_forward,
    "batch_norm_grad_input": torch_passes.batch_norm_grad_input,
    "relu_forward": torch_passes.relu_forward,
    "relu_grad_input": torch_passes.relu_grad_input,
    "add_relu_forward": torch_passes.add_relu_forward,
    "sgd_step": torch_passes.sgd_step,
    "adam_step": torch_passes.adam_step,
}


def prepare(flavour, workload):
    """What PyTorch makes of a workload in one of its memory formats."""
    if not workload.is_spatial and flavour != workload.layout:
        return Declined("without spatial axes there is one layout")
    return offered(_TABLE, workload, flavour)


CONTESTANTS = (
    *(Contestant(f"torch:{flavour}", partial(prepare, flavour), environment, is_peer=True) for flavour in FORMATS),
    *(
        Contestant(
            f"torch:{flavour}:{KEEPING}",
            partial(prepare, flavour),
            environment,
            is_peer=True,
            takes_part=is_network,
            allocator=KEEPING,
        )
        for flavour in FORMATS
    ),
)
