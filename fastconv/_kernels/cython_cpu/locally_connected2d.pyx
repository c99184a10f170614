"""Convolution without shared weights in C for every instruction set, driven by the thread pool."""

from fastconv._kernels.buffers._native cimport give, take
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, fc_strides, grain, run_on_scratch
from fastconv._kernels.cython_cpu.operands cimport strides, whole_lines

from fastconv._kernels import contract, plan
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "activation.h" nogil:
    int FC_RELU

cdef extern from "locally_connected2d_args.h" nogil:
    ctypedef struct fc_local_axis:
        Py_ssize_t size, kernel, stride, low, dilation, out
    ctypedef struct fc_local_args:
        void *x
        void *weight
        void *out
        const void *bias
        char *scratch
        char *shared
        fc_strides x_strides, out_strides
        fc_local_axis rows, cols
        Py_ssize_t N, images, C, K, groups, terms
        Py_ssize_t col_tiles, k_blocks, bands, channel_blocks, band_height, width, band_width, window, grads, row
        Py_ssize_t strips_at, mask_strip_at, windows_at, mask_at, rows_at, sums_at, grads_at
        Py_ssize_t block_terms, scratch_bytes
        int ending, streams
    ctypedef struct fc_locally_connected2d_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel forward, grad_weight, grad_bands, add_bands
    const fc_locally_connected2d_kernels* fc_locally_connected2d_select(int itemsize)


cdef fc_local_axis _axis(object axis) except *:
    cdef fc_local_axis result
    result.size, result.kernel, result.stride = axis.size, axis.kernel, axis.stride
    result.low, result.dilation, result.out = axis.low, axis.dilation, axis.out
    return result


cdef class _Local:
    """Of some images at a time every weight is read or written once."""

    cdef fc_local_args args
    cdef const fc_locally_connected2d_kernels* kernels
    cdef Py_ssize_t items, chunk, shared_bytes, row_chunk

    def __init__(self, problem, formats):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_locally_connected2d_select(itemsize)
        unit = plan.VectorUnit(self.kernels.lanes, self.kernels.vectors, self.kernels.columns, itemsize)
        made, a = plan.local_plan(g, formats, unit), &self.args
        a.x_strides, a.out_strides = strides(made.x_strides), strides(made.out_strides)
        a.rows, a.cols = _axis(g.rows), _axis(g.cols)
        a.N, a.C, a.K, a.groups, a.terms, a.images = g.N, g.C, g.K, g.groups, g.terms, made.images
        a.col_tiles, a.k_blocks, a.bands, a.channel_blocks = made.col_tiles, made.k_blocks, made.bands, made.channel_blocks
        a.band_height, a.width, a.band_width = made.band_height, made.width, made.band_width
        a.window, a.grads, a.row = made.window, made.grads, made.row
        a.strips_at, a.mask_strip_at, a.windows_at, a.mask_at, a.rows_at, a.sums_at, a.grads_at = made.parts
        a.streams = made.streams
        a.block_terms, a.ending = plan.BLOCK_TERMS, FC_RELU if problem.activation else 0
        a.scratch_bytes, self.shared_bytes = whole_lines(made.scratch * itemsize), made.shared * itemsize
        self.items, self.row_chunk = made.items, grain(g.C * g.cols.size)
        self.chunk = grain(g.flops // self.items)

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return self.args.scratch_bytes

    cdef bint run(self, fc_kernel kernel, fc_local_args* a) noexcept nogil:
        return run_on_scratch(kernel, a, &a.scratch, a.scratch_bytes, self.items, self.chunk)


cdef class Forward(_Local):
    """The results, with bias and activation."""

    cdef bint has_bias

    def __init__(self, problem):
        super().__init__(problem, problem.formats)
        self.has_bias = "bias" in problem.optional

    def __call__(self, x, weight, *rest):
        cdef fc_local_args a = self.args
        a.x, a.weight, a.out = address(x), address(weight), address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef bint done
        with nogil:
            done = self.run(self.kernels.forward, &a)
        return contract.OK if done else contract.OUT_OF_MEMORY


cdef class GradWeight(_Local):
    """The gradient of the weight."""

    def __init__(self, problem):
        super().__init__(problem, problem.formats[::-1])

    def __call__(self, grad_out, x, grad_weight):
        cdef fc_local_args a = self.args
        a.x, a.weight, a.out = address(x), address(grad_weight), address(grad_out)
        cdef bint done
        with nogil:
            done = self.run(self.kernels.grad_weight, &a)
        return contract.OK if done else contract.OUT_OF_MEMORY


cdef class GradInput(_Local):
    """The gradient of the input: those of bands of rows, each in memory of its own, then their sums."""

    def __init__(self, problem):
        super().__init__(problem, problem.formats[::-1])
        a = &self.args
        self.items, self.chunk = -(-a.N // a.images) * a.bands * a.groups * a.channel_blocks, 1

    @property
    def scratch_bytes(self):
        """What one thread needs, and what all share."""
        return self.args.scratch_bytes + self.shared_bytes

    def __call__(self, grad_out, weight, grad_input):
        cdef fc_local_args a = self.args
        a.x, a.weight, a.out = address(grad_input), address(weight), address(grad_out)
        cdef bint done
        with nogil:
            done = self.run_shared(&a)
        return contract.OK if done else contract.OUT_OF_MEMORY

    cdef bint run_shared(self, fc_local_args* a) noexcept nogil:
        a.shared = <char*> take(self.shared_bytes)
        if a.shared == NULL:
            return False
        cdef Py_ssize_t rows = a.N * a.rows.size
        cdef bint done = self.run(self.kernels.grad_bands, a)
        if done:
            done = run_on_scratch(self.kernels.add_bands, a, &a.scratch, a.scratch_bytes, rows, self.row_chunk)
        give(a.shared, self.shared_bytes)
        return done


def _variant(kind):
    def prepare(problem):
        run = kind(problem)
        return contract.Kernel("direct", run, workspace_bytes=run.scratch_bytes)

    return (contract.Variant("direct", prepare),)


VARIANTS = {
    "locally_connected2d_forward": _variant(Forward),
    "locally_connected2d_grad_input": _variant(GradInput),
    "locally_connected2d_grad_weight": _variant(GradWeight),
}
