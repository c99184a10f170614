"""Forward and grad_input with few target channels, in C for every instruction set."""

from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport free, malloc

from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, fc_strides, strides
from fastconv._kernels.pool._native cimport num_threads, parallel_for_threads

from fastconv._kernels import contract, plan
from fastconv._kernels.cython_cpu import conv2d
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "few_outputs_args.h" nogil:
    ctypedef struct fc_phases:
        const int64_t *first
        const int64_t *pairs
        Py_ssize_t phases, sources, targets, lowest, highest
    ctypedef struct fc_few_outputs_args:
        const void *source
        const void *weight
        const void *bias
        void *target
        char *scratch
        fc_strides source_strides, target_strides
        fc_phases rows, cols
        Py_ssize_t N, groups, C, K, tap_cols, c_range, block_terms, row_block, block_count, scratch_rows, pitch, entries
        Py_ssize_t c_stride, k_stride, group_stride, scratch_bytes
        int relu
    ctypedef struct fc_few_outputs_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel few_outputs
        int (*is_finite)(const void *values, Py_ssize_t count) noexcept
    const fc_few_outputs_kernels* fc_few_outputs_select(int itemsize)

cdef enum:
    CACHE_LINE = 64


cdef fc_phases phases(object plan) except *:
    cdef fc_phases result
    result.first = <const int64_t*> address(plan.first)
    result.pairs = <const int64_t*> address(plan.pairs)
    result.phases, result.sources, result.targets = plan.phases, plan.sources, plan.targets
    result.lowest, result.highest = plan.lowest, plan.highest
    return result


cdef class FewOutputs:
    """Items are blocks of target rows; weights that are not all finite are left to the general kernel."""

    cdef fc_few_outputs_args args
    cdef const fc_few_outputs_kernels* kernels
    cdef bint has_bias
    cdef Py_ssize_t items, weight_size
    cdef object plan, general

    def __init__(self, problem, made, bint transposed):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels, self.plan, self.general = fc_few_outputs_select(itemsize), made, conv2d.Sum(problem, transposed)
        self.has_bias = "bias" in problem.optional
        a = &self.args
        taps = g.rows.kernel * g.cols.kernel
        a.source_strides, a.target_strides = strides(made.source_strides), strides(made.target_strides)
        a.rows, a.cols = phases(made.rows), phases(made.cols)
        a.N, a.groups, a.C, a.K, a.tap_cols = g.N, g.groups, made.C, made.K, g.cols.kernel
        a.c_range, a.block_terms = made.c_range, plan.BLOCK_TERMS
        a.row_block, a.block_count, a.scratch_rows = made.row_block, made.block_count, made.scratch_rows
        a.pitch, a.entries = made.pitch, made.entries
        a.c_stride, a.k_stride = (g.C_g * taps, taps) if transposed else (taps, g.C_g * taps)
        a.group_stride = g.K_g * g.C_g * taps
        self.weight_size = g.groups * a.group_stride
        self.items = g.N * g.groups * a.block_count
        planes = a.C * a.scratch_rows * a.pitch
        scratch = (2 * self.kernels.vectors * self.kernels.lanes * self.kernels.columns + planes) * itemsize
        a.scratch_bytes = -(-(scratch + 16 * a.entries) // CACHE_LINE) * CACHE_LINE

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return max(self.args.scratch_bytes, self.general.scratch_bytes)

    def __call__(self, source, weight, *rest):
        cdef fc_few_outputs_args a = self.args
        a.source, a.weight, a.target = address(source), address(weight), address(rest[-1])
        a.bias = address(rest[0]) if self.has_bias else NULL
        cdef Py_ssize_t threads = num_threads(), items = self.items
        cdef char* scratch
        if not self.kernels.is_finite(a.weight, self.weight_size):
            return self.general(source, self.general.pack(weight), *rest)
        with nogil:
            scratch = <char*> malloc(threads * a.scratch_bytes + CACHE_LINE)
            if scratch != NULL:
                a.scratch = scratch + (CACHE_LINE - <uintptr_t> scratch % CACHE_LINE) % CACHE_LINE
                parallel_for_threads(self.kernels.few_outputs, &a, items, 1, threads)
                free(scratch)
        return contract.OUT_OF_MEMORY if scratch == NULL else contract.OK


def _prepare(problem, transposed):
    kernels = fc_few_outputs_select(FLOAT_TYPES[problem.dtype].storage.itemsize)
    unit = plan.VectorUnit(kernels.lanes, kernels.vectors, kernels.columns)
    made = plan.few_outputs_plan(problem.geometry, transposed, problem.formats, unit)
    if isinstance(made, str):
        return contract.Declined(made)
    run = FewOutputs(problem, made, transposed)
    return contract.Kernel("few_outputs", run, workspace_bytes=run.scratch_bytes)


def _prepare_forward(problem):
    return _prepare(problem, transposed=False)


def _prepare_grad_input(problem):
    return _prepare(problem, transposed=True)


VARIANTS = {
    "conv2d_forward": (contract.Variant("few_outputs", _prepare_forward),),
    "conv2d_grad_input": (contract.Variant("few_outputs", _prepare_grad_input),),
}
