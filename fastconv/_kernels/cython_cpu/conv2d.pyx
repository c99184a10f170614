"""Forward and grad_input in C for every instruction set, driven from here: plan -> arguments -> thread pool."""

from libc.stdint cimport int64_t

from fastconv._kernels.cython_cpu.operands cimport address, axis, fc_axis, fc_kernel, fc_strides, grain
from fastconv._kernels.cython_cpu.operands cimport run_on_scratch, strides, whole_lines
from fastconv._kernels.pool._native cimport num_threads, parallel_for

from dataclasses import replace

from fastconv._kernels import buffers, contract, plan, pool
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "conv2d_args.h" nogil:
    ctypedef struct fc_pack_args:
        const void *weight
        void *packed
        const int64_t *k_blocks
        Py_ssize_t groups, C, K, taps, k_block_count, c_range, group_stride, c_stride, k_stride, joined
        int flipped, dots
    ctypedef struct fc_sum_args:
        const void *source
        const void *packed
        const void *bias
        void *target
        char *scratch
        fc_strides source_strides, target_strides
        fc_axis rows, cols
        const int64_t *row_blocks
        const int64_t *k_blocks
        Py_ssize_t N, groups, C, K, taps, tap_cols
        Py_ssize_t row_block_count, row_step, k_block_count, images, k_group, c_range, block_terms, range_terms
        Py_ssize_t pixel_step, entries, packed_source, sums, packed_target, packed_weight, scratch_bytes
        Py_ssize_t joined, source_channels
        int flipped, activation, streams, holds, in_place, far_weights
        int dots, rows_in_place
        fc_pack_args packing
    ctypedef struct fc_conv2d_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel sum, pack
    const fc_conv2d_kernels* fc_conv2d_select(int itemsize)

cdef extern from "activation.h" nogil:
    int FC_RELU, FC_RELU6

cdef extern from "grad_weight_args.h" nogil:
    ctypedef struct fc_grad_weight_kernels:
        pass
    const fc_grad_weight_kernels* fc_grad_weight_select(int itemsize)

cdef extern from "pointwise_args.h" nogil:
    ctypedef struct fc_pointwise_kernels:
        pass
    const fc_pointwise_kernels* fc_pointwise_select(int itemsize)

cdef extern from "first_layer_args.h" nogil:
    ctypedef struct fc_first_layer_kernels:
        pass
    const fc_first_layer_kernels* fc_first_layer_select(int itemsize)

cdef extern from "images_args.h" nogil:
    ctypedef struct fc_images_kernels:
        pass
    const fc_images_kernels* fc_images_select(int itemsize)

cdef extern from "sweep_args.h" nogil:
    ctypedef struct fc_sweep_kernels:
        pass
    const fc_sweep_kernels* fc_sweep_select(int itemsize)

cdef extern from "winograd_args.h" nogil:
    ctypedef struct fc_winograd_kernels:
        pass
    const fc_winograd_kernels* fc_winograd_select(int itemsize)

cdef extern from "winograd_grad_args.h" nogil:
    ctypedef struct fc_winograd_grad_kernels:
        pass
    const fc_winograd_grad_kernels* fc_winograd_grad_select(int itemsize)

_ENDINGS = {None: 0, contract.RELU: FC_RELU, contract.RELU6: FC_RELU | FC_RELU6}


# The flags of what follows a sum.
cdef int ending(object activation) except -1:
    return _ENDINGS[activation]


cdef const void* grad_weight_kernels(int itemsize) noexcept:
    return fc_grad_weight_select(itemsize)


cdef const void* pointwise_kernels(int itemsize) noexcept:
    return fc_pointwise_select(itemsize)


cdef const void* first_layer_kernels(int itemsize) noexcept:
    return fc_first_layer_select(itemsize)


cdef const void* images_kernels(int itemsize) noexcept:
    return fc_images_select(itemsize)


cdef const void* sweep_kernels(int itemsize) noexcept:
    return fc_sweep_select(itemsize)


cdef const void* winograd_kernels(int itemsize) noexcept:
    return fc_winograd_select(itemsize)


