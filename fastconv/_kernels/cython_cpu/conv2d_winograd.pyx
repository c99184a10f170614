"""Winograd's minimal filtering in C for every instruction set: 3 x 3 layers, forward and both gradients."""

from libc.stdint cimport int32_t, int64_t

from fastconv._kernels.buffers._native cimport give, take
from fastconv._kernels.cython_cpu.conv2d cimport ending, winograd_grad_kernels, winograd_kernels
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, fc_strides, grain, run_on_scratch
from fastconv._kernels.cython_cpu.operands cimport strides, whole_lines
from fastconv._kernels.pool._native cimport num_threads, parallel_for, parallel_for_threads

from dataclasses import replace

from fastconv._kernels import buffers, contract, plan, pool
from fastconv._kernels.cython_cpu import conv2d_grad_weight
from fastconv._kernels.cython_cpu.conv2d import vector_unit
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "winograd_tile_args.h" nogil:
    ctypedef struct fc_tiled:
        fc_strides strides
        Py_ssize_t rows, cols, pad_rows, pad_cols, tile_rows, tile_cols, size

cdef extern from "winograd_args.h" nogil:
    ctypedef struct fc_winograd_args:
        const void *source
        const void *transformed
        const void *weight
        const void *bias
        void *target
        char *scratch
        fc_tiled sources
        fc_strides target_strides
        const int64_t *k_blocks
        Py_ssize_t N, groups, C, K, target_rows, target_cols
        Py_ssize_t tile_blocks, block_tiles, k_block_count, k_group, part
        Py_ssize_t source_pitch, source_step, sums_step, weight_step, part_step, shared, scratch_bytes
        Py_ssize_t group_stride, c_stride, k_stride
        int flipped, activation
    ctypedef struct fc_winograd_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel sum, transform

cdef extern from "winograd_grad_args.h" nogil:
    ctypedef struct fc_winograd_grad_args:
        const void *grad_out
        const void *x
        void *grad_weight
        char *scratch
        void *partials
        int32_t *doubt
        fc_tiled outputs, inputs
        const int64_t *k_blocks
        Py_ssize_t N, groups, C, K, size, tile_blocks, segments, parts, k_block_count, k_group, c_blocks
        Py_ssize_t x_pitch, x_step, grad_pitch, grad_step, strip, sums_step, sums, scratch_bytes
    ctypedef struct fc_winograd_grad_kernels:
        Py_ssize_t stored_channels
        fc_kernel sum, reduce


cdef fc_tiled tiled(tuple shape, tuple steps, tuple pads, object made) except *:
    cdef fc_tiled result
    result.strides = strides(steps)
    result.rows, result.cols = shape[2:]
    result.pad_rows, result.pad_cols = pads
    result.tile_rows, result.tile_cols = made.tiles
    result.size = made.size
    return result


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
        a.sources = tiled(source, made.source_strides, made.pads, made)
        a.target_strides = strides(made.target_strides)
        a.N, a.groups, a.C, a.K = g.N, g.groups, made.C, made.K
        a.target_rows, a.target_cols = target[2:]
        a.tile_blocks, a.block_tiles = made.tile_blocks, made.block_tiles
        a.k_blocks, a.k_block_count = <const int64_t*> address(made.k_blocks), len(made.k_blocks)
        a.k_group, a.part = made.k_group, made.part
        a.source_pitch, a.source_step = made.source_pitch, made.source_step
        a.sums_step, a.weight_step, a.part_step = made.sums_step, made.weight_step, made.part_step
        a.shared = made.shared
        a.group_stride = g.K_g * g.C_g * 9
        a.c_stride, a.k_stride = (g.C_g * 9, 9) if transposed else (9, g.C_g * 9)
        cdef Py_ssize_t lanes = self.kernels.lanes
        scratch = made.points * (a.source_step + a.sums_step) + made.shared + self.kernels.vectors * lanes
        scratch += made.C + lanes + made.strip
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
        return self.multiply(address(weight), source, weight.weight, rest)

    def run_unpacked(self, source, weight, *rest):
        """The same with a weight that is transformed on the way."""
        return self.multiply(NULL, source, weight, rest)

    cdef int multiply(self, const void* transformed, source, weight, tuple rest) except -1:
        cdef fc_winograd_args a = self.args
        a.source, a.transformed, a.weight = address(source), transformed, address(weight)
        a.target = address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        cdef bint runs
        with nogil:
            runs = run_on_scratch(self.kernels.sum, &a, &a.scratch, a.scratch_bytes, items, chunk)
        return contract.OK if runs else contract.OUT_OF_MEMORY


