"""Networks as PyTorch's own layers, run eagerly: the same weights, the same data, the same step of training."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from fastconv.bench.contestant import Prepared
from fastconv.bench.peers import onednn
from fastconv.bench.peers.torch_tensors import FORMATS, Tensors, array, tensor
from fastconv.bench.workloads import NetworkWorkload, parts
from fastconv.bench.workloads.network import LEARNING_RATE, LOGITS, LOSS, MOMENTUM


class _Residual(nn.Module):
    """Two branches and their sum."""

    def __init__(self, main: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x):
        return self.main(x) + self.shortcut(x)


class _Network:
    """The twin of a network in a memory format; ``layers`` are its layers by the names that they have there."""

    def __init__(self, workload: NetworkWorkload, flavour: str):
        self.state = workload.state
        self.layers: dict[str, nn.Module] = {}
        self.module = self._twin(parts.of(workload.network()))
        self.module.to(dtype=getattr(torch, workload.dtype), memory_format=FORMATS[flavour])
        self.reset()

    def weights(self) -> dict[str, nn.Parameter]:
        """The parameters by the names that they have in the state dict."""
        layers = self.layers.items()
        return {f"{name}.{own}": weight for name, layer in layers for own, weight in layer.named_parameters()}

    def reset(self) -> None:
        """Back to the weights that everybody starts from."""
        for name, layer in self.layers.items():
            layer.load_state_dict({own: tensor(self.state[f"{name}.{own}"]) for own in layer.state_dict()})

    def drop_out(self, is_on: bool) -> None:
        """Switch dropout alone."""
        for layer in self.layers.values():
            if isinstance(layer, nn.Dropout):
                layer.train(is_on)

    def _twin(self, wanted):
        found = [
            _Residual(self._twin(part.main), self._twin(part.shortcut))
            if isinstance(part, parts.Residual)
            else self._layer(part)
            for part in wanted
        ]
        return nn.Sequential(*found)

    def _layer(self, layer):
        self.layers[layer.name] = twin = _LAYERS[layer.kind](layer.module)
        return twin


def step(workload: NetworkWorkload, flavour: str) -> Prepared:
    """Gradients of a batch and what the optimiser makes of them, in PyTorch's fastest form of it."""
    with torch.inference_mode(False):
        network = _Network(workload, flavour)
        optimizer = torch.optim.SGD(network.weights().values(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True)
        loss, labels = nn.CrossEntropyLoss(), tensor(workload.inputs["labels"])
        x, inner = tensor(workload.inputs["x"]), FORMATS[flavour]

    def gradients():
        optimizer.zero_grad(set_to_none=True)
        value = loss(network.module(x.contiguous(memory_format=inner)), labels)
        value.backward()
        return value

    def call():
        with torch.inference_mode(False):
            value = gradients()
            optimizer.step()
        return value

    def result(_returned):
        """From the first weights, with nothing dropped out."""
        with torch.inference_mode(False):
            network.reset()
            network.drop_out(False)
            value = gradients()
            network.drop_out(True)
        return {LOSS: array(value.detach())} | {name: array(weight.grad) for name, weight in network.weights().items()}

    return Prepared(call, result, partial(onednn.implementation, call))


def forward(workload: NetworkWorkload, flavour: str) -> Prepared:
    """The logits."""
    network = _Network(workload, flavour).module.eval()
    prepared = Tensors(workload, flavour).prepared(network, converts_back=False)
    return Prepared(prepared.call, lambda logits: {LOGITS: array(logits)}, prepared.variant)


def _conv2d(own):
    return nn.Conv2d(
        own.in_channels,
        own.out_channels,
        own.kernel_size,
        own.stride,
        own.padding,
        own.dilation,
        own.groups,
        own.bias is not None,
        own.padding_mode,
    )


def _max_pool2d(own):
    return nn.MaxPool2d(own.kernel_size, own.stride, own.padding, own.dilation, ceil_mode=own.ceil_mode)


_LAYERS = {
    "Conv2d": _conv2d,
    "Linear": lambda own: nn.Linear(own.in_features, own.out_features, own.bias is not None),
    "BatchNorm2d": lambda own: nn.BatchNorm2d(own.num_features, own.eps, own.momentum),
    "ReLU": lambda own: nn.ReLU(inplace=own.inplace),
    "MaxPool2d": _max_pool2d,
    "AdaptiveAvgPool2d": lambda own: nn.AdaptiveAvgPool2d(own.output_size),
    "Flatten": lambda own: nn.Flatten(own.start_dim, own.end_dim),
    "Dropout": lambda own: nn.Dropout(own.p, own.inplace),
    "Identity": lambda own: nn.Identity(),
}
