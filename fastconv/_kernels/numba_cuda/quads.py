"""Passes over arrays in the order of memory: a thread has a quad of neighbouring elements.

Where all arrays begin with a vector, quads are read and written by vectors.
"""

from __future__ import annotations

from fastconv._kernels.numba_cuda.launch import is_aligned, launch_elements, memory
from fastconv._kernels.numba_cuda.settings import CudaKernel, compiled, cuda, inlined, int64, types
from fastconv._kernels.numba_cuda.storage import stored

QUAD = 4


def quad_kernel(dtype: str, element, inputs: int, outputs: int, settings=(), begin=None) -> CudaKernel:
    """A kernel for the addresses of ``inputs`` arrays and then of ``outputs``; these may be the same as inputs.

    ``element(values, first, j, settings)`` gives the outputs of element j of a quad in a tuple, from its inputs, from
    settings of these types, and from what ``begin(item, settings)`` says of the quad's first element ``item``.
    """
    begin, storage = begin or _place, stored(dtype)
    read, read_vector = _gathered(inputs, storage.get), _gathered(inputs, storage.get4)
    pick, write = _gathered(inputs, _picked), _scattered(outputs, inputs, storage.put)
    write_vectors = _vectors_scattered(outputs, inputs, storage.put4)

    def elementwise(operands, count, by_vectors, settings):
        item, j = QUAD * (int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x), 0
        if item < count:
            first = begin(item, settings)
            if by_vectors and item + QUAD <= count:
                quads = read_vector(operands, item)
                v0 = element(pick(quads, 0), first, 0, settings)
                v1 = element(pick(quads, 1), first, 1, settings)
                v2 = element(pick(quads, 2), first, 2, settings)
                v3 = element(pick(quads, 3), first, 3, settings)
                write_vectors(operands, item, v0, v1, v2, v3)
            else:
                while j < QUAD and item + j < count:
                    write(operands, item + j, element(read(operands, item + j), first, j, settings))
                    j += 1

    operands = types.UniTuple(storage.address, inputs + outputs)
    return compiled(elementwise, operands, int64, int64, types.Tuple(settings))


def launch_quads(kernel: CudaKernel, count: int, operands: tuple, settings: tuple = ()) -> None:
    """Queue such a kernel on arrays of ``count`` elements."""
    places, by_vectors = tuple(map(memory, operands)), all(map(is_aligned, operands))
    launch_elements(kernel, -(-count // QUAD), places, count, by_vectors, settings)


@inlined
def _place(item, settings):
    return item


@inlined
def _picked(quad, j):
    return quad[j]


def _gathered(count, take):
    """``take(arrays[0], index), take(arrays[1], index), ...``: what is taken stays in registers."""
    last, rest = count - 1, _gathered(count - 1, take) if count > 1 else None

    @inlined
    def take_one(arrays, index):
        return (take(arrays[0], index),)

    @inlined
    def take_all(arrays, index):
        return (*rest(arrays, index), take(arrays[last], index))

    return take_all if rest else take_one


def _scattered(count, begin, put):
    """Write ``count`` values to arrays number ``begin`` and following."""
    at, last, rest = begin + count - 1, count - 1, _scattered(count - 1, begin, put) if count > 1 else None

    @inlined
    def put_one(arrays, index, values):
        put(arrays[at], index, values[last])

    @inlined
    def put_all(arrays, index, values):
        rest(arrays, index, values)
        put(arrays[at], index, values[last])

    return put_all if rest else put_one


def _vectors_scattered(count, begin, put4):
    """The same with the values of the four elements of a quad."""
    at, last, rest = begin + count - 1, count - 1, _vectors_scattered(count - 1, begin, put4) if count > 1 else None

    @inlined
    def put_one(arrays, index, v0, v1, v2, v3):
        put4(arrays[at], index, (v0[last], v1[last], v2[last], v3[last]))

    @inlined
    def put_all(arrays, index, v0, v1, v2, v3):
        rest(arrays, index, v0, v1, v2, v3)
        put4(arrays[at], index, (v0[last], v1[last], v2[last], v3[last]))

    return put_all if rest else put_one
