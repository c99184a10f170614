"""onnxruntime on the CPU: a small graph per workload, all optimisations, outputs bound and left in its memory.

Graphs compute in NCHW; for channels_last data they begin and end with a transposition. Forward has its weights as
constants, which onnxruntime packs once; the gradient gets them as an input, as training would.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from fastconv._kernels.contract import Declined
from fastconv.bench.contestant import Contestant, Prepared, offered

_OPSET, _IR = 18, 10
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
_LACKING = (onnxruntime_errors.NotImplemented, onnxruntime_errors.InvalidGraph, onnxruntime_errors.Fail)
_threads: ContextVar[int] = ContextVar("fastconv_bench_onnx_threads", default=1)


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    token = _threads.set(threads)
    try:
        yield
    finally:
        _threads.reset(token)


class _Graph:
    """Nodes in a row: each takes what the one before gave."""

    def __init__(self, workload, fed: str, constants: tuple[str, ...] = (), inputs: tuple[str, ...] = ()):
        self.workload, self.last = workload, "fed"
        self.is_nhwc = workload.layout == "channels_last" and workload.is_spatial
        self.element = helper.np_dtype_to_tensor_dtype(np.dtype(workload.dtype))
        self.constants = {name: workload.inputs[name] for name in constants if name in workload.inputs}
        array = workload.inputs[fed]
        self.feeds = {"fed": array.transpose(_TO_NHWC) if self.is_nhwc else array}
        self.feeds |= {name: workload.inputs[name] for name in inputs}
        self.nodes: list[onnx.NodeProto] = []
        if self.is_nhwc:
            self.add("Transpose", perm=_TO_NCHW)

    def add(self, op: str, *others: str, **attributes) -> None:
        """Append a node whose further inputs are constants or inputs of the graph."""
        name = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, *others], [name], **attributes))
        self.last = name

    def prepared(self) -> Prepared | Declined:
        """A session that runs the graph, or why onnxruntime does not."""
        if self.is_nhwc:
            self.add("Transpose", perm=_TO_NHWC)
        try:
            session, nodes = _session(self._model())
            binding = session.io_binding()
            for name, array in self.feeds.items():
                binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))
        except _LACKING as error:
            return Declined(str(error).strip().splitlines()[0][:200])
        return Prepared(partial(_run, session, binding, self.last), self._result, lambda: nodes)

    def _result(self, binding):
        array = binding.get_outputs()[0].numpy()
        return array.transpose(_TO_NCHW) if self.is_nhwc else array

    def _model(self):
        inputs = [helper.make_tensor_value_info(n, self.element, a.shape) for n, a in self.feeds.items()]
        output = helper.make_tensor_value_info(self.last, self.element, None)
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "workload", inputs, [output], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)


def _session(model):
    """The session, and the operations that its optimised graph consists of."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads, options.inter_op_num_threads = _threads.get(), 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder, "optimised.onnx"))
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        nodes = onnx.load(options.optimized_model_filepath, load_external_data=False).graph.node
    return session, "+".join(node.op_type for node in nodes)


def _bound(binding, name):
    """A fresh output each time, as every contestant makes one."""
    binding.clear_binding_outputs()
    binding.bind_output(name, "cpu")
    return binding


def _run(session, binding, name):
    session.run_with_iobinding(_bound(binding, name))
    return binding


def _window(g):
    return {
        "kernel_shape": (g.rows.kernel, g.cols.kernel),
        "strides": (g.rows.stride, g.cols.stride),
        "pads": (g.rows.low, g.cols.low, g.rows.high, g.cols.high),
        "dilations": (g.rows.dilation, g.cols.dilation),
    }


def _conv2d_forward(workload):
    g = workload.geometry
    if g.padding_mode != "zeros":
        return Declined(f"convolves with zeros around, not with padding mode {g.padding_mode}")
    graph = _Graph(workload, "x", ("weight", "bias"))
    graph.add("Conv", *graph.constants, group=g.groups, **_window(g))
    return graph.prepared()


def _conv2d_grad_input(workload):
    """The transposed convolution; output_padding gives back what the stride did not reach."""
    g = workload.geometry
    if g.padding_mode != "zeros":
        return Declined(f"convolves with zeros around, not with padding mode {g.padding_mode}")
    rest = [(axis.padded - axis.extent) % axis.stride for axis in (g.rows, g.cols)]
    graph = _Graph(workload, "grad_out", inputs=("weight",))
    graph.add("ConvTranspose", "weight", group=g.groups, output_padding=rest, **_window(g))
    return graph.prepared()


def _max_pool2d_forward(workload):
    graph = _Graph(workload, "x")
    graph.add("MaxPool", ceil_mode=int(workload.case.ceil_mode), **_window(workload.geometry))
    return graph.prepared()


def _chain_forward(workload):
    names = tuple(name for name in workload.inputs if name != "x")
    graph = _Graph(workload, "x", names)
    for i, g in enumerate(workload.geometry):
        operands = (name for name in (f"weight{i}", f"bias{i}") if name in workload.inputs)
        graph.add("Conv", *operands, group=g.groups, **_window(g))
    return graph.prepared()


def _linear_forward(workload):
    graph = _Graph(workload, "x", ("weight", "bias"))
    graph.add("Gemm", *graph.constants, transB=1)
    return graph.prepared()


def _linear_grad_input(workload):
    graph = _Graph(workload, "grad_out", inputs=("weight",))
    graph.add("MatMul", "weight")
    return graph.prepared()


_TABLE = {
    "conv2d_forward": _conv2d_forward,
    "conv2d_grad_input": _conv2d_grad_input,
    "max_pool2d_forward": _max_pool2d_forward,
    "chain_forward": _chain_forward,
    "linear_forward": _linear_forward,
    "linear_grad_input": _linear_grad_input,
}
# Its threads spin for some 50 ms after a call; without spinning it runs at half the speed on two cores.
CONTESTANTS = (Contestant("onnxruntime", partial(offered, _TABLE), _environment, is_peer=True, rest=0.06),)
