"""Two loops that read what a GPU can do at best: multiply-adds in registers, and memory copied by vectors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from fastconv._kernels.numba_cuda.launch import THREADS, launch, launch_elements, memory
from fastconv._kernels.numba_cuda.settings import FLOATS, CudaKernel, address, compiled, cuda, int64
from fastconv._kernels.numba_cuda.vectors import load4, store4

# Sums of a thread that do not wait for each other, and multiply-adds of each between two looks at the count.
CHAINS, STEPS = 8, 16
_QUAD = 4


@cache
def fma_kernel(dtype: str):
    """out[thread] = the sum of its chains after ``rounds`` times STEPS multiply-adds of each."""
    number = FLOATS[dtype]

    def machine_fma(out, rounds, factor, term):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        total = cuda.local.array(CHAINS, number)
        for k in range(CHAINS):
            total[k] = number(cuda.threadIdx.x + k)
        done = 0
        while done < rounds:
            for _ in range(STEPS):
                for k in range(CHAINS):
                    total[k] = total[k] * factor + term
            done += 1
        result = number(0)
        for k in range(CHAINS):
            result += total[k]
        out[item] = result

    return compiled(machine_fma, address(number), int64, number, number)


@cache
def copy_kernel(dtype: str):
    """target = source, four elements by each thread."""

    def machine_copy(source, target, quads):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < quads:
            store4(target, item * _QUAD, load4(source, item * _QUAD))

    return compiled(machine_copy, address(FLOATS[dtype]), address(FLOATS[dtype]), int64)


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    yield "machine_fma", fma_kernel(dtype)
    yield "machine_copy", copy_kernel(dtype)


def multiply_add(out, rounds: int) -> int:
    """Queue a thread for each element of a dense array, in whole blocks; how many floating-point operations they do."""
    # A factor that keeps sums in range, of normal numbers.
    launch(fma_kernel(out.dtype.name), out.size // THREADS, THREADS, memory(out), rounds, 0.5, 1.0)
    return 2 * out.size // THREADS * THREADS * CHAINS * STEPS * rounds


def copy(source, target) -> None:
    """Queue the copying of a dense array, of whole vectors and aligned to them, to another."""
    quads = source.size // _QUAD
    launch_elements(copy_kernel(source.dtype.name), quads, memory(source), memory(target), quads)
