"""grad_input of pointwise convolutions of few pixels in C for every instruction set."""

from fastconv._kernels.cython_cpu.conv2d cimport sweep_kernels
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, grain
from fastconv._kernels.pool._native cimport parallel_for

from fastconv._kernels import contract, plan, pool
from fastconv._kernels.cython_cpu.conv2d import vector_unit
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "sweep_args.h" nogil:
    ctypedef struct fc_sweep_args:
        const void *grad_out
        const void *weight
        void *grad_input
        Py_ssize_t pixels, C, K, width, rows
    ctypedef struct fc_sweep_kernels:
        Py_ssize_t lanes
        fc_kernel sweep


cdef class Sweep:
    """Items are blocks of input channels; the weight is read as it is."""

    cdef fc_sweep_args args
    cdef const fc_sweep_kernels* kernels
    cdef Py_ssize_t items, chunk

    def __init__(self, problem, made):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = <const fc_sweep_kernels*> sweep_kernels(itemsize)
        self.args.pixels, self.args.C, self.args.K = made.pixels, g.C, g.K
        self.args.width, self.args.rows = made.width, made.rows
        self.items = made.items
        self.chunk = grain(g.flops // made.items)

    def __call__(self, grad_out, weight, grad_input):
        cdef fc_sweep_args a = self.args
        a.grad_out, a.weight, a.grad_input = address(grad_out), address(weight), address(grad_input)
        with nogil:
            parallel_for(self.kernels.sweep, &a, self.items, self.chunk)
        return contract.OK


def _prepare(problem):
    made = plan.sweep_plan(problem.geometry, problem.formats, vector_unit(problem), pool.default_num_threads())
    return contract.Declined(made) if isinstance(made, str) else contract.Kernel("gemv", Sweep(problem, made))


VARIANTS = {"conv2d_grad_input": (contract.Variant("gemv", _prepare),)}
