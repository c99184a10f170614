"""grad_input of pointwise convolutions of few pixels in C for every instruction set."""

from fastconv._kernels.cython_cpu.conv2d cimport sweep_kernels
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, grain, run_on_scratch, whole_lines

from fastconv._kernels import contract, plan, pool
from fastconv._kernels.cython_cpu.conv2d import vector_unit
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "sweep_args.h" nogil:
    ctypedef struct fc_sweep_args:
        const void *grad_out
        const void *weight
        void *grad_input
        char *scratch
        Py_ssize_t pixels, C, K, width, rows, block, scratch_bytes
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
        self.args.width, self.args.rows, self.args.block = made.width, made.rows, plan.BLOCK_TERMS
        self.args.scratch_bytes = whole_lines(made.pixels * made.width * self.kernels.lanes * itemsize)
        self.items = made.items
        self.chunk = grain(g.flops // made.items)

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return self.args.scratch_bytes

    def __call__(self, grad_out, weight, grad_input):
        cdef fc_sweep_args a = self.args
        a.grad_out, a.weight, a.grad_input = address(grad_out), address(weight), address(grad_input)
        cdef Py_ssize_t items = self.items, chunk = self.chunk
        cdef bint runs
        with nogil:
            runs = run_on_scratch(self.kernels.sweep, &a, &a.scratch, a.scratch_bytes, items, chunk)
        return contract.OK if runs else contract.OUT_OF_MEMORY


def _prepare(problem):
    made = plan.sweep_plan(problem.geometry, problem.formats, vector_unit(problem), pool.default_num_threads())
    return contract.planned("gemv", made, lambda: Sweep(problem, made))


VARIANTS = {"conv2d_grad_input": (contract.Variant("gemv", _prepare),)}