cdef class WinogradGrad:
    """Items are parts of grad_weight or of its sum, so that no thread adds to another one's sums."""

    cdef fc_winograd_grad_args args
    cdef const fc_winograd_grad_kernels* kernels
    cdef Py_ssize_t item_flops, partial_bytes
    cdef object plan, problem

    def __init__(self, problem, made):
        g, itemsize = problem.geometry, FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = <const fc_winograd_grad_kernels*> winograd_grad_kernels(itemsize)
        self.plan, self.problem = made, problem
        a = &self.args
        a.outputs = tiled(g.out_shape, made.grad_out_strides, (0, 0), made)
        a.inputs = tiled(g.x_shape, made.x_strides, made.pads, made)
        a.N, a.groups, a.C, a.K, a.size = g.N, g.groups, g.C_g, g.K_g, made.size
        a.tile_blocks, a.segments, a.parts = made.tile_blocks, made.segments, made.parts
        a.k_blocks, a.k_block_count = <const int64_t*> address(made.k_blocks), len(made.k_blocks)
        a.k_group, a.c_blocks = made.k_group, made.c_blocks
        a.x_pitch, a.x_step, a.grad_pitch, a.grad_step = made.x_pitch, made.x_step, made.grad_pitch, made.grad_step
        a.strip, a.sums_step, a.sums = made.strip, made.sums_step, made.sums
        self.item_flops = g.flops // (a.segments * a.parts)
        self.partial_bytes = a.segments * a.parts * a.sums * itemsize if a.segments > 1 else 0
        cdef Py_ssize_t elements = made.points * (a.x_step + a.grad_step) + a.x_pitch + a.grad_pitch + a.strip
        a.scratch_bytes = whole_lines((elements + (a.sums if a.segments == 1 else 0)) * itemsize)

    @property
    def scratch_bytes(self):
        """What one thread needs, and what all share."""
        return self.args.scratch_bytes + self.partial_bytes

    def __call__(self, grad_out, x, grad_weight):
        cdef fc_winograd_grad_args a = self.args
        cdef int32_t doubt = 0
        a.grad_out, a.x, a.grad_weight, a.doubt = address(grad_out), address(x), address(grad_weight), &doubt
        cdef Py_ssize_t threads = num_threads(), size = threads * a.scratch_bytes + self.partial_bytes
        cdef Py_ssize_t items = a.segments * a.parts, chunk = grain(self.item_flops)
        cdef Py_ssize_t c_block = -(-a.C // a.c_blocks)
        cdef Py_ssize_t pieces = a.parts * -(-c_block // self.kernels.stored_channels)
        cdef Py_ssize_t reduced = grain(8 * a.segments * a.parts * a.sums // pieces)
        with nogil:
            a.scratch = <char*> take(size)
            if a.scratch != NULL:
                a.partials = a.scratch + threads * a.scratch_bytes
                parallel_for_threads(self.kernels.sum, &a, items, chunk, threads)
                if a.segments > 1:
                    parallel_for_threads(self.kernels.reduce, &a, pieces, reduced, threads)
                give(a.scratch, size)
        if a.scratch == NULL:
            return contract.OUT_OF_MEMORY
        if doubt:
            return conv2d_grad_weight.prepare_direct(self.problem).run(grad_out, x, grad_weight)
        return contract.OK


def _prepare(name, size, problem, transposed):
    unit, threads = vector_unit(problem), pool.default_num_threads()
    asked = None if problem.variant else problem.precision
    made = plan.winograd_plan(problem.geometry, transposed, problem.formats, size, unit, threads, asked)
    if isinstance(made, str):
        return contract.Declined(made, meant=plan.is_winograd_kernel(problem.geometry))
    cdef Winograd run = Winograd(problem, made, transposed)
    choice = (f"{name} is chosen: {made.why}",)
    unpacked = run.run_unpacked if made.on_the_way else None
    kernel = contract.Kernel(name, run, run.transform, run.scratch_bytes, precision=made.precision, choice=choice)
    return replace(kernel, run_unpacked=unpacked, packing=plan.transformation(made, __name__, transposed))


def _prepare_grad_weight(name, size, problem):
    asked = None if problem.variant else problem.precision
    made = plan.winograd_grad_plan(problem.geometry, problem.formats, size, vector_unit(problem), asked)
    if isinstance(made, str):
        return contract.Declined(made, meant=plan.is_winograd_kernel(problem.geometry))
    cdef WinogradGrad run = WinogradGrad(problem, made)
    choice = (f"{name} is chosen: {made.why}",)
    return contract.Kernel(name, run, workspace_bytes=run.scratch_bytes, precision=made.precision, choice=choice)


def _variants(prepare):
    return tuple(
        contract.Variant(name, lambda problem, name=name, size=size: prepare(name, size, problem))
        for name, size in (("winograd4", 4), ("winograd2", 2))
    )


VARIANTS = {
    "conv2d_forward": _variants(lambda *asked: _prepare(*asked, transposed=False)),
    "conv2d_grad_input": _variants(lambda *asked: _prepare(*asked, transposed=True)),
    "conv2d_grad_weight": _variants(_prepare_grad_weight),
}
