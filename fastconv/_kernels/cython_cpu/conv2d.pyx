"""Convolution in C for every instruction set, driven from here: plan -> arguments -> thread pool."""

from libc.stdint cimport int64_t

from fastconv._kernels.cython_cpu.operands cimport address, axis, fc_axis, fc_kernel, fc_strides, grain, strides
from fastconv._kernels.pool._native cimport parallel_for

from fastconv import arrays
from fastconv._kernels import contract, plan
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "conv2d_args.h" nogil:
    ctypedef struct fc_taps:
        const int64_t *first
        const int64_t *segments
    ctypedef struct fc_sum_args:
        const void *source
        const void *packed
        const void *bias
        void *target
        fc_strides source_strides, target_strides
        fc_axis rows, cols
        Py_ssize_t N, groups, C, K, tap_rows, tap_cols
    ctypedef struct fc_pack_args:
        const void *weight
        void *packed
        Py_ssize_t groups, C, K, taps, group_stride, c_stride, k_stride
    ctypedef struct fc_grad_weight_args:
        const void *grad_out
        const void *x
        void *grad_weight
        fc_strides grad_out_strides, x_strides
        fc_axis rows
        fc_taps cols
        Py_ssize_t N, groups, C, K, tap_rows, tap_cols, out_cols, col_step, c_block, row_block
        int status
    ctypedef struct fc_grad_bias_args:
        const void *grad_out
        void *grad_bias
        fc_strides grad_out_strides
        Py_ssize_t N, K, rows, cols
    ctypedef struct fc_conv2d_kernels:
        Py_ssize_t lanes, block, columns
        fc_kernel sum, pack, grad_weight, grad_bias
    const fc_conv2d_kernels* fc_conv2d_select(int itemsize)

# What one thread's sums of grad_weight may take: they should stay in its L2 cache.
cdef Py_ssize_t SUMS_BYTES = 1 << 17


