"""grad_weight of depthwise convolution in C: in channels_last, of planes whose rows are shorter than a vector, of others."""

from fastconv._kernels.buffers._native cimport give, take
from fastconv._kernels.cython_cpu.conv2d_depthwise cimport (
    depthwise_kernels, fc_depthwise_kernels, fc_pixel_grad_args, fc_plane_grad_args, fc_strip_grad_args, grain, integers,
    padded_of, sweep_of,
)
from fastconv._kernels.cython_cpu.operands cimport address, axis, strides
from fastconv._kernels.pool._native cimport parallel_for

from fastconv import arrays
from fastconv._kernels import contract, plan
from fastconv._kernels.cython_cpu.conv2d_depthwise import along_channels, declined
from fastconv._kernels.plan import depthwise, sweeps
from fastconv.dtypes import FLOAT_TYPES


cdef class PixelGradWeight:
    """grad_weight in channels_last. Items are some channels of a chunk of rows."""

    cdef fc_pixel_grad_args args
    cdef const fc_depthwise_kernels* kernels
    cdef Py_ssize_t items, item_flops, vectors
    cdef readonly Py_ssize_t scratch_bytes
    cdef object plans

    def __init__(self, problem):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = depthwise_kernels(itemsize)
        self.plans = plan.forward_axis(g.rows, g.padding_mode), plan.forward_axis(g.cols, g.padding_mode)
        a = &self.args
        a.rows, a.cols = axis(self.plans[0]), axis(self.plans[1])
        a.sweep = sweep_of(sweeps.sweep(self.plans[1], g.cols.kernel))
        a.grad_out_strides = strides(arrays.element_strides(g.out_shape, problem.formats[0]))
        a.x_strides = strides(arrays.element_strides(g.x_shape, problem.formats[1]))
        a.N, a.C, a.taps, a.tap_cols = g.N, g.C, g.rows.kernel * g.cols.kernel, g.cols.kernel
        a.row_step, a.far = g.rows.stride, depthwise.is_far(g, itemsize)
        a.status = contract.OK
        self.vectors = -(-g.C // self.kernels.lanes)
        self._share(g, depthwise.pixel_shares(g, self.kernels.lanes), itemsize)

    cdef _share(self, g, made, Py_ssize_t itemsize):
        """Who adds which sums."""
        a = &self.args
        a.vectors_per_item, a.chunks = made.group, made.chunks
        self.items = a.chunks * made.shares
        self.item_flops = g.flops // max(1, self.items)
        self.scratch_bytes = a.chunks * self.vectors * self.kernels.lanes * a.taps * itemsize

    def __call__(self, grad_out, x, grad_weight):
        cdef fc_pixel_grad_args a = self.args
        a.grad_out, a.x, a.grad_weight = address(grad_out), address(x), address(grad_weight)
        a.partial = take(self.scratch_bytes)
        if a.partial == NULL:
            return contract.OUT_OF_MEMORY
        cdef Py_ssize_t items = self.items, vectors = self.vectors, item_chunk = grain(self.item_flops)
        cdef Py_ssize_t chunk = grain(a.taps * a.chunks * self.kernels.lanes)
        with nogil:
            parallel_for(self.kernels.pixel_grad, &a, items, item_chunk)
            if not a.status:
                parallel_for(self.kernels.pixel_reduce, &a, vectors, chunk)
            give(a.partial, self.scratch_bytes)
        return contract.OUT_OF_MEMORY if a.status else contract.OK


cdef class StripGradWeight(PixelGradWeight):
    """grad_weight of planes that are transposed. Items are a vector of channels of a chunk of blocks of rows."""

    cdef fc_strip_grad_args strip
    cdef object made

    def __init__(self, problem):
        super().__init__(problem)
        g, lanes, itemsize = problem.geometry, self.kernels.lanes, FLOAT_TYPES[problem.dtype].storage.itemsize
        self.made = made = depthwise.strips(self.plans[0], g, lanes * itemsize)
        a = &self.strip
        a.row_blocks, a.block_count = integers(made.row_blocks), len(made.row_blocks)
        a.x_pixels, a.grad_out_pixels, a.status = made.x_pixels, made.grad_out_pixels, contract.OK
        self.args.far = 0
        self._share(g, depthwise.strip_shares(g, lanes, a.block_count), itemsize)

    def __call__(self, grad_out, x, grad_weight):
        cdef fc_strip_grad_args a = self.strip
        a.planes = self.args
        a.planes.grad_out, a.planes.x, a.planes.grad_weight = address(grad_out), address(x), address(grad_weight)
        a.planes.partial = take(self.scratch_bytes)
        if a.planes.partial == NULL:
            return contract.OUT_OF_MEMORY
        cdef Py_ssize_t items = self.items, vectors = self.vectors, item_chunk = grain(self.item_flops)
        cdef Py_ssize_t chunk = grain(a.planes.taps * a.planes.chunks * self.kernels.lanes)
        with nogil:
            parallel_for(self.kernels.strip_grad, &a, items, item_chunk)
            if not a.status:
                parallel_for(self.kernels.pixel_reduce, &a.planes, vectors, chunk)
            give(a.planes.partial, self.scratch_bytes)
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
        self.kernels = depthwise_kernels(itemsize)
        padded = depthwise.padded(g.rows, g.cols, g.padding_mode, False, itemsize)
        self.plans = plan.forward_axis(g.rows, g.padding_mode), plan.forward_axis(g.cols, g.padding_mode), padded
        a = &self.args
        a.rows, a.cols, a.padded = axis(self.plans[0]), axis(self.plans[1]), padded_of(padded)
        a.grad_out_strides = strides(arrays.element_strides(g.out_shape, problem.formats[0]))
        a.x_strides = strides(arrays.element_strides(g.x_shape, problem.formats[1]))
        a.N, a.C, a.tap_rows, a.tap_cols, a.status = g.N, g.C, g.rows.kernel, g.cols.kernel, contract.OK
        a.far = depthwise.are_planes_far(g, problem.formats, itemsize)
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


def _form(problem):
    itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
    if along_channels(problem):
        return PixelGradWeight
    if depthwise.by_strips(problem.geometry, problem.formats, depthwise_kernels(itemsize).lanes):
        return StripGradWeight
    return PlaneGradWeight


def _prepare_grad_weight(problem):
    if refusal := declined(problem):
        return refusal
    run = _form(problem)(problem)
    return contract.Kernel("depthwise", run, workspace_bytes=run.scratch_bytes)


VARIANTS = {"conv2d_grad_weight": (contract.Variant("depthwise", _prepare_grad_weight),)}
