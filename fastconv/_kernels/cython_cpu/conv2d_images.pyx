"""Small planes of many images in C for every instruction set: grad_input of few channels."""

from libc.stdint cimport int64_t

from fastconv._kernels.cython_cpu.conv2d cimport images_kernels
from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, fc_strides, grain, run_on_scratch
from fastconv._kernels.cython_cpu.operands cimport strides, whole_lines

from fastconv._kernels import contract, plan
from fastconv._kernels.cython_cpu.conv2d import vector_unit
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "images_args.h" nogil:
    ctypedef struct fc_images_args:
        const void *source
        const void *weight
        void *target
        char *scratch
        fc_strides source_strides, target_strides
        const int64_t *entries
        const int64_t *regions
        Py_ssize_t N, C, K, taps, source_rows, source_cols, target_rows, target_cols
        Py_ssize_t source_plane, target_plane, row_blocks, region_count, per_chunk, scratch_bytes
    ctypedef struct fc_images_kernels:
        Py_ssize_t lanes, vectors, columns
        fc_kernel images


cdef class Images:
    """Items are vectors of images, or blocks of their rows; the weight is read as it is."""

    cdef fc_images_args args
    cdef const fc_images_kernels* kernels
    cdef Py_ssize_t items, item_flops
    cdef object plan, entries

    def __init__(self, problem, made):
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = <const fc_images_kernels*> images_kernels(itemsize)
        lanes = self.kernels.lanes
        self.plan, self.entries = made, made.entries * (1, lanes)
        a, g = &self.args, problem.geometry
        a.source_strides, a.target_strides = strides(made.source_strides), strides(made.target_strides)
        a.entries, a.regions = <const int64_t*> address(self.entries), <const int64_t*> address(made.regions)
        a.region_count, a.per_chunk = len(made.regions), made.per_chunk
        a.N, a.C, a.target_rows, a.target_cols = g.x_shape
        _, a.K, a.source_rows, a.source_cols = g.out_shape
        a.taps, a.row_blocks = g.rows.kernel * g.cols.kernel, made.row_blocks
        a.source_plane, a.target_plane = made.source_plane * lanes, made.target_plane * lanes
        cdef Py_ssize_t sums = self.kernels.vectors * lanes * self.kernels.columns
        a.scratch_bytes = whole_lines((sums + a.K * a.source_plane + a.C * a.target_plane) * itemsize)
        self.items, self.item_flops = made.items, g.flops // made.items

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return self.args.scratch_bytes

    def __call__(self, grad_out, weight, grad_input):
        cdef fc_images_args a = self.args
        a.source, a.weight, a.target = address(grad_out), address(weight), address(grad_input)
        cdef Py_ssize_t items = self.items, chunk = grain(self.item_flops)
        cdef bint runs
        with nogil:
            runs = run_on_scratch(self.kernels.images, &a, &a.scratch, a.scratch_bytes, items, chunk)
        return contract.OK if runs else contract.OUT_OF_MEMORY


def _prepare(problem):
    made = plan.images_plan(problem.geometry, problem.formats, vector_unit(problem))
    return contract.planned("images", made, lambda: Images(problem, made))


VARIANTS = {"conv2d_grad_input": (contract.Variant("images", _prepare),)}
