"""Depthwise convolution in C for every instruction set: one input and one output channel per group. This is forward and
grad_input; conv2d_depthwise_grads has the rest.

Two forms: channels_last arrays are computed with lanes along channels, straight from their memory; all others with lanes
along columns, from a padded copy of some rows that stays in L1.
"""

from libc.stdint cimport int64_t, uint8_t

from fastconv._kernels.cython_cpu.conv2d cimport ending
from fastconv._kernels.cython_cpu.operands cimport address, axis, strides
from fastconv._kernels.pool._native cimport parallel_for

import numpy as np

from fastconv import arrays
from fastconv._kernels import contract, plan
from fastconv._kernels.plan import depthwise, sweeps
from fastconv.dtypes import FLOAT_TYPES

cdef Py_ssize_t CHUNK_FLOPS = depthwise.CHUNK_FLOPS


cdef const fc_depthwise_kernels* depthwise_kernels(int itemsize) noexcept:
    return fc_depthwise_select(itemsize)


# Items per chunk: at least some microseconds, memory and the handling of small planes counted.
cdef Py_ssize_t grain(Py_ssize_t flops_per_item) noexcept:
    return max(1, CHUNK_FLOPS // max(1, flops_per_item))


cdef const int64_t* integers(object array) except? NULL:
    return <const int64_t*> address(array)


cdef fc_sweep sweep_of(object plan) except *:
    cdef fc_sweep result
    result.start, result.count, result.source, result.step = plan.start, plan.count, plan.source, plan.step
    result.phases, result.head, result.tail = plan.phases, plan.head, plan.tail
    result.first, result.direction = plan.first, plan.direction
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
        self.kernels = depthwise_kernels(itemsize)
        self.has_bias = "bias" in problem.optional
        make_plan = plan.grad_input_axis if transposed else plan.forward_axis
        self.plans = make_plan(g.rows, g.padding_mode), make_plan(g.cols, g.padding_mode)
        shapes = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        a = &self.args
        a.rows, a.cols = axis(self.plans[0]), axis(self.plans[1])
        a.sweep = sweep_of(sweeps.sweep(self.plans[1], g.cols.kernel))
        a.source_strides = strides(arrays.element_strides(shapes[0], problem.formats[0]))
        a.target_strides = strides(arrays.element_strides(shapes[1], problem.formats[1]))
        a.N, a.C, a.tap_cols = g.N, g.C, g.cols.kernel
        a.row_step = 1 if transposed else g.rows.stride
        a.far = depthwise.is_far(g, itemsize)
        a.activation = ending(problem.activation)
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
        self.kernels = depthwise_kernels(itemsize)
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
        a.far = depthwise.are_planes_far(g, problem.formats, itemsize)
        a.activation = ending(problem.activation)
        # Narrow rows are written as whole vectors, which must not reach beyond the next row.
        phases = padded.rows.phases * padded.cols.phases
        a.direct = a.target_strides.w == 1 and 4 * a.cols.targets >= self.kernels.lanes * padded.cols.phases
        a.paired = a.direct and padded.is_paired
        a.direct &= phases == 1 or a.paired
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


def declined(problem):
    """Why no depthwise kernel takes the problem, or None."""
    reason = depthwise.decline_reason(problem.geometry)
    return contract.Declined(reason) if reason else None


def along_channels(problem):
    """Whether lanes are channels of channels_last arrays."""
    itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
    return depthwise.along_channels(problem.geometry, problem.formats, depthwise_kernels(itemsize).lanes)


def _prepare_sum(problem, transposed):
    if along_channels(problem):
        pixels = PixelSum(problem, transposed)
        return contract.Kernel("depthwise", pixels, pixels.pack)
    return contract.Kernel("depthwise", PlaneSum(problem, transposed))


def _prepare_forward(problem):
    return declined(problem) or _prepare_sum(problem, False)


def _prepare_grad_input(problem):
    return declined(problem) or _prepare_sum(problem, True)


VARIANTS = {
    "conv2d_forward": (contract.Variant("depthwise", _prepare_forward),),
    "conv2d_grad_input": (contract.Variant("depthwise", _prepare_grad_input),),
}
