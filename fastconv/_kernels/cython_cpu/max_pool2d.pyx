"""Max-pooling in C for every instruction set, driven from here: plan -> arguments -> thread pool."""

from libc.stdint cimport int64_t

from fastconv._kernels.cython_cpu.operands cimport address, axis, fc_axis, fc_kernel, fc_strides, grain, strides
from fastconv._kernels.pool._native cimport parallel_for

import numpy as np

from fastconv import arrays
from fastconv._kernels import contract, plan
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "max_pool2d_args.h" nogil:
    ctypedef struct fc_pool_args:
        const void *x
        void *out
        void *offsets
        fc_strides x_strides, out_strides
        fc_axis rows, cols
        Py_ssize_t N, C, tap_cols, offset_bytes
        int channels_last
    ctypedef struct fc_unpool_args:
        const void *grad_out
        const void *offsets
        void *grad_input
        fc_strides out_strides, x_strides
        const int64_t *tap_rows
        const int64_t *tap_cols
        Py_ssize_t N, C, H, W, OH, OW, taps, offset_bytes, row_stride, col_stride, row_low, col_low
        Py_ssize_t channels
    ctypedef struct fc_max_pool2d_kernels:
        Py_ssize_t channels_last_item
        fc_kernel forward, grad_input
    const fc_max_pool2d_kernels* fc_max_pool2d_select(int itemsize)


cdef class Forward:
    """Items are output rows of one channel, or of all channels in channels_last."""

    cdef fc_pool_args args
    cdef const fc_max_pool2d_kernels* kernels
    cdef Py_ssize_t items, item_flops
    cdef bint has_offsets
    cdef object plans

    def __init__(self, problem):
        g = problem.geometry
        self.kernels = fc_max_pool2d_select(FLOAT_TYPES[problem.dtype].storage.itemsize)
        self.has_offsets = "offsets" in problem.optional
        self.plans = plan.forward_axis(g.rows), plan.forward_axis(g.cols)
        a = &self.args
        a.rows, a.cols = axis(self.plans[0]), axis(self.plans[1])
        a.x_strides = strides(arrays.element_strides(g.x_shape, problem.formats[0]))
        a.out_strides = strides(arrays.element_strides(g.out_shape, problem.formats[1]))
        a.N, a.C, a.tap_cols = g.N, g.C, g.cols.kernel
        a.offset_bytes = np.dtype(contract.offsets_dtype(g)).itemsize
        a.channels_last = problem.formats[0] == arrays.CHANNELS_LAST
        self.items = g.N * g.rows.out * (1 if a.channels_last else g.C)
        self.item_flops = g.flops // max(1, self.items)

    def __call__(self, x, out, *offsets):
        cdef fc_pool_args a = self.args
        a.x, a.out = address(x), address(out)
        a.offsets = address(offsets[0]) if self.has_offsets else NULL
        cdef Py_ssize_t items = self.items, chunk = grain(8 * self.item_flops)
        with nogil:
            parallel_for(self.kernels.forward, &a, items, chunk)
        return contract.OK


cdef class GradInput:
    """Items are planes, which no two threads share."""

    cdef fc_unpool_args args
    cdef const fc_max_pool2d_kernels* kernels
    cdef Py_ssize_t items
    cdef object taps

    def __init__(self, problem):
        g = problem.geometry
        self.kernels = fc_max_pool2d_select(FLOAT_TYPES[problem.dtype].storage.itemsize)
        self.taps = plan.tap_positions(g.rows, g.cols)
        a = &self.args
        a.tap_rows, a.tap_cols = <const int64_t*> address(self.taps[0]), <const int64_t*> address(self.taps[1])
        a.out_strides = strides(arrays.element_strides(g.out_shape, problem.formats[0]))
        a.x_strides = strides(arrays.element_strides(g.x_shape, problem.formats[1]))
        a.N, a.C, a.H, a.W, a.OH, a.OW = g.N, g.C, g.rows.size, g.cols.size, g.rows.out, g.cols.out
        a.taps, a.offset_bytes = g.taps, np.dtype(contract.offsets_dtype(g)).itemsize
        a.row_stride, a.col_stride, a.row_low, a.col_low = g.rows.stride, g.cols.stride, g.rows.low, g.cols.low
        a.channels = self.kernels.channels_last_item if problem.formats[1] == arrays.CHANNELS_LAST else 1
        self.items = g.N * -(-g.C // a.channels)

    def __call__(self, grad_out, offsets, grad_input):
        cdef fc_unpool_args a = self.args
        a.grad_out, a.offsets, a.grad_input = address(grad_out), address(offsets), address(grad_input)
        cdef Py_ssize_t items = self.items, chunk = grain(8 * a.channels * a.OH * a.OW)
        with nogil:
            parallel_for(self.kernels.grad_input, &a, items, chunk)
        return contract.OK


def _prepare_forward(problem):
    if problem.formats[0] != problem.formats[1]:
        return contract.Declined("x and out must have one memory format")
    return contract.Kernel("direct", Forward(problem))


def _prepare_grad_input(problem):
    return contract.Kernel("direct", GradInput(problem))


VARIANTS = {
    "max_pool2d_forward": (contract.Variant("direct", _prepare_forward),),
    "max_pool2d_grad_input": (contract.Variant("direct", _prepare_grad_input),),
}
