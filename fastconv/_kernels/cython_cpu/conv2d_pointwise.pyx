"""Pointwise convolution of planes in C for every instruction set: forward and grad_input."""

from libc.stdint cimport int64_t

from fastconv._kernels.cython_cpu.conv2d cimport ending, pointwise_kernels
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, grain, run_on_scratch, whole_lines

from fastconv._kernels import contract, plan
from fastconv._kernels.cython_cpu.conv2d import vector_unit
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "pointwise_args.h" nogil:
    ctypedef struct fc_pointwise_args:
        const void *source
        const void *weight
        const void *bias
        void *target
        char *scratch
        const int64_t *blocks
        Py_ssize_t groups, C, K, pixels, block_count, k_groups, c_range
        Py_ssize_t c_stride, k_stride, group_stride, scratch_bytes
        int activation
    ctypedef struct fc_pointwise_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel pointwise


cdef class Pointwise:
    """Items are blocks of pixels; the weight is read as it is."""

    cdef fc_pointwise_args args
    cdef const fc_pointwise_kernels* kernels
    cdef bint has_bias
    cdef Py_ssize_t items, item_flops
    cdef object plan

    def __init__(self, problem, made, bint transposed):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels, self.plan = <const fc_pointwise_kernels*> pointwise_kernels(itemsize), made
        self.has_bias = "bias" in problem.optional
        self.args.activation = ending(problem.activation)
        a = &self.args
        a.groups, a.C, a.K, a.pixels = g.groups, made.C, made.K, made.pixels
        a.blocks, a.block_count = <const int64_t*> address(made.blocks), len(made.blocks)
        a.k_groups, a.c_range = made.k_groups, made.c_range
        a.c_stride, a.k_stride = (g.C_g, 1) if transposed else (1, g.C_g)
        a.group_stride = g.K_g * g.C_g
        self.items = g.N * a.groups * a.block_count * a.k_groups
        self.item_flops = g.flops // max(1, self.items)
        scratch = self.kernels.vectors * self.kernels.lanes * (self.kernels.columns + a.C) * itemsize
        a.scratch_bytes = whole_lines(scratch)

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return self.args.scratch_bytes

    def __call__(self, source, weight, *rest):
        cdef fc_pointwise_args a = self.args
        a.source, a.weight, a.target = address(source), address(weight), address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        cdef bint runs
        with nogil:
            runs = run_on_scratch(self.kernels.pointwise, &a, &a.scratch, a.scratch_bytes, items, chunk)
        return contract.OK if runs else contract.OUT_OF_MEMORY


def _prepare(problem, transposed):
    made = plan.pointwise_plan(problem.geometry, transposed, problem.formats, vector_unit(problem))
    return contract.planned("planes", made, lambda: Pointwise(problem, made, transposed))


def _prepare_forward(problem):
    return _prepare(problem, transposed=False)


def _prepare_grad_input(problem):
    return _prepare(problem, transposed=True)


VARIANTS = {
    "conv2d_forward": (contract.Variant("planes", _prepare_forward),),
    "conv2d_grad_input": (contract.Variant("planes", _prepare_grad_input),),
}
