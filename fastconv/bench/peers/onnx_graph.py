"""Graphs of onnxruntime, and the sessions that run them: all optimisations, outputs bound and left in its memory.

Graphs compute in NCHW; for channels_last data they begin and end with a transposition.
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
from fastconv.bench.contestant import Prepared

_OPSET, _IR = 18, 10
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
_LACKING = (onnxruntime_errors.NotImplemented, onnxruntime_errors.InvalidGraph, onnxruntime_errors.Fail)
_threads: ContextVar[int] = ContextVar("fastconv_bench_onnx_threads", default=1)


@contextlib.contextmanager
def environment(threads: int) -> Iterator[None]:
    """Sessions that are made inside have that many threads."""
    token = _threads.set(threads)
    try:
        yield
    finally:
        _threads.reset(token)


class Graph:
    """Nodes in a row: each takes ``last``, what the one before gave; ``gives_planes`` says whether the end has any."""

    gives_planes = True

    def __init__(self, workload, fed: str, constants: tuple[str, ...] = (), inputs: tuple[str, ...] = ()):
        self.last = "fed"
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
        if self.is_nhwc and self.gives_planes:
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
        return array.transpose(_TO_NCHW) if self.is_nhwc and self.gives_planes else array

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


def window(g):
    """The attributes of a convolution or of a pooling."""
    return {
        "kernel_shape": (g.rows.kernel, g.cols.kernel),
        "strides": (g.rows.stride, g.cols.stride),
        "pads": (g.rows.low, g.cols.low, g.rows.high, g.cols.high),
        "dilations": (g.rows.dilation, g.cols.dilation),
    }
