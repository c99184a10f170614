"""Batch normalisation in C for every instruction set, driven from here: plan -> arguments -> thread pool."""

from fastconv._kernels.buffers._native cimport give, take
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, grain, is_aligned, whole_lines
from fastconv._kernels.pool._native cimport num_threads, parallel_for, parallel_for_threads

from fastconv._kernels import contract, plan
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "batch_norm_args.h" nogil:
    ctypedef struct fc_norm_args:
        const void *x
        const void *grad_out
        const void *residual
        const void *coefficients
        void *target
        double *sums
        double *other_sums
        char *scratch
        double *partials
        Py_ssize_t N, C, pixels, items, item_rows, scratch_bytes
        int relu, streams
    ctypedef struct fc_norm_kernels:
        fc_kernel moments_rows, moments_planes, moments_merge
        fc_kernel sums_rows, sums_planes, sums_merge
        fc_kernel forward_rows, forward_planes, grad_rows, grad_planes
    Py_ssize_t FC_NORM_CHANNELS
    const fc_norm_kernels* fc_norm_select(int itemsize)

# Those of the contract, where there is no Python.
cdef int OK = contract.OK
cdef int OUT_OF_MEMORY = contract.OUT_OF_MEMORY


cdef class Pass:
    """What all passes are told of their problem."""

    cdef fc_norm_args args
    cdef const fc_norm_kernels* kernels
    cdef object plan

    def __init__(self, problem):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_norm_select(itemsize)
        self.plan = plan.norm_plan(g, problem.formats[0], itemsize)
        self.args.N, self.args.C, self.args.pixels = g.N, g.C, g.pixels
        self.args.relu = problem.activation == contract.RELU


cdef class Sums(Pass):
    """Two sums per channel: of every channel at once where pixels are together, else of items that are then merged."""

    cdef Py_ssize_t partial_bytes

    def __init__(self, problem):
        super().__init__(problem)
        a = &self.args
        a.items, a.item_rows = self.plan.sum_items, self.plan.sum_rows
        if not self.plan.planar:
            a.scratch_bytes = whole_lines(3 * a.C * FLOAT_TYPES[problem.dtype].storage.itemsize)
            self.partial_bytes = 2 * a.items * a.C * sizeof(double)

    @property
    def scratch_bytes(self):
        """What one thread needs, and what all share."""
        return self.args.scratch_bytes + self.partial_bytes

    cdef int run(self, fc_norm_args* a, fc_kernel planes, fc_kernel rows, fc_kernel merge):
        cdef Py_ssize_t threads = num_threads(), size = threads * a.scratch_bytes + self.partial_bytes
        cdef Py_ssize_t items = a.items, blocks = -(-a.C // FC_NORM_CHANNELS)
        cdef Py_ssize_t whole = grain(16 * a.N * a.pixels), summed = grain(16 * a.item_rows * a.C)
        cdef Py_ssize_t merged = grain(16 * FC_NORM_CHANNELS * items)
        with nogil:
            if not size:
                parallel_for_threads(planes, a, items, whole, threads)
                return OK
            a.scratch = <char*> take(size)
            if a.scratch == NULL:
                return OUT_OF_MEMORY
            a.partials = <double*> (a.scratch + threads * a.scratch_bytes)
            parallel_for_threads(rows, a, items, summed, threads)
            parallel_for_threads(merge, a, blocks, merged, threads)
            give(a.scratch, size)
            return OK


cdef class Statistics(Sums):
    """Mean and variance of every channel."""

    def __call__(self, x, mean, variance):
        cdef fc_norm_args a = self.args
        a.x, a.sums, a.other_sums = address(x), <double*> address(mean), <double*> address(variance)
        return self.run(&a, self.kernels.moments_planes, self.kernels.moments_rows, self.kernels.moments_merge)


cdef class GradSums(Sums):
    """The sums of the gradients and of their products with x - mean."""

    def __call__(self, grad_out, x, coefficients, sums):
        cdef fc_norm_args a = self.args
        a.grad_out, a.x, a.coefficients = address(grad_out), address(x), address(coefficients)
        a.sums = <double*> address(sums)
        return self.run(&a, self.kernels.sums_planes, self.kernels.sums_rows, self.kernels.sums_merge)


cdef class Writer(Pass):
    """What writes as much as it reads."""

    cdef Py_ssize_t chunk

    def __init__(self, problem):
        super().__init__(problem)
        a = &self.args
        a.items, a.item_rows = self.plan.pass_items, self.plan.pass_rows
        self.chunk = grain(16 * (a.pixels if self.plan.planar else a.item_rows * a.C))

    cdef int run(self, fc_norm_args* a, fc_kernel planes, fc_kernel rows):
        cdef fc_kernel kernel = planes if a.item_rows == 0 else rows
        a.streams = self.plan.streams and is_aligned(a.target)
        with nogil:
            parallel_for(kernel, a, a.items, self.chunk)
        return contract.OK


cdef class Forward(Writer):
    """(x - mean) * scale + shift, what is to be added to it, and the rectifier."""

    def __call__(self, x, coefficients, *others):
        cdef fc_norm_args a = self.args
        a.x, a.coefficients, a.target = address(x), address(coefficients), address(others[len(others) - 1])
        a.residual = address(others[0]) if len(others) > 1 else NULL
        return self.run(&a, self.kernels.forward_planes, self.kernels.forward_rows)


cdef class GradInput(Writer):
    """The gradient of what was normalised, by its own statistics or, without x, by constants."""

    def __call__(self, grad_out, *others):
        cdef fc_norm_args a = self.args
        a.grad_out, a.x = address(grad_out), address(others[0]) if len(others) > 2 else NULL
        a.coefficients, a.target = address(others[len(others) - 2]), address(others[len(others) - 1])
        return self.run(&a, self.kernels.grad_planes, self.kernels.grad_rows)


def _prepare_sums(make, problem):
    if len(set(problem.formats)) > 1:
        return contract.Declined("all arrays must have one memory format")
    run = make(problem)
    return contract.Kernel("direct", run, workspace_bytes=run.scratch_bytes)


def _prepare_writer(make, problem):
    if len(set(problem.formats)) > 1:
        return contract.Declined("all arrays must have one memory format")
    return contract.Kernel("direct", make(problem))


VARIANTS = {
    "batch_norm_statistics": (contract.Variant("direct", lambda problem: _prepare_sums(Statistics, problem)),),
    "batch_norm_grad_sums": (contract.Variant("direct", lambda problem: _prepare_sums(GradSums, problem)),),
    "batch_norm_forward": (contract.Variant("direct", lambda problem: _prepare_writer(Forward, problem)),),
    "batch_norm_grad_input": (contract.Variant("direct", lambda problem: _prepare_writer(GradInput, problem)),),
}
