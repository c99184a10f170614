"""The thread pool for Cython kernels (see ``_native.pxd``) and, through addresses, for any other compiled code."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastconv._kernels.pool.limits import AFFINITY, default_num_threads

cdef extern from "parallel.h" nogil:
    const Py_ssize_t FC_MAX_THREADS
    void fc_pool_init() noexcept
    void fc_pool_allow_cpu(int cpu) noexcept
    void fc_parallel_for(range_fn fn, void* ctx, Py_ssize_t n, Py_ssize_t grain, Py_ssize_t nthreads) noexcept

cdef enum:
    MAX_WORDS = 128

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


cdef class Launch:
    """One function for many arrays: ``run`` with ``words`` as its context, after each value was put into its slot."""

    cdef range_fn function
    cdef Py_ssize_t n, grain, length, count
    cdef int64_t words[MAX_WORDS]
    cdef Py_ssize_t slots[MAX_WORDS]

    def __init__(self, size_t function_address, bytes words, tuple slots, Py_ssize_t n, Py_ssize_t grain):
        self.length, self.count = len(words), len(slots)
        if function_address == 0:
            raise ValueError("the address of the function is 0")
        if self.length > <Py_ssize_t> sizeof(self.words):
            raise ValueError(f"a context of {self.length} bytes is too long")
        if self.count > MAX_WORDS:
            raise ValueError(f"there are more slots, {self.count}, than words")
        self.function, self.n, self.grain = <range_fn> function_address, n, grain
        memcpy(self.words, <const char*> words, self.length)
        for position, slot in enumerate(slots):
            if not 0 <= slot < self.length // <Py_ssize_t> sizeof(int64_t):
                raise ValueError(f"slot {slot} is outside of the context")
            self.slots[position] = slot

    def __call__(self, *values) -> int:
        """0; on as many threads as are set. A value is an integer, or an array for its address."""
        if count == 0:
            set_thread_count(default_num_threads())
        self.on(values, count)
        return 0

    cpdef on(self, tuple values, Py_ssize_t threads):
        """The same on at most so many threads."""
        cdef int64_t[MAX_WORDS] context
        cdef Py_ssize_t position
        if len(values) != self.count:
            raise ValueError(f"{len(values)} values for {self.count} slots")
        memcpy(context, self.words, self.length)
        for position in range(self.count):
            value = values[position]
            context[self.slots[position]] = value if isinstance(value, int) else <int64_t> address(value)
        with nogil:
            fc_parallel_for(self.function, <void*> context, self.n, self.grain, threads)


fc_pool_init()
for cpu in AFFINITY:
    fc_pool_allow_cpu(cpu)
try:
    set_thread_count(default_num_threads())
except ValueError:  # FASTCONV_NUM_THREADS: an import must not fail of it; the first use raises it
    pass
