# What depthwise_args.h declares.

from libc.stdint cimport int64_t, uint8_t

from fastconv._kernels.cython_cpu.operands cimport fc_axis, fc_kernel, fc_strides

cdef extern from "depthwise_args.h" nogil:
    ctypedef struct fc_sweep:
        Py_ssize_t start, count, source, step, phases, head, tail, first, direction
    ctypedef struct fc_lattice:
        Py_ssize_t phases, step, size
        const int64_t *counts
        const int64_t *first
        const int64_t *taps
        const int64_t *places
        const int64_t *sources
    ctypedef struct fc_padded:
        fc_lattice rows, cols
        Py_ssize_t bulk_source, bulk_count, bulk_phase, bulk_index, bulk_top, bulk_bottom, extra_count
        const int64_t *extras
        Py_ssize_t block, blocks, height, pitch, width
    ctypedef struct fc_pixel_args:
        const void *source
        const void *weight
        const void *bias
        void *target
        fc_strides source_strides, target_strides
        fc_axis rows, cols
        fc_sweep sweep
        Py_ssize_t N, C, tap_cols, row_step, far
        int activation
    ctypedef struct fc_plane_args:
        const void *source
        const void *weight
        const void *bias
        void *target
        fc_strides source_strides, target_strides
        fc_axis rows, cols
        fc_padded padded
        const uint8_t *row_marks
        const uint8_t *run_marks
        Py_ssize_t N, C, tap_rows, tap_cols, far, direct, paired, highest_mark, weights_finite
        int activation, status
    ctypedef struct fc_pixel_grad_args:
        const void *grad_out
        const void *x
        void *partial
        void *grad_weight
        fc_strides grad_out_strides, x_strides
        fc_axis rows, cols
        fc_sweep sweep
        Py_ssize_t N, C, taps, tap_cols, row_step, far, chunks, vectors_per_item
        int status
    ctypedef struct fc_strip_grad_args:
        fc_pixel_grad_args planes
        const int64_t *row_blocks
        Py_ssize_t block_count, x_pixels, grad_out_pixels
        int status
    ctypedef struct fc_plane_grad_args:
        const void *grad_out
        const void *x
        void *partial
        void *grad_weight
        fc_strides grad_out_strides, x_strides
        fc_axis rows, cols
        fc_padded padded
        Py_ssize_t N, C, tap_rows, tap_cols, far, chunks, channels_per_item
        int status
    ctypedef struct fc_depthwise_kernels:
        Py_ssize_t lanes
        fc_kernel pixel_sum, pixel_grad, pixel_reduce, strip_grad, plane_check,
        fc_kernel plane_sum, plane_grad, plane_reduce
    const fc_depthwise_kernels* fc_depthwise_select(int itemsize)

# What grad_weight shares, which is another extension.
cdef const fc_depthwise_kernels* depthwise_kernels(int itemsize) noexcept
cdef Py_ssize_t grain(Py_ssize_t flops_per_item) noexcept
cdef const int64_t* integers(object array) except? NULL
cdef fc_sweep sweep_of(object plan) except *
cdef fc_padded padded_of(object plan) except *
