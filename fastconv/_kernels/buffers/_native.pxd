# Scratch memory for other Cython modules: from fastconv._kernels.buffers._native cimport give, take

# At least so many bytes that begin at a cache line, or NULL.
cdef void* take(size_t nbytes) noexcept nogil

# What ``take`` gave for so many bytes.
cdef void give(void* block, size_t nbytes) noexcept nogil
