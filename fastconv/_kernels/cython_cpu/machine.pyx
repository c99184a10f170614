"""The machine as the kernels see it: instruction set, multiply-add peak, memory bandwidth."""

import time

import numpy as np

from fastconv._kernels.cython_cpu.operands cimport fc_kernel
from fastconv._kernels.pool._native cimport num_threads, parallel_for

from fastconv.dtypes import FLOAT_TYPES

cdef extern from "machine_args.h" nogil:
    ctypedef struct fc_peak_args:
        Py_ssize_t steps
        double factor
        double sink
    ctypedef struct fc_bandwidth_args:
        const char* source
        char* target
        Py_ssize_t size, passes
        double sink
    ctypedef struct fc_machine_kernels:
        Py_ssize_t lanes, chains
        fc_kernel peak, read, write, copy, stream
    const fc_machine_kernels* fc_machine_select(int itemsize)
    int fc_isa_level()

LEVELS = {0: "plain", 2: "x86-64-v2", 3: "x86-64-v3 (AVX2, FMA)", 4: "x86-64-v4 (AVX-512)"}
# Bytes moved per byte of an array; a store that first reads its line counts once, as in STREAM.
TRAFFIC = {"read": 1, "write": 1, "copy": 2, "streaming": 2}
PAGE = 4096
# A measured call moves at least this much, so that handing it to the threads costs nothing.
LEAST_BYTES = 1 << 28
PAUSE, CALLS_PER_PAUSE = 0.002, 4


def instruction_set():
    """The instruction set that the kernels use here."""
    return LEVELS[fc_isa_level()]


def fma_peak(dtype="float32", seconds=0.3):
    """Floating-point operations per second of a register-only multiply-add loop on all threads, the best of several.

    Twelve independent chains of whole vectors; each thread runs the same number of steps.
    """
    cdef const fc_machine_kernels* kernels = fc_machine_select(FLOAT_TYPES[dtype].storage.itemsize)
    cdef fc_peak_args args
    args.steps, args.factor, args.sink = 100_000, 0.999, 0.0
    cdef Py_ssize_t items = 4 * num_threads()
    flops = 2 * kernels.lanes * kernels.chains * args.steps * items
    return flops / _best(kernels.peak, &args, items, seconds)


def bandwidths(Py_ssize_t nbytes, seconds=0.3):
    """Name -> bytes per second on all threads, the best of several: read, write, copy, streaming.

    Each thread goes over its share of arrays of ``nbytes`` together (source and target where there are two). Copies
    count both directions; ``streaming`` copies with stores that go past the caches.
    """
    cdef const fc_machine_kernels* kernels = fc_machine_select(4)
    cdef fc_bandwidth_args args
    cdef fc_kernel[4] loops = [kernels.read, kernels.write, kernels.copy, kernels.stream]
    cdef Py_ssize_t number, items = num_threads()
    found = {}
    for number, (name, arrays) in enumerate(TRAFFIC.items()):
        args.size = max(nbytes // arrays // items // PAGE, 1) * PAGE
        args.passes = max(LEAST_BYTES // (args.size * items * arrays), 1)
        memory = _pages(arrays * args.size * items)
        args.source = <const char*> <size_t> memory.ctypes.data
        args.target = <char*> <size_t> (memory.ctypes.data + (arrays - 1) * args.size * items)
        found[name] = arrays * args.size * items * args.passes / _best(loops[number], &args, items, seconds)
    return found


cdef _best(fc_kernel loop, void* args, Py_ssize_t items, seconds):
    """The shortest seconds of one call on all threads.

    Now and then a pause lets the workers fall asleep: one that was moved to the CPU of another thread gets its own at
    the next call, which is not short.
    """
    best = float("inf")
    end = time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        time.sleep(PAUSE)
        for _ in range(CALLS_PER_PAUSE):
            begin = time.perf_counter()
            with nogil:
                parallel_for(loop, args, items, 1)
            best = min(best, time.perf_counter() - begin)
    return best


def _pages(nbytes):
    """Touched memory that begins at a page."""
    memory = np.ones(nbytes + PAGE, np.uint8)
    return memory[-memory.ctypes.data % PAGE:][:nbytes]
