"""First layers on planes in C for every instruction set: forward and both gradients of few channels."""

from libc.stdint cimport int64_t

from fastconv._kernels.buffers._native cimport give, take
from fastconv._kernels.cython_cpu.conv2d cimport ending, first_layer_kernels
from fastconv._kernels.cython_cpu.conv2d_depthwise cimport fc_padded, padded_of
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, fc_strides, grain, run_on_scratch
from fastconv._kernels.cython_cpu.operands cimport strides, whole_lines
from fastconv._kernels.pool._native cimport num_threads, parallel_for_threads

import numpy as np

from fastconv import arrays
from fastconv._kernels import contract, plan
from fastconv._kernels.cython_cpu import conv2d_grad_weight
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
        int activation, streams
    ctypedef struct fc_first_layer_grad_args:
        const void *grad_out
        const void *x
        void *grad_weight
        char *scratch
        void *partials
        fc_strides x_strides
        fc_padded padded
        const int64_t *k_blocks
        const int64_t *runs
        Py_ssize_t N, C, K, taps, out_rows, out_cols, k_block_count, run_count, tap_step, x_shift, vectors, pitch
        Py_ssize_t images, pieces, segments, per_chunk, plane, copy, gradients, scratch_bytes
    ctypedef struct fc_first_layer_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel first_layer, grad_weight, reduce


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
        a.activation, a.streams = ending(problem.activation), made.streams
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
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        cdef bint runs
        with nogil:
            runs = run_on_scratch(self.kernels.first_layer, &a, &a.scratch, a.scratch_bytes, items, chunk)
        return contract.OK if runs else contract.OUT_OF_MEMORY


cdef class FirstLayerGrad:
    """Items are segments of the outputs, whose sums are added afterwards."""

    cdef fc_first_layer_grad_args args
    cdef const fc_first_layer_kernels* kernels
    cdef bint needs_finite
    cdef Py_ssize_t item_flops, partial_bytes
    cdef object plan, problem

    def __init__(self, problem, made):
        g, itemsize = problem.geometry, FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = <const fc_first_layer_kernels*> first_layer_kernels(itemsize)
        self.plan, self.problem, self.needs_finite = made, problem, made.needs_finite
        a = &self.args
        a.x_strides = strides(arrays.element_strides(g.x_shape, arrays.CONTIGUOUS))
        a.padded = padded_of(made.padded)
        a.k_blocks, a.runs = <const int64_t*> address(made.k_blocks), <const int64_t*> address(made.runs)
        a.k_block_count, a.run_count = len(made.k_blocks), len(made.runs)
        a.N, a.C, a.K, a.taps = g.N, g.C, g.K, g.rows.kernel * g.cols.kernel
        a.out_rows, a.out_cols = g.rows.out, g.cols.out
        a.tap_step, a.x_shift, a.vectors, a.pitch = made.tap_step, made.x_shift, made.vectors, made.pitch
        a.images, a.pieces, a.segments, a.per_chunk = made.images, made.pieces, made.segments, made.per_chunk
        a.plane, a.copy, a.gradients = made.plane, made.copy, made.gradients
        self.item_flops = g.flops // a.segments
        self.partial_bytes = a.segments * a.K * a.C * a.taps * itemsize
        cdef Py_ssize_t elements = a.copy + a.gradients + int(made.k_blocks[:, 1].max()) * a.C * a.taps
        a.scratch_bytes = whole_lines(elements * itemsize + 16 * a.images * a.padded.block)

    @property
    def scratch_bytes(self):
        """What one thread needs, and what all share."""
        return self.args.scratch_bytes + self.partial_bytes

    def __call__(self, grad_out, x, grad_weight):
        cdef fc_first_layer_grad_args a = self.args
        a.grad_out, a.x, a.grad_weight = address(grad_out), address(x), address(grad_weight)
        cdef Py_ssize_t threads = num_threads(), size = threads * a.scratch_bytes + self.partial_bytes
        cdef Py_ssize_t summed = grain(self.item_flops), reduced = grain(8 * a.segments * a.C * a.taps)
        with nogil:
            a.scratch = <char*> take(size)
            if a.scratch != NULL:
                a.partials = a.scratch + threads * a.scratch_bytes
                parallel_for_threads(self.kernels.grad_weight, &a, a.segments, summed, threads)
                parallel_for_threads(self.kernels.reduce, &a, a.K, reduced, threads)
                give(a.scratch, size)
        if a.scratch == NULL:
            return contract.OUT_OF_MEMORY
        if self.needs_finite and not np.isfinite(grad_weight).all():
            return conv2d_grad_weight.prepare_direct(self.problem).run(grad_out, x, grad_weight)
        return contract.OK


def _prepare_grad_weight(problem):
    made = plan.first_layer_grad_plan(problem.geometry, problem.formats, vector_unit(problem))
    return contract.planned("first_layer", made, lambda: FirstLayerGrad(problem, made))


def _prepare(problem, transposed):
    made = plan.first_layer_plan(problem.geometry, problem.formats, vector_unit(problem), transposed)

    def direct():
        return prepare_direct(problem, transposed)

    return contract.planned("first_layer", made, lambda: FirstLayer(problem, made, direct))


VARIANTS = {
    "conv2d_forward": (contract.Variant("first_layer", lambda problem: _prepare(problem, transposed=False)),),
    "conv2d_grad_input": (contract.Variant("first_layer", lambda problem: _prepare(problem, transposed=True)),),
    "conv2d_grad_weight": (contract.Variant("first_layer", _prepare_grad_weight),),
}
