# The pool for other Cython modules: from fastconv._kernels.pool._native cimport parallel_for, range_fn

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer


# The first byte of an array, which the caller keeps alive.
cdef inline void* address(object array) except? NULL:
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO)
    cdef void* data = view.buf
    PyBuffer_Release(&view)
    return data


# Does the items lo <= i < hi. Calls that run at the same time in one region have different slots; the slot says
# nothing else, so a result must not depend on it. fn never holds the GIL and never raises.
ctypedef void (*range_fn)(void* ctx, Py_ssize_t lo, Py_ssize_t hi, Py_ssize_t slot) noexcept nogil

# The threads that parallel_for would use now (1 .. max_slots()).
cdef Py_ssize_t num_threads() noexcept nogil

# A constant (256): slot < max_slots() in every region, whatever anyone sets meanwhile. For tables of pointers;
# for scratch, read num_threads() once, allocate that many and pass the same number to parallel_for_threads.
cdef Py_ssize_t max_slots() noexcept nogil

# Calls fn over every item of [0, n) exactly once, in chunks that begin at multiples of grain, and returns when all
# is done. Serial, as fn(ctx, 0, n, 0): n <= grain, one thread, a nested call, or a pool that another thread uses.
cdef void parallel_for(range_fn fn, void* ctx, Py_ssize_t n, Py_ssize_t grain) noexcept nogil

# The same on at most nthreads threads: slot < max(1, nthreads).
cdef void parallel_for_threads(range_fn fn, void* ctx, Py_ssize_t n, Py_ssize_t grain,
                               Py_ssize_t nthreads) noexcept nogil
