"""Memory of output arrays, kept for the next ones (see ``blocks.h``)."""

from cpython.buffer cimport PyBuffer_FillInfo

cdef extern from "blocks.h" nogil:
    size_t fc_block_size(size_t bytes)
    void* fc_block_take(size_t size)
    void fc_block_give(void* block, size_t size)
    size_t fc_blocks_kept()
    size_t fc_blocks_limit()
    void fc_blocks_set_limit(size_t limit)
    void fc_blocks_shrink(size_t most)


cdef void* take(size_t nbytes) noexcept nogil:
    cdef size_t size = fc_block_size(nbytes)
    return fc_block_take(size) if size else NULL


cdef void give(void* block, size_t nbytes) noexcept nogil:
    fc_block_give(block, fc_block_size(nbytes))


cdef class Block:
    """So many writable bytes; it is given back when nobody shows it any more."""

    cdef void* address
    cdef Py_ssize_t nbytes

    def __cinit__(self, Py_ssize_t nbytes):
        self.nbytes = nbytes
        self.address = take(nbytes)
        if self.address == NULL:
            raise MemoryError(f"no memory for {nbytes:,} bytes")

    def __dealloc__(self):
        if self.address != NULL:
            give(self.address, self.nbytes)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.address, self.nbytes, False, flags)


def kept_bytes() -> int:
    """Bytes of all blocks that are kept and in no one's use."""
    return fc_blocks_kept()


def get_limit() -> int:
    """The largest number of bytes to keep."""
    return fc_blocks_limit()


def set_limit(size_t nbytes) -> None:
    """Keep at most so many bytes from now on."""
    fc_blocks_set_limit(nbytes)


def clear() -> None:
    """Free all blocks that are kept."""
    fc_blocks_shrink(0)
