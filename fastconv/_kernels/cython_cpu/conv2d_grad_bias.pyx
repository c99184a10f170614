"""grad_bias in C for every instruction set: the sum of every channel."""

from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, grain
from fastconv._kernels.pool._native cimport parallel_for

from fastconv._kernels import contract
from fastconv.arrays import CONTIGUOUS
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "grad_bias_args.h" nogil:
    ctypedef struct fc_grad_bias_args:
        const void *grad_out
        void *grad_bias
        Py_ssize_t N, K, pixels
        int planar
    ctypedef struct fc_grad_bias_kernels:
        Py_ssize_t channels
        fc_kernel grad_bias
    const fc_grad_bias_kernels* fc_grad_bias_select(int itemsize)


cdef class GradBias:
    """Items are blocks of output channels."""

    cdef fc_grad_bias_args args
    cdef const fc_grad_bias_kernels* kernels

    def __init__(self, problem):
        g = problem.geometry
        self.kernels = fc_grad_bias_select(FLOAT_TYPES[problem.dtype].storage.itemsize)
        self.args.N, self.args.K, self.args.pixels = g.N, g.K, g.rows.out * g.cols.out
        self.args.planar = problem.formats[0] == CONTIGUOUS

    def __call__(self, grad_out, grad_bias):
        cdef fc_grad_bias_args a = self.args
        a.grad_out, a.grad_bias = address(grad_out), address(grad_bias)
        cdef Py_ssize_t channels = self.kernels.channels
        cdef Py_ssize_t items = -(-a.K // channels), chunk = grain(a.N * a.pixels * channels)
        with nogil:
            parallel_for(self.kernels.grad_bias, &a, items, chunk)
        return contract.OK


def _prepare_grad_bias(problem):
    return contract.Kernel("direct", GradBias(problem))


VARIANTS = {"conv2d_grad_bias": (contract.Variant("direct", _prepare_grad_bias),)}
