"""onnxruntime on the CPU: a small graph per workload.

Forward has its weights as constants, which onnxruntime packs once; the gradient gets them as an input, as training
would.
"""

from __future__ import annotations

from functools import partial

from fastconv._kernels.contract import Declined
from fastconv.bench.contestant import Contestant, offered
from fastconv.bench.peers import onnx_networks
from fastconv.bench.peers.onnx_graph import Graph, environment, window


def _conv2d_forward(workload):
    g = workload.geometry
    if g.padding_mode != "zeros":
        return Declined(f"convolves with zeros around, not with padding mode {g.padding_mode}")
    graph = Graph(workload, "x", ("weight", "bias"))
    graph.add("Conv", *graph.constants, group=g.groups, **window(g))
    return graph.prepared()


def _conv2d_grad_input(workload):
    """The transposed convolution; output_padding gives back what the stride did not reach."""
    g = workload.geometry
    if g.padding_mode != "zeros":
        return Declined(f"convolves with zeros around, not with padding mode {g.padding_mode}")
    rest = [(axis.padded - axis.extent) % axis.stride for axis in (g.rows, g.cols)]
    graph = Graph(workload, "grad_out", inputs=("weight",))
    graph.add("ConvTranspose", "weight", group=g.groups, output_padding=rest, **window(g))
    return graph.prepared()


def _max_pool2d_forward(workload):
    graph = Graph(workload, "x")
    graph.add("MaxPool", ceil_mode=int(workload.case.ceil_mode), **window(workload.geometry))
    return graph.prepared()


def _avg_pool2d_forward(workload):
    graph, found = Graph(workload, "x"), window(workload.geometry)
    del found["dilations"]
    graph.add("AveragePool", ceil_mode=int(workload.case.ceil_mode), count_include_pad=1, **found)
    return graph.prepared()


def _adaptive_forward(operation, workload):
    if workload.geometry.out_shape[2:] != (1, 1):
        return Declined("has adaptive poolings of whole planes alone")
    graph = Graph(workload, "x")
    graph.add(operation)
    return graph.prepared()


def _chain_forward(workload):
    names = tuple(name for name in workload.inputs if name != "x")
    graph = Graph(workload, "x", names)
    for i, g in enumerate(workload.geometry):
        operands = (name for name in (f"weight{i}", f"bias{i}") if name in workload.inputs)
        graph.add("Conv", *operands, group=g.groups, **window(g))
    return graph.prepared()


def _linear_forward(workload):
    graph = Graph(workload, "x", ("weight", "bias"))
    graph.add("Gemm", *graph.constants, transB=1)
    return graph.prepared()


def _linear_grad_input(workload):
    graph = Graph(workload, "grad_out", inputs=("weight",))
    graph.add("MatMul", "weight")
    return graph.prepared()


_TABLE = {
    "conv2d_forward": _conv2d_forward,
    "conv2d_grad_input": _conv2d_grad_input,
    "max_pool2d_forward": _max_pool2d_forward,
    "avg_pool2d_forward": _avg_pool2d_forward,
    "adaptive_avg_pool2d_forward": partial(_adaptive_forward, "GlobalAveragePool"),
    "adaptive_max_pool2d_forward": partial(_adaptive_forward, "GlobalMaxPool"),
    "chain_forward": _chain_forward,
    "linear_forward": _linear_forward,
    "linear_grad_input": _linear_grad_input,
    "network_forward": onnx_networks.forward,
}
# Its threads spin for some 50 ms after a call; without spinning it runs at half the speed on two cores.
CONTESTANTS = (Contestant("onnxruntime", partial(offered, _TABLE), environment, is_peer=True, rest=0.06),)
