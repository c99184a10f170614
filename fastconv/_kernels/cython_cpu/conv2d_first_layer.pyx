"""First layers on planes in C for every instruction set: forward of few input channels."""

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
        Py_ssize_t C, K, taps, out_rows, out_cols, block_count, per_chunk, plane, buffer, scratch_bytes
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
    cdef object plan, problem

    def __init__(self, problem, made):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = <const fc_first_layer_kernels*> first_layer_kernels(itemsize)
        self.plan, self.problem, self.needs_finite = made, problem, made.needs_finite
        self.has_bias = "bias" in problem.optional
        a = &self.args
        a.relu, a.streams = problem.activation == contract.RELU, made.streams
        a.source_strides = strides(arrays.element_strides(g.x_shape, arrays.CONTIGUOUS))
        a.padded = padded_of(made.padded)
        a.entries, a.blocks = <const int64_t*> address(made.entries), <const int64_t*> address(made.blocks)
        a.C, a.K, a.taps, a.out_rows, a.out_cols = g.C, g.K, len(made.entries), g.rows.out, g.cols.out
        a.block_count, a.per_chunk, a.plane, a.buffer = len(made.blocks), made.per_chunk, made.plane, made.buffer
        a.scratch_bytes = whole_lines((self.kernels.vectors * self.kernels.lanes * self.kernels.columns + a.buffer) * itemsize)
        self.items = g.N * made.padded.blocks
        self.item_flops = g.flops // self.items

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return self.args.scratch_bytes

    def __call__(self, source, weight, *rest):
        if self.needs_finite and not np.isfinite(weight).all():
            direct = prepare_direct(self.problem)
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


def _prepare(problem):
    made = plan.first_layer_plan(problem.geometry, problem.formats, vector_unit(problem))
    if isinstance(made, str):
        return contract.Declined(made)
    run = FirstLayer(problem, made)
    return contract.Kernel("first_layer", run, workspace_bytes=run.scratch_bytes)


VARIANTS = {"conv2d_forward": (contract.Variant("first_layer", _prepare),)}