cdef const void* winograd_grad_kernels(int itemsize) noexcept:
    return fc_winograd_grad_select(itemsize)


cdef class Sum:
    """Forward and grad_input: target = ending(sum over taps and channels of weight * source)."""

    cdef fc_sum_args args
    cdef const fc_conv2d_kernels* kernels
    cdef bint has_bias, repacks, holds
    cdef Py_ssize_t items, item_flops, itemsize
    cdef Py_ssize_t held_items, holding_threads  # as many at once, for so many threads
    cdef readonly Py_ssize_t packed_bytes
    cdef object plan

    def __init__(self, problem, bint transposed, bint dots, Py_ssize_t joined, bint rows):
        g = problem.geometry
        self.itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_conv2d_select(self.itemsize)
        self.has_bias = "bias" in problem.optional
        unit = vector_unit(problem)
        threads = pool.default_num_threads()
        if rows:
            self.plan = plan.row_plan(g, problem.formats, unit, threads)
        else:
            self.plan = plan.sum_plan(g, transposed, problem.formats, unit, threads, dots, joined)
        self.args.packing.dots = self.args.dots = dots
        self.args.rows_in_place = rows
        # Items that read rows of weights ask for those of the next one.
        self.holds = rows or self.plan.holds
        self.args.activation = ending(problem.activation)
        self._fill(self.plan, g, transposed, unit)

    def _fill(self, made, g, bint transposed, unit):
        a, p = &self.args, &self.args.packing
        a.rows, a.cols = axis(made.rows), axis(made.cols)
        a.source_strides, a.target_strides = strides(made.source_strides), strides(made.target_strides)
        a.row_blocks = <const int64_t*> address(made.row_blocks)
        p.k_blocks = a.k_blocks = <const int64_t*> address(made.k_blocks)
        p.k_block_count = a.k_block_count = len(made.k_blocks)
        p.groups, p.C, p.K, p.taps = made.groups, made.C, made.K, g.rows.kernel * g.cols.kernel
        a.N, a.groups, a.C, a.K, a.taps, a.tap_cols = g.N, made.groups, made.C, made.K, p.taps, g.cols.kernel
        p.joined, a.joined, a.source_channels = made.joined, made.joined, made.source_channels
        a.row_block_count, a.row_step = len(made.row_blocks), made.row_step
        a.images, a.k_group = made.images, made.k_group
        p.c_range = a.c_range = made.c_range
        a.block_terms, a.range_terms = plan.BLOCK_TERMS, plan.RANGE_TERMS
        a.pixel_step, a.entries = made.pixel_step, made.entries
        a.packed_source, a.sums, a.packed_target = made.packed_source, made.sums, made.packed_target
        a.packed_weight, a.holds = made.packed_weight, made.holds
        p.flipped = a.flipped = transposed
        a.streams, a.in_place, a.far_weights = made.streams, made.in_place, made.far_weights
        p.group_stride = g.K_g * g.C_g * p.taps
        p.c_stride, p.k_stride = (g.C_g * p.taps, p.taps) if transposed else (p.taps, g.C_g * p.taps)
        scratch = unit.vectors * unit.lanes + a.sums + a.packed_source + a.packed_target
        a.scratch_bytes = whole_lines(scratch * self.itemsize + 16 * a.entries)
        a.scratch_bytes += whole_lines(a.packed_weight * self.itemsize)
        self.packed_bytes = made.groups * (a.K if a.dots else -(-a.K // unit.lanes) * unit.lanes) * a.C * a.taps * self.itemsize
        self.items, self.repacks = made.items, made.repacks
        self.item_flops = g.flops // max(1, self.items)

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return self.args.scratch_bytes

    def pack(self, weight):
        """The weight as the kernels read it: whole vectors of output channels, zero-padded."""
        packed = buffers.aligned_bytes(self.packed_bytes)
        cdef fc_pack_args p = self.args.packing
        p.weight, p.packed = address(weight), address(packed)
        cdef Py_ssize_t items = p.groups * p.k_block_count * -(-p.C // p.c_range)
        # Moving an element takes as long as so many operations.
        cdef Py_ssize_t chunk = grain(32 * p.groups * p.group_stride // max(1, items))
        with nogil:
            parallel_for(self.kernels.pack, &p, items, chunk)
        return packed

    def __call__(self, source, packed, *rest):
        cdef fc_sum_args a = self.args
        a.packed = address(packed)
        a.scratch_bytes -= whole_lines(a.packed_weight * self.itemsize)
        return self._run(&a, source, rest)

    def run_unpacked(self, source, weight, *rest):
        """The same with the weight as it is: items read it in place or pack it, unless packing it once is less work."""
        if self.repacks and num_threads() == 1:
            return self(source, self.pack(weight), *rest)
        cdef fc_sum_args a = self.args
        a.packing.weight = address(weight)
        return self._run(&a, source, rest)

    cdef Py_ssize_t _held_items(self, Py_ssize_t threads) except -1:
        if self.holds and threads != self.holding_threads:
            self.holding_threads, self.held_items = threads, plan.held_items(self.items, threads)
        return self.held_items

    cdef int _run(self, fc_sum_args* a, source, tuple rest) except -1:
        a.source, a.target = address(source), address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        cdef bint runs
        if a.packed == NULL:
            chunk = max(chunk, self._held_items(num_threads()))
        with nogil:
            runs = run_on_scratch(self.kernels.sum, a, &a.scratch, a.scratch_bytes, items, chunk)
        return contract.OK if runs else contract.OUT_OF_MEMORY


def vector_unit(problem):
    """What the plan must know of this machine's kernels."""
    cdef int itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
    kernels = fc_conv2d_select(itemsize)
    return plan.VectorUnit(kernels.lanes, kernels.vectors, kernels.columns, itemsize)


def _prepare_rows(problem):
    reason = plan.rows_reason(problem.geometry, problem.formats)
    if reason:
        return contract.Declined(reason)
    cdef Sum run = Sum(problem, transposed=False, dots=False, joined=1, rows=True)
    # A weight that stays is used often enough to be packed.
    kept = prepare_direct(problem, transposed=False)
    scratch_bytes = max(run.scratch_bytes, kept.workspace_bytes)
    return replace(kept, variant="gemv", workspace_bytes=scratch_bytes, run_unpacked=run.run_unpacked)


def _prepare_dots(problem, transposed):
    reason = plan.dots_reason(problem.geometry, transposed, vector_unit(problem))
    return contract.Declined(reason) if reason else _prepare("few_outputs", problem, transposed, dots=True)


def _prepare_groups(problem, transposed):
    g, unit = problem.geometry, vector_unit(problem)
    reason = plan.groups_reason(g, g.K if transposed else g.C, unit)
    return contract.Declined(reason) if reason else _prepare("grouped", problem, transposed, joined=plan.joined_groups(g, unit))


def _prepare(name, problem, transposed, dots=False, joined=1):
    cdef Sum run = Sum(problem, transposed, dots, joined, rows=False)
    unpacked = run.run_unpacked if run.args.packed_weight or run.args.in_place else None
    shape = problem.geometry.weight_shape
    packing = plan.packing(run.plan, __name__, problem.dtype, shape, transposed=transposed, dots=dots)
    return contract.Kernel(name, run, run.pack, run.scratch_bytes, run_unpacked=unpacked, packing=packing)


def prepare_direct(problem, transposed):
    """Forward or grad_input for any problem: what special kernels hand on."""
    return _prepare("direct", problem, transposed)


def _variants(transposed):
    return (
        contract.Variant("few_outputs", lambda problem: _prepare_dots(problem, transposed)),
        contract.Variant("grouped", lambda problem: _prepare_groups(problem, transposed)),
        contract.Variant("direct", lambda problem: prepare_direct(problem, transposed)),
    )


*_SPECIAL, _DIRECT = _variants(transposed=False)
VARIANTS = {
    # It gives the bits of the one that follows: only so may it depend on the number of pixels which of them runs.
    "conv2d_forward": (*_SPECIAL, contract.Variant("gemv", _prepare_rows), _DIRECT),
    "conv2d_grad_input": _variants(transposed=True),
}
