"""First layers on planes in C for every instruction set: forward and grad_input of few channels."""

from libc.stdint cimport int64_t

from fastconv._kernels.buffers._native cimport give, take
from fastconv._kernels.cython_cpu.conv2d cimport first_layer_kernels
from fastconv._kernels.cython_cpu.conv2d_depthwise cimport fc_padded, padded_of
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, fc_strides, grain, strides, whole_lines
from fastconv._kernels.pool._native cimport num_threads, parallel_for_threads

import numpy as np

from fastconv import arrays
from fastconv._kernels import contract, plan
from fastconv._kernels.cython_cpu.conv2d import prepare_direct, vector_unit
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "first_layer_args.h" nogil:
    ctypedef struct fc_first_layer_args:
        const void *source
        const void *weight
        const void *bias
        void *target
        char *scratch
        fc_strides source_strides
        fc_padded padded
        const int64_t *entries
        const int64_t *blocks
        Py_ssize_t C, K, weight_c, weight_k, taps, out_rows, out_cols, block_count, per_chunk, plane, buffer, scratch_bytes
        int relu, streams
    ctypedef struct fc_first_layer_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel first_layer


cdef class FirstLayer:
    """Items are blocks of output rows; the weight is read as it is."""

    cdef fc_first_layer_args args
    cdef const fc_first_layer_kernels* kernels
    cdef bint has_bias, needs_finite
    cdef Py_ssize_t items, item_flops
    cdef object plan, direct

    def __init__(self, problem, made, direct):
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = <const fc_first_layer_kernels*> first_layer_kernels(itemsize)
        self.plan, self.direct, self.needs_finite = made, direct, made.needs_finite
        self.has_bias = "bias" in problem.optional
        a = &self.args
        a.relu, a.streams = problem.activation == contract.RELU, made.streams
        a.source_strides = strides(arrays.element_strides(made.source_shape, arrays.CONTIGUOUS))
        a.padded = padded_of(made.padded)
        a.entries, a.blocks = <const int64_t*> address(made.entries), <const int64_t*> address(made.blocks)
        N, a.C, _, _ = made.source_shape
        _, a.K, a.out_rows, a.out_cols = made.target_shape
        a.weight_c, a.weight_k = made.weight_steps
        a.taps, a.block_count, a.per_chunk = len(made.entries), len(made.blocks), made.per_chunk
        a.plane, a.buffer = made.plane, made.buffer
        a.scratch_bytes = whole_lines((self.kernels.vectors * self.kernels.lanes * self.kernels.columns + a.buffer) * itemsize)
        self.items = N * made.padded.blocks
        self.item_flops = problem.geometry.flops // self.items

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return self.args.scratch_bytes

    def __call__(self, source, weight, *rest):
        if self.needs_finite and not np.isfinite(weight).all():
            direct = self.direct()
            return direct.run(source, direct.pack(weight), *rest)
        cdef fc_first_layer_args a = self.args
        a.source, a.weight, a.target = address(source), address(weight), address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef Py_ssize_t threads = num_threads(), items = self.items, chunk = grain(self.item_flops)
        with nogil:
            a.scratch = <char*> take(threads * a.scratch_bytes)
            if a.scratch != NULL:
                parallel_for_threads(self.kernels.first_layer, &a, items, chunk, threads)
                give(a.scratch, threads * a.scratch_bytes)
        return contract.OUT_OF_MEMORY if a.scratch == NULL else contract.OK


def _prepare(problem, transposed):
    made = plan.first_layer_plan(problem.geometry, problem.formats, vector_unit(problem), transposed)
    if isinstance(made, str):
        return contract.Declined(made)
    run = FirstLayer(problem, made, lambda: prepare_direct(problem, transposed))
    return contract.Kernel("first_layer", run, workspace_bytes=run.scratch_bytes)


VARIANTS = {
    "conv2d_forward": (contract.Variant("first_layer", lambda problem: _prepare(problem, transposed=False)),),
    "conv2d_grad_input": (contract.Variant("first_layer", lambda problem: _prepare(problem, transposed=True)),),
}
