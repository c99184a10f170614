"""grad_weight in C for every instruction set, driven from here: plan -> arguments -> thread pool."""

from libc.stdint cimport int64_t

from fastconv._kernels.buffers._native cimport give, take
from fastconv._kernels.cython_cpu.conv2d cimport grad_weight_kernels
from fastconv._kernels.cython_cpu.operands cimport address, axis, fc_axis, fc_kernel, fc_strides, grain, strides, whole_lines
from fastconv._kernels.pool._native cimport num_threads, parallel_for_threads

from fastconv._kernels import contract, plan
from fastconv._kernels.cython_cpu.conv2d import vector_unit
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "grad_weight_args.h" nogil:
    ctypedef struct fc_taps:
        const int64_t *first
        const int64_t *segments
    ctypedef struct fc_grad_weight_args:
        const void *grad_out
        const void *x
        void *grad_weight
        char *scratch
        void *partials
        void *interleaved
        fc_strides grad_out_strides, x_strides
        fc_taps rows, cols
        fc_axis merged
        const int64_t *k_blocks
        Py_ssize_t N, groups, C, K, tap_rows, tap_cols, out_rows, out_cols, row_step, col_step
        Py_ssize_t k_block_count, k_group, c_block, tap_block, images, row_block, col_block
        Py_ssize_t pieces, span, segments, parts
        Py_ssize_t sums, packed, entries, scratch_bytes
        Py_ssize_t x_rows, joined, x_channels
        int exchanged, in_place, streams, merges
    ctypedef struct fc_grad_weight_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel interleave, grad_weight, reduce


cdef fc_taps taps(object plan) except *:
    cdef fc_taps result
    result.first = <const int64_t*> address(plan.first)
    result.segments = <const int64_t*> address(plan.segments)
    return result


cdef class GradWeight:
    """Items are parts of grad_weight or of its sum, so that no thread adds to another one's sums."""

    cdef fc_grad_weight_args args
    cdef const fc_grad_weight_kernels* kernels
    cdef Py_ssize_t item_flops, partial_bytes, interleaved_bytes
    cdef object plan

    def __init__(self, problem, Py_ssize_t joined):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = <const fc_grad_weight_kernels*> grad_weight_kernels(itemsize)
        self.plan = made = plan.grad_weight_plan(g, problem.formats, vector_unit(problem), joined)
        a = &self.args
        a.rows, a.cols = taps(made.rows), taps(made.cols)
        a.grad_out_strides, a.x_strides = strides(made.grad_out_strides), strides(made.x_strides)
        a.N, a.groups, a.C, a.K, a.tap_rows, a.tap_cols = g.N, made.groups, made.C, made.K, g.rows.kernel, g.cols.kernel
        a.joined, a.x_channels = made.joined, made.x_channels
        a.exchanged, a.in_place, a.merges = made.exchanged, made.in_place, made.merged is not None
        a.streams = made.streams
        a.x_rows = a.x_strides.n // a.x_strides.h
        if a.merges:
            a.merged = axis(made.merged)
        a.out_rows, a.out_cols = made.out_shape[2:]
        a.row_step, a.col_step = g.rows.stride, g.cols.stride
        a.k_blocks, a.k_block_count = <const int64_t*> address(made.k_blocks), len(made.k_blocks)
        a.k_group, a.c_block, a.tap_block, a.parts = made.k_group, made.c_block, made.tap_block, made.parts
        a.images, a.row_block, a.col_block = made.images, made.row_block, made.col_block
        a.pieces, a.span, a.segments = made.pieces, made.span, made.segments
        a.sums, a.packed, a.entries = made.sums, made.packed, made.entries
        self.item_flops = g.flops // max(1, a.segments * a.parts)
        self.partial_bytes = a.segments * a.parts * a.sums * itemsize if a.segments > 1 else 0
        self.interleaved_bytes = made.interleaved * itemsize
        a.scratch_bytes = whole_lines((2 * a.sums + a.packed) * itemsize + 16 * a.entries)

    @property
    def scratch_bytes(self):
        """What one thread needs, and what all share."""
        return self.args.scratch_bytes + self.partial_bytes + self.interleaved_bytes

    def __call__(self, grad_out, x, grad_weight):
        cdef fc_grad_weight_args a = self.args
        a.grad_out, a.x, a.grad_weight = address(grad_out), address(x), address(grad_weight)
        if a.exchanged:
            a.grad_out, a.x = a.x, a.grad_out
        cdef Py_ssize_t threads = num_threads(), rows = a.N * a.x_rows, chunk = grain(4 * a.x_strides.h)
        cdef Py_ssize_t items = a.segments * a.parts, summed = grain(self.item_flops)
        cdef Py_ssize_t reduced = grain(8 * a.segments * a.sums)
        cdef Py_ssize_t size = threads * a.scratch_bytes + self.partial_bytes + self.interleaved_bytes
        with nogil:
            a.scratch = <char*> take(size)
            if a.scratch != NULL:
                a.partials = a.scratch + threads * a.scratch_bytes
                a.interleaved = NULL
                if self.interleaved_bytes:
                    a.interleaved = <char*> a.partials + self.partial_bytes
                    parallel_for_threads(self.kernels.interleave, &a, rows, chunk, threads)
                parallel_for_threads(self.kernels.grad_weight, &a, items, summed, threads)
                if a.segments > 1:
                    parallel_for_threads(self.kernels.reduce, &a, a.parts, reduced, threads)
                give(a.scratch, size)
        return contract.OUT_OF_MEMORY if a.scratch == NULL else contract.OK


def _prepare_groups(problem):
    g, unit = problem.geometry, vector_unit(problem)
    reason = plan.groups_reason(g, g.C, unit)
    return contract.Declined(reason) if reason else _prepare("grouped", problem, plan.joined_groups(g, unit))


def _prepare(name, problem, joined=1):
    run = GradWeight(problem, joined)
    return contract.Kernel(name, run, workspace_bytes=run.scratch_bytes)


def prepare_direct(problem):
    """grad_weight for any problem: what special kernels hand on."""
    return _prepare("direct", problem)


VARIANTS = {
    "conv2d_grad_weight": (
        contract.Variant("grouped", _prepare_groups),
        contract.Variant("direct", prepare_direct),
    )
}
