"""Depthwise convolution in C for every instruction set: one input and one output channel per group.

Two forms: channels_last arrays are computed with lanes along channels, straight from their memory; all others with lanes
along columns, from a padded copy of some rows that stays in L1.
"""

from libc.stdint cimport int64_t, uint8_t

from fastconv._kernels.buffers._native cimport give, take
from fastconv._kernels.cython_cpu.operands cimport address, axis, strides
from fastconv._kernels.pool._native cimport parallel_for

import numpy as np

from fastconv import arrays
from fastconv._kernels import contract, plan
from fastconv._kernels.plan import depthwise
from fastconv.dtypes import FLOAT_TYPES

cdef Py_ssize_t CHUNK_FLOPS = depthwise.CHUNK_FLOPS


# Items per chunk: at least some microseconds, memory and the handling of small planes counted.
cdef Py_ssize_t grain(Py_ssize_t flops_per_item) noexcept:
    return max(1, CHUNK_FLOPS // max(1, flops_per_item))


cdef const int64_t* integers(object array) except? NULL:
    return <const int64_t*> address(array)


cdef fc_sweep sweep_of(object plan) except *:
    cdef fc_sweep result
    result.start, result.count, result.source, result.step = plan.start, plan.count, plan.source, plan.step
    result.head, result.tail, result.first, result.direction = plan.head, plan.tail, plan.first, plan.direction
    return result


cdef fc_lattice lattice_of(object plan) except *:
    cdef fc_lattice result
    result.phases, result.step, result.size = plan.phases, plan.step, len(plan.sources)
    result.counts, result.first, result.taps = integers(plan.counts), integers(plan.first), integers(plan.taps)
    result.places, result.sources = integers(plan.places), integers(plan.sources)
    return result


# A depthwise.Padded, which the caller keeps alive.
cdef fc_padded padded_of(object plan) except *:
    cdef fc_padded result
    result.rows, result.cols = lattice_of(plan.rows), lattice_of(plan.cols)
    result.bulk_source, result.bulk_count = plan.bulk_source, plan.bulk_count
    result.bulk_phase, result.bulk_index = plan.bulk_phase, plan.bulk_index
    result.bulk_top, result.bulk_bottom = plan.bulk_top, plan.bulk_bottom
    result.extra_count, result.extras = len(plan.extras), integers(plan.extras)
    result.block, result.blocks, result.height = plan.block, plan.blocks, plan.height
    result.pitch, result.width = plan.pitch, plan.width
    return result


cdef class PixelSum:
    """Forward and grad_input in channels_last. Items are target rows."""

    cdef fc_pixel_args args
    cdef const fc_depthwise_kernels* kernels
    cdef bint has_bias
    cdef Py_ssize_t items, item_flops
    cdef object plans

    def __init__(self, problem, bint transposed):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_depthwise_select(itemsize)
        self.has_bias = "bias" in problem.optional
        make_plan = plan.grad_input_axis if transposed else plan.forward_axis
        self.plans = make_plan(g.rows, g.padding_mode), make_plan(g.cols, g.padding_mode)
        shapes = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        a = &self.args
        a.rows, a.cols = axis(self.plans[0]), axis(self.plans[1])
        a.sweep = sweep_of(depthwise.sweep(self.plans[1], g.cols.kernel))
        a.source_strides = strides(arrays.element_strides(shapes[0], arrays.CHANNELS_LAST))
        a.target_strides = strides(arrays.element_strides(shapes[1], arrays.CHANNELS_LAST))
        a.N, a.C, a.tap_cols = g.N, g.C, g.cols.kernel
        a.row_step = 1 if transposed else g.rows.stride
        a.far = depthwise.is_far(g, itemsize)
        self.items = g.N * a.rows.targets
        self.item_flops = g.flops // max(1, self.items)

    def pack(self, weight):
        """Channels beside each other: [tap][C]."""
        C, taps = weight.shape[0], weight.shape[2] * weight.shape[3]
        return np.ascontiguousarray(weight.reshape(C, taps).T)

    def __call__(self, source, packed, *rest):
        cdef fc_pixel_args a = self.args
        a.source, a.weight, a.target = address(source), address(packed), address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        with nogil:
            parallel_for(self.kernels.pixel_sum, &a, items, chunk)
        return contract.OK


cdef class PlaneSum:
    """Forward and grad_input in any format. Items are blocks of rows of one plane."""

    cdef fc_plane_args args
    cdef const fc_depthwise_kernels* kernels
    cdef bint has_bias
    cdef Py_ssize_t items, item_flops
    cdef object plans

    def __init__(self, problem, bint transposed):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_depthwise_select(itemsize)
        self.has_bias = "bias" in problem.optional
        make_plan = plan.grad_input_axis if transposed else plan.forward_axis
        rows, cols = make_plan(g.rows, g.padding_mode), make_plan(g.cols, g.padding_mode)
        padded = depthwise.padded(g.rows, g.cols, g.padding_mode, transposed, itemsize)
        run_marks = padded.cols.marks[cols.runs[:, 0]]
        self.plans = rows, cols, padded, run_marks
        shapes = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        a = &self.args
        a.rows, a.cols, a.padded = axis(rows), axis(cols), padded_of(padded)
        a.source_strides = strides(arrays.element_strides(shapes[0], problem.formats[0]))
        a.target_strides = strides(arrays.element_strides(shapes[1], problem.formats[1]))
        a.row_marks, a.run_marks = <const uint8_t*> address(padded.rows.marks), <const uint8_t*> address(run_marks)
        a.highest_mark = max(padded.rows.marks.max(), run_marks.max())
        a.N, a.C, a.tap_rows, a.tap_cols, a.status = g.N, g.C, g.rows.kernel, g.cols.kernel, contract.OK
        # Narrow rows are written as whole vectors, which must not reach beyond the next row.
        wide_enough = 4 * a.cols.targets >= self.kernels.lanes
        a.direct = a.target_strides.w == 1 and padded.rows.phases * padded.cols.phases == 1 and wide_enough
        self.items = g.N * g.C * padded.blocks
        self.item_flops = g.flops // max(1, self.items)

    def __call__(self, source, weight, *rest):
        cdef fc_plane_args a = self.args
        a.source, a.weight, a.target = address(source), address(weight), address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        with nogil:
            if a.highest_mark > 0:
                self.kernels.plane_check(&a, 0, 1, 0)
            parallel_for(self.kernels.plane_sum, &a, items, chunk)
        return contract.OUT_OF_MEMORY if a.status else contract.OK


cdef class PixelGradWeight:
    """grad_weight in channels_last. Items are some channels of a chunk of rows."""

    cdef fc_pixel_grad_args args
    cdef const fc_depthwise_kernels* kernels
    cdef Py_ssize_t items, vectors
    cdef readonly Py_ssize_t scratch_bytes
    cdef object plans

    def __init__(self, problem):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_depthwise_select(itemsize)
        self.plans = plan.forward_axis(g.rows, g.padding_mode), plan.forward_axis(g.cols, g.padding_mode)
        a = &self.args
        a.rows, a.cols = axis(self.plans[0]), axis(self.plans[1])
        a.sweep = sweep_of(depthwise.sweep(self.plans[1], g.cols.kernel))
        a.grad_out_strides = strides(arrays.element_strides(g.out_shape, arrays.CHANNELS_LAST))
        a.x_strides = strides(arrays.element_strides(g.x_shape, arrays.CHANNELS_LAST))
        a.N, a.C, a.taps, a.tap_cols = g.N, g.C, g.rows.kernel * g.cols.kernel, g.cols.kernel
        self.vectors = -(-g.C // self.kernels.lanes)
        made = depthwise.pixel_shares(g, self.kernels.lanes)
        a.vectors_per_item, a.chunks, a.status = made.group, made.chunks, contract.OK
        self.items = a.chunks * made.shares
        self.scratch_bytes = a.chunks * self.vectors * self.kernels.lanes * a.taps * itemsize

    def __call__(self, grad_out, x, grad_weight):
        cdef fc_pixel_grad_args a = self.args
        a.grad_out, a.x, a.grad_weight = address(grad_out), address(x), address(grad_weight)
        a.partial = take(self.scratch_bytes)
        if a.partial == NULL:
            return contract.OUT_OF_MEMORY
        cdef Py_ssize_t items = self.items, vectors = self.vectors, chunk = grain(a.taps * a.chunks * self.kernels.lanes)
        with nogil:
            parallel_for(self.kernels.pixel_grad, &a, items, 1)
            if not a.status:
                parallel_for(self.kernels.pixel_reduce, &a, vectors, chunk)
            give(a.partial, self.scratch_bytes)
        return contract.OUT_OF_MEMORY if a.status else contract.OK


cdef class PlaneGradWeight:
    """grad_weight in any format. Items are some channels of a chunk of blocks of rows."""

    cdef fc_plane_grad_args args
    cdef const fc_depthwise_kernels* kernels
    cdef Py_ssize_t items, item_flops
    cdef readonly Py_ssize_t scratch_bytes
    cdef object plans

    def __init__(self, problem):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_depthwise_select(itemsize)
        padded = depthwise.padded(g.rows, g.cols, g.padding_mode, False, itemsize)
        self.plans = plan.forward_axis(g.rows, g.padding_mode), plan.forward_axis(g.cols, g.padding_mode), padded
        a = &self.args
        a.rows, a.cols, a.padded = axis(self.plans[0]), axis(self.plans[1]), padded_of(padded)
        a.grad_out_strides = strides(arrays.element_strides(g.out_shape, problem.formats[0]))
        a.x_strides = strides(arrays.element_strides(g.x_shape, problem.formats[1]))
        a.N, a.C, a.tap_rows, a.tap_cols, a.status = g.N, g.C, g.rows.kernel, g.cols.kernel, contract.OK
        made = depthwise.plane_shares(g, padded.blocks)
        a.channels_per_item, a.chunks = made.group, made.chunks
        self.items = a.chunks * made.shares
        self.item_flops = g.flops // max(1, self.items)
        self.scratch_bytes = a.chunks * g.C * a.tap_rows * a.tap_cols * itemsize

    def __call__(self, grad_out, x, grad_weight):
        cdef fc_plane_grad_args a = self.args
        a.grad_out, a.x, a.grad_weight = address(grad_out), address(x), address(grad_weight)
        a.partial = take(self.scratch_bytes)
        if a.partial == NULL:
            return contract.OUT_OF_MEMORY
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        cdef Py_ssize_t channels = a.C, channel_chunk = grain(a.tap_rows * a.tap_cols * a.chunks)
        with nogil:
            parallel_for(self.kernels.plane_grad, &a, items, chunk)
            if not a.status:
                parallel_for(self.kernels.plane_reduce, &a, channels, channel_chunk)
            give(a.partial, self.scratch_bytes)
        return contract.OUT_OF_MEMORY if a.status else contract.OK


def _declined(problem):
    reason = depthwise.decline_reason(problem.geometry, problem.activation)
    return contract.Declined(reason) if reason else None


def _along_channels(problem):
    itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
    return depthwise.along_channels(problem.geometry, problem.formats, fc_depthwise_select(itemsize).lanes)


def _prepare_sum(problem, transposed):
    if _along_channels(problem):
        pixels = PixelSum(problem, transposed)
        return contract.Kernel("depthwise", pixels, pixels.pack)
    return contract.Kernel("depthwise", PlaneSum(problem, transposed))


def _prepare_forward(problem):
    return _declined(problem) or _prepare_sum(problem, False)


def _prepare_grad_input(problem):
    return _declined(problem) or _prepare_sum(problem, True)


def _prepare_grad_weight(problem):
    if refusal := _declined(problem):
        return refusal
    run = PixelGradWeight(problem) if _along_channels(problem) else PlaneGradWeight(problem)
    return contract.Kernel("depthwise", run, workspace_bytes=run.scratch_bytes)


VARIANTS = {
    "conv2d_forward": (contract.Variant("depthwise", _prepare_forward),),
    "conv2d_grad_input": (contract.Variant("depthwise", _prepare_grad_input),),
    "conv2d_grad_weight": (contract.Variant("depthwise", _prepare_grad_weight),),
}
