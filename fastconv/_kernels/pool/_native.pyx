"""The thread pool for Cython kernels (see ``_native.pxd``) and, through addresses, for any other compiled code."""

from fastconv._kernels.pool.limits import AFFINITY, default_num_threads

cdef extern from "parallel.h" nogil:
    const Py_ssize_t FC_MAX_THREADS
    void fc_pool_init() noexcept
    void fc_pool_allow_cpu(int cpu) noexcept
    void fc_parallel_for(range_fn fn, void* ctx, Py_ssize_t n, Py_ssize_t grain, Py_ssize_t nthreads) noexcept

cdef Py_ssize_t count = 0  # the thread count of the process; 0: not set, because the environment is malformed


cdef Py_ssize_t num_threads() noexcept nogil:
    return count if count > 1 else 1


cdef Py_ssize_t max_slots() noexcept nogil:
    return FC_MAX_THREADS


cdef void parallel_for(range_fn fn, void* ctx, Py_ssize_t n, Py_ssize_t grain) noexcept nogil:
    fc_parallel_for(fn, ctx, n, grain, count)


cdef void parallel_for_threads(range_fn fn, void* ctx, Py_ssize_t n, Py_ssize_t grain,
                               Py_ssize_t nthreads) noexcept nogil:
    fc_parallel_for(fn, ctx, n, grain, nthreads)


def thread_count() -> int:
    """The thread count of the process; 0 while it is not set."""
    return count


def set_thread_count(value) -> None:
    """Set the thread count of the process; more than the pool's maximum counts as the maximum."""
    global count
    count = min(value, FC_MAX_THREADS)


def run(size_t function_address, size_t context_address, Py_ssize_t n, Py_ssize_t grain, threads=None) -> None:
    """Drive a C function of type ``range_fn`` over [0, n) with the GIL released, on at most ``threads`` threads."""
    cdef Py_ssize_t wanted
    if function_address == 0:
        raise ValueError("the address of the function is 0")
    if count == 0:
        set_thread_count(default_num_threads())
    wanted = count if threads is None else threads
    with nogil:
        fc_parallel_for(<range_fn> function_address, <void*> context_address, n, grain, wanted)


fc_pool_init()
for cpu in AFFINITY:
    fc_pool_allow_cpu(cpu)
try:
    set_thread_count(default_num_threads())
except ValueError:  # FASTCONV_NUM_THREADS: an import must not fail of it; the first use raises it
    pass
