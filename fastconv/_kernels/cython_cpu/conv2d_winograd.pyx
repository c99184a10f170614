"""Winograd's minimal filtering in C for every instruction set: forward and grad_input of 3 x 3 layers."""

from libc.stdint cimport int64_t

from fastconv._kernels.cython_cpu.conv2d cimport ending, winograd_kernels
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, fc_strides, grain, run_on_scratch
from fastconv._kernels.cython_cpu.operands cimport strides, whole_lines
from fastconv._kernels.pool._native cimport parallel_for

from fastconv._kernels import buffers, contract, plan, pool
from fastconv._kernels.cython_cpu.conv2d import vector_unit
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "winograd_args.h" nogil:
    ctypedef struct fc_winograd_args:
        const void *source
        const void *transformed
        const void *weight
        const void *bias
        void *target
        char *scratch
        fc_strides source_strides, target_strides
        const int64_t *k_blocks
        Py_ssize_t N, groups, C, K, source_rows, source_cols, target_rows, target_cols, pad_rows, pad_cols
        Py_ssize_t size, tile_rows, tile_cols, tile_blocks, block_tiles, k_block_count, k_group, widest, part
        Py_ssize_t source_pitch, source_step, sums_step, weight_step, scratch_bytes
        Py_ssize_t group_stride, c_stride, k_stride
        int flipped, activation
    ctypedef struct fc_winograd_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel sum, transform


cdef class Winograd:
    """Forward and grad_input: tiles of targets as sums of products of what is transformed."""

    cdef fc_winograd_args args
    cdef const fc_winograd_kernels* kernels
    cdef bint has_bias
    cdef Py_ssize_t items, item_flops, vectors
    cdef readonly Py_ssize_t transformed_bytes
    cdef object plan

    def __init__(self, problem, made, bint transposed):
        g, itemsize = problem.geometry, FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels, self.plan = <const fc_winograd_kernels*> winograd_kernels(itemsize), made
        self.has_bias = "bias" in problem.optional
        a, source, target = &self.args, g.x_shape, g.out_shape
        if transposed:
            source, target = target, source
        a.activation, a.flipped = ending(problem.activation), transposed
        a.source_strides, a.target_strides = strides(made.source_strides), strides(made.target_strides)
        a.N, a.groups, a.C, a.K = g.N, g.groups, made.C, made.K
        a.source_rows, a.source_cols = source[2:]
        a.target_rows, a.target_cols = target[2:]
        a.pad_rows, a.pad_cols = made.pads
        a.size, a.tile_blocks, a.block_tiles = made.size, made.tile_blocks, made.block_tiles
        a.tile_rows, a.tile_cols = made.tiles
        a.k_blocks, a.k_block_count = <const int64_t*> address(made.k_blocks), len(made.k_blocks)
        a.k_group, a.part, a.widest = made.k_group, made.part, made.widest
        a.source_pitch, a.source_step = made.source_pitch, made.source_step
        a.sums_step, a.weight_step = made.sums_step, made.weight_step
        a.group_stride = g.K_g * g.C_g * 9
        a.c_stride, a.k_stride = (g.C_g * 9, 9) if transposed else (9, g.C_g * 9)
        cdef Py_ssize_t lanes = self.kernels.lanes
        scratch = made.points * (a.source_step + a.sums_step) + self.kernels.vectors * lanes * self.kernels.columns
        scratch += made.C + lanes + made.strip + 9 * made.C * made.widest
        a.scratch_bytes = whole_lines(scratch * itemsize + 9 * 16 * (made.C // made.part))
        self.vectors = -(-made.K // lanes)
        self.transformed_bytes = g.groups * a.k_block_count * made.points * a.weight_step * itemsize
        self.items, self.item_flops = made.items, g.flops // made.items

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return self.args.scratch_bytes

    def transform(self, weight):
        """The weight as the kernel multiplies it."""
        points = buffers.aligned_bytes(self.transformed_bytes)
        cdef fc_winograd_args a = self.args
        a.weight, a.transformed = address(weight), address(points)
        cdef Py_ssize_t items = a.groups * self.vectors, chunk = grain(64 * self.transformed_bytes // items)
        with nogil:
            parallel_for(self.kernels.transform, &a, items, chunk)
        return contract.Transformed.of(points, weight)

    def __call__(self, source, weight, *rest):
        cdef fc_winograd_args a = self.args
        a.source, a.transformed, a.weight = address(source), address(weight), address(weight.weight)
        a.target = address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        cdef bint runs
        with nogil:
            runs = run_on_scratch(self.kernels.sum, &a, &a.scratch, a.scratch_bytes, items, chunk)
        return contract.OK if runs else contract.OUT_OF_MEMORY


def _prepare(name, size, problem, transposed):
    unit, threads = vector_unit(problem), pool.default_num_threads()
    asked = None if problem.variant else problem.precision
    made = plan.winograd_plan(problem.geometry, transposed, problem.formats, size, unit, threads, asked)
    if isinstance(made, str):
        return contract.Declined(made, meant=plan.is_winograd_kernel(problem.geometry))
    cdef Winograd run = Winograd(problem, made, transposed)
    choice = (f"{name} is chosen: {made.why}",)
    return contract.Kernel(
        name, run, run.transform, run.scratch_bytes, precision=made.precision, choice=choice
    )


def _variants(transposed):
    return tuple(
        contract.Variant(name, lambda problem, name=name, size=size: _prepare(name, size, problem, transposed))
        for name, size in (("winograd4", 4), ("winograd2", 2))
    )


VARIANTS = {
    "conv2d_forward": _variants(transposed=False),
    "conv2d_grad_input": _variants(transposed=True),
}