cdef class Sum:
    """Forward and grad_input: target = bias + sum over taps and channels of weight * source."""

    cdef fc_sum_args args
    cdef fc_pack_args packing
    cdef const fc_conv2d_kernels* kernels
    cdef bint has_bias
    cdef Py_ssize_t items, item_flops, itemsize
    cdef readonly Py_ssize_t packed_bytes
    cdef object plans

    def __init__(self, problem, bint transposed):
        g = problem.geometry
        self.itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_conv2d_select(self.itemsize)
        self.has_bias = "bias" in problem.optional
        make_plan = plan.grad_input_axis if transposed else plan.forward_axis
        self.plans = make_plan(g.rows, g.padding_mode), make_plan(g.cols, g.padding_mode)
        shapes = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        C, K = (g.K_g, g.C_g) if transposed else (g.C_g, g.K_g)
        taps = g.rows.kernel * g.cols.kernel
        a, p = &self.args, &self.packing
        a.rows, a.cols = axis(self.plans[0]), axis(self.plans[1])
        a.source_strides = strides(arrays.element_strides(shapes[0], problem.formats[0]))
        a.target_strides = strides(arrays.element_strides(shapes[1], problem.formats[1]))
        a.N, a.groups, a.C, a.K, a.tap_rows, a.tap_cols = g.N, g.groups, C, K, g.rows.kernel, g.cols.kernel
        p.groups, p.C, p.K, p.taps, p.group_stride = g.groups, C, K, taps, g.K_g * g.C_g * taps
        p.c_stride, p.k_stride = (g.C_g * taps, taps) if transposed else (taps, g.C_g * taps)
        padded = -(-K // self.kernels.lanes) * self.kernels.lanes
        self.packed_bytes = g.groups * padded * C * taps * self.itemsize
        self.items = g.N * g.groups * -(-K // self.kernels.block) * a.rows.targets
        self.item_flops = g.flops // max(1, self.items)

    def pack(self, weight):
        """The weight as the kernels read it: whole vectors of output channels, zero-padded."""
        packed = bytearray(self.packed_bytes)
        cdef fc_pack_args p = self.packing
        p.weight, p.packed = address(weight), address(packed)
        cdef Py_ssize_t items = p.groups * -(-p.K // self.kernels.block)
        # Moving an element takes as long as some operations.
        cdef Py_ssize_t chunk = grain(8 * p.groups * p.group_stride // max(1, items))
        with nogil:
            parallel_for(self.kernels.pack, &p, items, chunk)
        return packed

    def __call__(self, source, packed, *rest):
        cdef fc_sum_args a = self.args
        a.source, a.packed, a.target = address(source), address(packed), address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        with nogil:
            parallel_for(self.kernels.sum, &a, items, chunk)
        return contract.OK


cdef class GradWeight:
    """Items are blocks of grad_weight, so that no thread adds to another one's sums."""

    cdef fc_grad_weight_args args
    cdef const fc_conv2d_kernels* kernels
    cdef Py_ssize_t items, item_flops
    cdef readonly Py_ssize_t scratch_bytes
    cdef object plans

    def __init__(self, problem):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_conv2d_select(itemsize)
        self.plans = plan.forward_axis(g.rows, g.padding_mode), plan.grad_weight_axis(g.cols, g.padding_mode)
        a = &self.args
        a.rows = axis(self.plans[0])
        a.cols.first = <const int64_t*> address(self.plans[1].first)
        a.cols.segments = <const int64_t*> address(self.plans[1].segments)
        a.grad_out_strides = strides(arrays.element_strides(g.out_shape, problem.formats[0]))
        a.x_strides = strides(arrays.element_strides(g.x_shape, problem.formats[1]))
        a.N, a.groups, a.C, a.K, a.tap_rows, a.tap_cols = g.N, g.groups, g.C_g, g.K_g, g.rows.kernel, g.cols.kernel
        a.out_cols, a.col_step, a.status = g.cols.out, g.cols.stride, contract.OK
        sums = SUMS_BYTES // (itemsize * self.kernels.block)
        a.c_block, a.row_block = plan.grad_weight_blocks(g, sums)
        self.items = g.groups * -(-g.K_g // self.kernels.block) * -(-g.C_g // a.c_block) * -(-a.tap_rows // a.row_block)
        self.item_flops = g.flops // max(1, self.items)
        sums = 2 * a.row_block * a.tap_cols * a.c_block + self.kernels.columns
        self.scratch_bytes = sums * self.kernels.block * itemsize

    def __call__(self, grad_out, x, grad_weight):
        cdef fc_grad_weight_args a = self.args
        a.grad_out, a.x, a.grad_weight = address(grad_out), address(x), address(grad_weight)
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        with nogil:
            parallel_for(self.kernels.grad_weight, &a, items, chunk)
        return contract.OUT_OF_MEMORY if a.status else contract.OK


cdef class GradBias:
    """Items are output channels."""

    cdef fc_grad_bias_args args
    cdef const fc_conv2d_kernels* kernels

    def __init__(self, problem):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_conv2d_select(itemsize)
        self.args.grad_out_strides = strides(arrays.element_strides(g.out_shape, problem.formats[0]))
        self.args.N, self.args.K, self.args.rows, self.args.cols = g.N, g.K, g.rows.out, g.cols.out

    def __call__(self, grad_out, grad_bias):
        cdef fc_grad_bias_args a = self.args
        a.grad_out, a.grad_bias = address(grad_out), address(grad_bias)
        cdef Py_ssize_t chunk = grain(a.N * a.rows * a.cols)
        with nogil:
            parallel_for(self.kernels.grad_bias, &a, a.K, chunk)
        return contract.OK


def _prepare_forward(problem):
    run = Sum(problem, transposed=False)
    return contract.Kernel("direct", run, run.pack, run.packed_bytes)


def _prepare_grad_input(problem):
    run = Sum(problem, transposed=True)
    return contract.Kernel("direct", run, run.pack, run.packed_bytes)


def _prepare_grad_weight(problem):
    run = GradWeight(problem)
    return contract.Kernel("direct", run, workspace_bytes=run.scratch_bytes)


def _prepare_grad_bias(problem):
    return contract.Kernel("direct", GradBias(problem))


VARIANTS = {
    "conv2d_forward": (contract.Variant("direct", _prepare_forward),),
    "conv2d_grad_input": (contract.Variant("direct", _prepare_grad_input),),
    "conv2d_grad_weight": (contract.Variant("direct", _prepare_grad_weight),),
    "conv2d_grad_bias": (contract.Variant("direct", _prepare_grad_bias),),
}
