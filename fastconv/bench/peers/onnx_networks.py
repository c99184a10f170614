"""Networks as one graph of onnxruntime, with their weights as constants."""

from __future__ import annotations

import math
from dataclasses import replace

from fastconv._kernels.contract import Declined
from fastconv.bench.contestant import Prepared
from fastconv.bench.peers.onnx_graph import Graph, window
from fastconv.bench.workloads import NetworkWorkload, parts
from fastconv.bench.workloads.network import LOGITS
from fastconv.geometry import Conv2dGeometry, Pool2dGeometry


def forward(workload: NetworkWorkload) -> Prepared | Declined:
    """The logits; declines an adaptive pooling into means of different numbers of inputs."""
    writer = _Writer(workload)
    try:
        writer.write(parts.of(workload.network()))
    except _Lacking as error:
        return Declined(str(error))
    prepared = writer.graph.prepared()
    if isinstance(prepared, Declined):
        return prepared
    kinds = "+".join(dict.fromkeys(prepared.variant().split("+")))
    return replace(prepared, result=lambda binding: {LOGITS: prepared.result(binding)}, variant=lambda: kinds)


class _Lacking(Exception):
    """What a graph cannot say."""


class _Writer:
    """Writes one part after the other; ``shape`` is that of what the last one gives."""

    def __init__(self, workload: NetworkWorkload):
        self.state, self.shape = workload.state, workload.case.x_shape
        self.graph = Graph(workload, "x")
        self.graph.gives_planes = False

    def write(self, wanted: tuple[parts.Part, ...]) -> None:
        """Append parts to the graph."""
        for part in wanted:
            if isinstance(part, parts.Residual):
                self._residual(part)
            else:
                _LAYERS[part.kind](self, part)

    def add(self, op: str, layer: parts.Layer, *names: str, **attributes) -> None:
        """Append a node with those of the parameters that the layer has."""
        keys = [key for key in map(layer.key, names) if key in self.state]
        self.graph.constants |= {key: self.state[key] for key in keys}
        self.graph.add(op, *keys, **attributes)

    def _residual(self, part):
        begin, shape = self.graph.last, self.shape
        self.write(part.shortcut)
        shortcut, self.graph.last, self.shape = self.graph.last, begin, shape
        self.write(part.main)
        self.graph.add("Add", shortcut)


def _conv2d(writer, layer):
    own = layer.module
    parameters = {name: getattr(own, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")}
    g = Conv2dGeometry.of(writer.shape, writer.state[layer.key("weight")].shape, **parameters)
    writer.add("Conv", layer, "weight", "bias", group=g.groups, **window(g))
    writer.shape = g.out_shape


def _max_pool2d(writer, layer):
    parameters = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    g = Pool2dGeometry.of(writer.shape, **{name: getattr(layer.module, name) for name in parameters})
    writer.add("MaxPool", layer, ceil_mode=int(layer.module.ceil_mode), **window(g))
    writer.shape = g.out_shape


def _adaptive_avg_pool2d(writer, layer):
    size = layer.module.output_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    sizes = list(zip(writer.shape[2:], size, strict=True))
    if any(given % out for given, out in sizes):
        raise _Lacking(f"knows no adaptive pooling of {writer.shape[2:]} to {size}")
    if writer.shape[2:] != size:
        kernel = [given // out for given, out in sizes]
        writer.add("AveragePool", layer, kernel_shape=kernel, strides=kernel)
    writer.shape = (*writer.shape[:2], *size)


def _batch_norm2d(writer, layer):
    names = ("weight", "bias", "running_mean", "running_var")
    writer.add("BatchNormalization", layer, *names, epsilon=layer.module.eps)


def _flatten(writer, layer):
    writer.add("Flatten", layer)
    writer.shape = (writer.shape[0], math.prod(writer.shape[1:]))


def _nothing(_writer, _layer):
    """Dropout does nothing here."""


_LAYERS = {
    "Conv2d": _conv2d,
    "Linear": lambda writer, layer: writer.add("Gemm", layer, "weight", "bias", transB=1),
    "BatchNorm2d": _batch_norm2d,
    "ReLU": lambda writer, layer: writer.add("Relu", layer),
    "MaxPool2d": _max_pool2d,
    "AdaptiveAvgPool2d": _adaptive_avg_pool2d,
    "Flatten": _flatten,
    "Dropout": _nothing,
    "Identity": _nothing,
}
