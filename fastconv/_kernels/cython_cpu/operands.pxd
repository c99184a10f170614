# What every operation does with arrays and plans before it calls C.

from libc.stdint cimport int64_t

from fastconv._kernels.buffers._native cimport give, take
from fastconv._kernels.pool._native cimport address, num_threads, parallel_for_threads

cdef extern from "axis.h" nogil:
    ctypedef void (*fc_kernel)(void* args, Py_ssize_t lo, Py_ssize_t hi, Py_ssize_t slot) noexcept
    ctypedef struct fc_axis:
        Py_ssize_t targets, run_count
        const int64_t *first
        const int64_t *taps
        const int64_t *sources
        const int64_t *runs
    ctypedef struct fc_strides:
        Py_ssize_t n, c, h, w


# The element strides that arrays.element_strides gives.
cdef inline fc_strides strides(tuple values) except *:
    cdef fc_strides result
    result.n, result.c, result.h, result.w = values
    return result


# A plan.AxisPlan, which the caller keeps alive.
cdef inline fc_axis axis(object plan) except *:
    cdef fc_axis result
    result.targets, result.run_count = len(plan.first) - 1, len(plan.runs)
    result.first = <const int64_t*> address(plan.first)
    result.taps = <const int64_t*> address(plan.taps)
    result.sources = <const int64_t*> address(plan.sources)
    result.runs = <const int64_t*> address(plan.runs)
    return result


# Items per chunk, so that a chunk is worth handing over to another thread: about 10 to 50 microseconds.
cdef inline Py_ssize_t grain(Py_ssize_t flops_per_item) noexcept:
    return max(1, (1 << 20) // max(1, flops_per_item))


# Bytes up to the end of a cache line: no two threads' scratch shares one, and vectors cross none.
cdef inline Py_ssize_t whole_lines(Py_ssize_t nbytes) noexcept:
    return -(-nbytes // 64) * 64


# Runs a kernel on scratch of so many bytes for each thread, where ``scratch`` points while it runs; whether there was
# memory for it.
cdef inline bint run_on_scratch(
    fc_kernel kernel, void* args, char** scratch, Py_ssize_t nbytes, Py_ssize_t items, Py_ssize_t chunk
) noexcept nogil:
    cdef Py_ssize_t threads = num_threads()
    cdef void* block = take(threads * nbytes)
    if block == NULL:
        return False
    scratch[0] = <char*> block
    parallel_for_threads(kernel, args, items, chunk, threads)
    give(block, threads * nbytes)
    return True


# Whether vectors of every instruction set can be written past the caches from here on.
cdef inline bint is_aligned(const void* place) noexcept nogil:
    return <size_t> place % 64 == 0
