"""Logarithms of probabilities and their loss in C for every instruction set, driven by the thread pool."""

from libc.stdint cimport int64_t

from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, grain
from fastconv._kernels.pool._native cimport parallel_for

from fastconv._kernels import contract
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "softmax_args.h" nogil:
    ctypedef struct fc_softmax_args:
        const void *x
        const void *grad_out
        const void *class_weight
        const int64_t *target
        const double *settings
        void *out
        void *losses
        void *grad_input
        Py_ssize_t N, C, pixels
    ctypedef struct fc_softmax_kernels:
        fc_kernel log_softmax, log_softmax_grad, cross_entropy, cross_entropy_grad
    Py_ssize_t FC_SOFTMAX_LANES
    const fc_softmax_kernels* fc_softmax_select(int itemsize)


cdef class Classes:
    """Items are runs of pixels of one image."""

    cdef fc_softmax_args args
    cdef const fc_softmax_kernels* kernels
    cdef Py_ssize_t items, chunk

    def __init__(self, problem):
        g = problem.geometry
        self.kernels = fc_softmax_select(FLOAT_TYPES[problem.dtype].storage.itemsize)
        self.args.N, self.args.C, self.args.pixels = g.N, g.C, g.pixels
        self.items = g.N * -(-g.pixels // FC_SOFTMAX_LANES)
        # An exponential takes as long as so many operations.
        self.chunk = grain(32 * g.C * min(g.pixels, FC_SOFTMAX_LANES))

    cdef int run(self, fc_softmax_args* a, fc_kernel kernel) except -1:
        with nogil:
            parallel_for(kernel, a, self.items, self.chunk)
        return contract.OK


cdef class LogSoftmax(Classes):
    """The logarithms."""

    def __call__(self, x, out):
        cdef fc_softmax_args a = self.args
        a.x, a.out = address(x), address(out)
        return self.run(&a, self.kernels.log_softmax)


cdef class LogSoftmaxGrad(Classes):
    """Their gradient."""

    def __call__(self, grad_out, out, grad_input):
        cdef fc_softmax_args a = self.args
        a.grad_out, a.out, a.grad_input = address(grad_out), address(out), address(grad_input)
        return self.run(&a, self.kernels.log_softmax_grad)


cdef class CrossEntropy(Classes):
    """The logarithms, and the loss of every sample."""

    def __call__(self, x, target, class_weight, settings, out, losses):
        cdef fc_softmax_args a = self.args
        a.x, a.target, a.class_weight = address(x), <const int64_t*> address(target), address(class_weight)
        a.settings, a.out, a.losses = <const double*> address(settings), address(out), address(losses)
        return self.run(&a, self.kernels.cross_entropy)


cdef class CrossEntropyGrad(Classes):
    """The gradient of the losses."""

    def __call__(self, grad_losses, out, target, class_weight, settings, grad_input):
        cdef fc_softmax_args a = self.args
        a.grad_out, a.out, a.target = address(grad_losses), address(out), <const int64_t*> address(target)
        a.class_weight, a.settings = address(class_weight), <const double*> address(settings)
        a.grad_input = address(grad_input)
        return self.run(&a, self.kernels.cross_entropy_grad)


def _table(make):
    return (contract.Variant("direct", lambda problem: contract.Kernel("direct", make(problem))),)


VARIANTS = {
    "log_softmax_forward": _table(LogSoftmax),
    "log_softmax_grad_input": _table(LogSoftmaxGrad),
    "cross_entropy_forward": _table(CrossEntropy),
    "cross_entropy_grad_input": _table(CrossEntropyGrad),
}
