"""Max- and average-pooling in C for every instruction set, driven from here: plan -> arguments -> thread pool."""

from libc.stdint cimport int64_t, uintptr_t

from fastconv._kernels.cython_cpu.operands cimport address, axis, fc_axis, fc_kernel, fc_strides, strides
from fastconv._kernels.pool._native cimport parallel_for

import numpy as np

from fastconv import arrays
from fastconv._kernels import contract
from fastconv._kernels.plan import pools
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "pool2d_args.h" nogil:
    enum:
        FC_POOL_MAX, FC_POOL_MAX_GRAD, FC_POOL_SUM
    ctypedef struct fc_pool_lines:
        const int64_t *row_blocks
        const int64_t *first_tap
        const int64_t *taps
        const int64_t *places
        const int64_t *winners
        Py_ssize_t winner_count, block_count, height, pitch, first, count, step, even_at, odd_at, phases
    ctypedef struct fc_pool_sliding:
        Py_ssize_t stride, H, row_low, col_low, block, blocks, ahead
    ctypedef struct fc_pool_windows:
        const int64_t *rows
        const int64_t *cols
        const int64_t *taps
        const int64_t *row_groups
        const int64_t *col_groups
        Py_ssize_t row_count, col_count, tap_count, row_group_count, col_group_count, pitch
        int regular
    ctypedef struct fc_pool_args:
        const void *source
        const void *winners
        const void *row_counts
        const void *col_counts
        void *target
        void *offsets
        fc_strides source_strides, target_strides
        fc_axis rows, cols
        fc_pool_lines lines
        fc_pool_sliding sliding
        fc_pool_windows windows
        Py_ssize_t N, C, tap_cols, offset_bytes, kind, spreads, streams, lanes
        int runs, apart, status
    ctypedef struct fc_pool2d_kernels:
        Py_ssize_t lanes
        fc_kernel targets, planes, strips, sliding, sliding_grad, whole, windows
    const fc_pool2d_kernels* fc_pool2d_select(int itemsize)

cdef enum:
    LINE = 64

_KINDS = {
    "max_pool2d_forward": FC_POOL_MAX,
    "max_pool2d_grad_input": FC_POOL_MAX_GRAD,
    "avg_pool2d_forward": FC_POOL_SUM,
    "avg_pool2d_grad_input": FC_POOL_SUM,
}


cdef class Pooling:
    """One operation on one problem; subclasses say how the work is cut into items."""

    cdef fc_pool_args args
    cdef const fc_pool2d_kernels* kernels
    cdef fc_kernel kernel
    cdef Py_ssize_t items, chunk
    cdef bint has_winners, has_offsets, has_counts, streams
    cdef object plans, flops

    def __init__(self, op, problem):
        g, formats = problem.geometry, problem.formats
        itemsize, transposed = FLOAT_TYPES[problem.dtype].storage.itemsize, op.endswith("grad_input")
        self.kernels = fc_pool2d_select(itemsize)
        self.plans = pools.axis_plans(g, transposed)
        shapes = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        a = &self.args
        a.rows, a.cols = axis(self.plans[0]), axis(self.plans[1])
        a.source_strides = strides(arrays.element_strides(shapes[0], formats[0]))
        a.target_strides = strides(arrays.element_strides(shapes[1], formats[1]))
        a.N, a.C, a.tap_cols, a.lanes, a.kind = g.N, g.C, g.cols.kernel, 1, _KINDS[op]
        a.offset_bytes, a.status = np.dtype(contract.offsets_dtype(g)).itemsize, contract.OK
        self.has_winners, self.has_offsets = a.kind == FC_POOL_MAX_GRAD, "offsets" in problem.optional
        self.has_counts = a.kind == FC_POOL_SUM
        a.spreads = self.has_counts and transposed
        self.flops = g.flops
        self._share(problem, transposed, itemsize)
        self.chunk = pools.grain(g, itemsize, self.items, self.flops)

    cdef _share(self, problem, bint transposed, Py_ssize_t itemsize):
        """Items are target rows of an image, whose targets come one after the other."""
        self.kernel, self.items = self.kernels.targets, self.args.N * self.args.rows.targets

    def __call__(self, *operands):
        cdef fc_pool_args a = self.args
        cdef Py_ssize_t items = self.items, chunk = self.chunk
        a.source, a.target = address(operands[0]), address(operands[-1])
        if self.has_winners:
            a.winners = address(operands[1])
        elif self.has_counts:
            a.row_counts, a.col_counts = address(operands[1]), address(operands[2])
        elif self.has_offsets:
            a.target, a.offsets = address(operands[1]), address(operands[2])
        a.streams = self.streams and <uintptr_t> a.target % LINE == 0
        with nogil:
            parallel_for(self.kernel, &a, items, chunk)
        return contract.OUT_OF_MEMORY if a.status else contract.OK


