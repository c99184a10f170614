"""Rows that become parts of longer rows, copied by all threads."""

from libc.string cimport memcpy

from fastconv._kernels.cython_cpu.operands cimport address
from fastconv._kernels.pool._native cimport parallel_for

from fastconv._kernels import contract, plan
from fastconv.dtypes import FLOAT_TYPES

cdef Py_ssize_t CHUNK = plan.PART_CHUNK

# Sizes are bytes, but for the rows, of an item and of all, and the blocks of a row.
cdef struct part_args:
    const char *source
    char *target
    Py_ssize_t all_rows, rows, blocks, block, width, pitch


cdef void copy_items(void* context, Py_ssize_t lo, Py_ssize_t hi, Py_ssize_t slot) noexcept nogil:
    cdef part_args* a = <part_args*> context
    cdef Py_ssize_t item, row, last, begin
    for item in range(lo, hi):
        row, begin = item // a.blocks * a.rows, item % a.blocks * a.block
        last = min(row + a.rows, a.all_rows)
        while row < last:
            memcpy(a.target + row * a.pitch + begin, a.source + row * a.width + begin, min(a.block, a.width - begin))
            row += 1


cdef class CopyPart:
    """Items are those of plan.PartPlan."""

    cdef part_args args
    cdef Py_ssize_t items, offset

    def __init__(self, problem):
        g, itemsize = problem.geometry, FLOAT_TYPES[problem.dtype].storage.itemsize
        made = plan.part_plan(g, itemsize)
        a = &self.args
        a.all_rows, a.rows, a.blocks, a.block = g.rows, made.rows, made.blocks, made.block
        a.width, a.pitch = g.width * itemsize, g.pitch * itemsize
        self.items, self.offset = made.items, g.offset * itemsize

    def __call__(self, x, out):
        cdef part_args a = self.args
        a.source, a.target = <const char*> address(x), <char*> address(out) + self.offset
        with nogil:
            parallel_for(copy_items, &a, self.items, CHUNK)
        return contract.OK


VARIANTS = {
    "copy_part": (contract.Variant("rows", lambda problem: contract.Kernel("rows", CopyPart(problem))),),
}
