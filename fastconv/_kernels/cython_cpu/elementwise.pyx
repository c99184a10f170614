"""Elementwise passes and steps of optimisers in C for every instruction set, driven by the thread pool."""

from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, is_aligned
from fastconv._kernels.pool._native cimport parallel_for

from fastconv._kernels import contract, plan
from fastconv.arrays import CONTIGUOUS
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "elementwise_args.h" nogil:
    ctypedef struct fc_elementwise_args:
        const void *a
        const void *b
        const double *ends
        void *target
        Py_ssize_t count
        int streams
    ctypedef struct fc_dropout_args:
        const void *x
        const double *settings
        void *out
        Py_ssize_t count
    ctypedef struct fc_step_args:
        const void *grad
        const double *settings
        void *parameter
        void *first
        void *second
        void *largest
        Py_ssize_t count
    ctypedef struct fc_elementwise_kernels:
        fc_kernel relu_forward, relu_grad_input, add_relu_forward, hardtanh_forward, hardtanh_grad_input
        fc_kernel accumulate, dropout, sgd_step, adam_step
    Py_ssize_t FC_ELEMENTS
    const fc_elementwise_kernels* fc_elementwise_select(int itemsize)

# Items per chunk: some 10 microseconds.
cdef enum:
    CHUNK = 32


cdef const fc_elementwise_kernels* kernels_of(problem) except NULL:
    return fc_elementwise_select(FLOAT_TYPES[problem.dtype].storage.itemsize)


cdef class Elementwise:
    """One array from one or two."""

    cdef fc_elementwise_args args
    cdef fc_kernel kernel
    cdef bint streams

    def __init__(self, problem):
        self.args.count = problem.geometry.size
        self.streams = plan.is_streamed(self.args.count * FLOAT_TYPES[problem.dtype].storage.itemsize)

    def __call__(self, *operands):
        return self.run(NULL, operands)

    cdef int run(self, const double* ends, tuple operands) except -1:
        cdef fc_elementwise_args a = self.args
        cdef Py_ssize_t items = -(-a.count // FC_ELEMENTS)
        a.a, a.target = address(operands[0]), address(operands[len(operands) - 1])
        a.b = address(operands[1]) if len(operands) > 2 else NULL
        a.ends = ends
        a.streams = self.streams and is_aligned(a.target)
        with nogil:
            parallel_for(self.kernel, &a, items, CHUNK)
        return contract.OK


cdef class Hardtanh(Elementwise):
    """The same between two ends, which come before the result."""

    def __call__(self, *operands):
        *arrays, settings, target = operands
        return self.run(<const double*> address(settings), (*arrays, target))


cdef class Dropout:
    """Elements that stay or go by their position."""

    cdef fc_dropout_args args
    cdef fc_kernel kernel

    def __init__(self, problem):
        self.args.count, self.kernel = problem.geometry.size, kernels_of(problem).dropout

    def __call__(self, x, settings, out):
        cdef fc_dropout_args a = self.args
        cdef Py_ssize_t items = -(-a.count // FC_ELEMENTS)
        a.x, a.settings, a.out = address(x), <const double*> address(settings), address(out)
        with nogil:
            parallel_for(self.kernel, &a, items, CHUNK)
        return contract.OK


cdef class Step:
    """One parameter and what an optimiser keeps of it, changed in place."""

    cdef fc_step_args args
    cdef fc_kernel kernel

    def __init__(self, problem):
        self.args.count = problem.geometry.size

    def __call__(self, grad, settings, parameter, *kept):
        cdef fc_step_args a = self.args
        cdef Py_ssize_t items = -(-a.count // FC_ELEMENTS)
        a.grad, a.settings, a.parameter = address(grad), <const double*> address(settings), address(parameter)
        a.first = address(kept[0]) if len(kept) > 0 else NULL
        a.second = address(kept[1]) if len(kept) > 1 else NULL
        a.largest = address(kept[2]) if len(kept) > 2 else NULL
        with nogil:
            parallel_for(self.kernel, &a, items, CHUNK)
        return contract.OK


def _prepare(op, problem):
    cdef const fc_elementwise_kernels* kernels = kernels_of(problem)
    cdef Elementwise run
    if len(set(problem.formats)) > 1:
        return contract.Declined("all arrays must have one memory format")
    run = Elementwise(problem)
    if op == "relu_forward":
        run.kernel = kernels.relu_forward
    elif op == "relu_grad_input":
        run.kernel = kernels.relu_grad_input
    elif op == "accumulate_":
        run.kernel = kernels.accumulate
    else:
        run.kernel = kernels.add_relu_forward
    return contract.Kernel("direct", run)


def _prepare_hardtanh(op, problem):
    cdef const fc_elementwise_kernels* kernels = kernels_of(problem)
    cdef Elementwise run = Hardtanh(problem)
    if len(set(problem.formats)) > 1:
        return contract.Declined("all arrays must have one memory format")
    run.kernel = kernels.hardtanh_forward if op == "hardtanh_forward" else kernels.hardtanh_grad_input
    return contract.Kernel("direct", run)


def _prepare_dropout(op, problem):
    if problem.formats != (CONTIGUOUS,) * 2:
        return contract.Declined("positions are counted in C order")
    return contract.Kernel("direct", Dropout(problem))


def _prepare_step(op, problem):
    cdef const fc_elementwise_kernels* kernels = kernels_of(problem)
    cdef Step run = Step(problem)
    run.kernel = kernels.sgd_step if op == "sgd_step_" else kernels.adam_step
    return contract.Kernel("direct", run)


def _table(prepare, op):
    return (contract.Variant("direct", lambda problem: prepare(op, problem)),)


VARIANTS = {
    **{op: _table(_prepare, op) for op in ("relu_forward", "relu_grad_input", "add_relu_forward", "accumulate_")},
    **{op: _table(_prepare_hardtanh, op) for op in ("hardtanh_forward", "hardtanh_grad_input")},
    "dropout": _table(_prepare_dropout, "dropout"),
    **{op: _table(_prepare_step, op) for op in ("sgd_step_", "adam_step_")},
}