cdef class Channels(Pooling):
    """The same with all channels of a pixel at once."""

    cdef _share(self, problem, bint transposed, Py_ssize_t itemsize):
        Pooling._share(self, problem, transposed, itemsize)
        self.args.lanes = problem.geometry.C
        self.args.runs = not transposed and pools.has_runs(problem.geometry)
        self.args.apart = transposed and pools.are_apart(problem.geometry)
        self.streams = pools.streams(problem.geometry, transposed, problem.formats, itemsize)


cdef class Rows(Pooling):
    """Items are blocks of rows of a plane."""

    cdef object made

    cdef _share(self, problem, bint transposed, Py_ssize_t itemsize):
        self.made = made = pools.lines(problem.geometry, transposed, itemsize)
        l = &self.args.lines
        l.row_blocks, l.block_count = <const int64_t*> address(made.row_blocks), len(made.row_blocks)
        l.first_tap, l.taps = <const int64_t*> address(made.first_tap), <const int64_t*> address(made.taps)
        l.places = <const int64_t*> address(made.places)
        l.winners, l.winner_count = <const int64_t*> address(made.winners), len(made.winners)
        l.height, l.pitch, l.first, l.count, l.step = made.height, made.pitch, made.first, made.count, made.step
        l.even_at, l.odd_at, l.phases = made.even_at, made.odd_at, made.phases
        self.kernel, self.items = self.kernels.planes, self.args.N * self.args.C * l.block_count
        self.streams = pools.streams(problem.geometry, transposed, problem.formats, itemsize)


cdef class Strips(Pooling):
    """Items are as many planes as a vector has lanes."""

    cdef _share(self, problem, bint transposed, Py_ssize_t itemsize):
        lanes = self.kernels.lanes
        self.kernel, self.items = self.kernels.strips, self.args.N * ((self.args.C + lanes - 1) // lanes)


cdef class Sliding(Pooling):
    """Items are blocks of rows of a plane."""

    cdef _share(self, problem, bint transposed, Py_ssize_t itemsize):
        g, w = problem.geometry, &self.args.sliding
        w.stride, w.row_low, w.col_low = g.rows.stride, g.rows.low, g.cols.low
        w.H = g.rows.out if transposed else g.rows.size
        w.block, w.blocks, w.ahead = pools.sliding_blocks(g, itemsize)
        self.kernel = self.kernels.sliding_grad if transposed else self.kernels.sliding
        self.items = self.args.N * self.args.C * w.blocks
        self.streams = pools.streams(g, transposed, problem.formats, itemsize)


cdef class Whole(Pooling):
    """Items are planes."""

    cdef _share(self, problem, bint transposed, Py_ssize_t itemsize):
        self.kernel, self.items = self.kernels.whole, self.args.N * self.args.C


cdef class Windows(Pooling):
    """Items are planes."""

    cdef object made

    cdef _share(self, problem, bint transposed, Py_ssize_t itemsize):
        self.made = made = pools.windows(problem.geometry)
        w = &self.args.windows
        w.rows, w.row_count = <const int64_t*> address(made.rows), len(made.rows)
        w.cols, w.col_count = <const int64_t*> address(made.cols), len(made.cols)
        w.taps, w.tap_count = <const int64_t*> address(made.taps), len(made.taps)
        w.row_groups, w.row_group_count = <const int64_t*> address(made.row_groups), len(made.row_groups)
        w.col_groups, w.col_group_count = <const int64_t*> address(made.col_groups), len(made.col_groups)
        w.pitch = pools.windows_pitch(problem.geometry, self.kernels.lanes)
        w.regular, self.flops = made.regular, pools.window_flops(problem.geometry)
        self.kernel, self.items = self.kernels.windows, self.args.N * self.args.C


def _variant(name, kind, reason, op):
    def prepare(problem):
        why = reason(problem.geometry, problem.formats)
        return contract.Declined(why) if why else contract.Kernel(name, kind(op, problem))

    return contract.Variant(name, prepare)


_FORMS = (
    ("whole", Whole, pools.whole_reason),
    ("sliding", Sliding, pools.sliding_reason),
    ("rows", Rows, pools.rows_reason),
    ("strips", Strips, pools.strips_reason),
    ("channels", Channels, pools.channels_reason),
    ("direct", Pooling, pools.direct_reason),
)


def _forms(op):
    """Of gradients there is one more."""
    if op not in pools.WINDOWS_REASONS:
        return _FORMS
    return (*_FORMS[:3], ("windows", Windows, pools.WINDOWS_REASONS[op]), *_FORMS[3:])


VARIANTS = {op: tuple(_variant(*form, op) for form in _forms(op)) for op in _KINDS}
