"""The machine as the kernels see it: its instruction set and its multiply-add peak."""

import time

from fastconv._kernels.cython_cpu.operands cimport fc_kernel
from fastconv._kernels.pool._native cimport num_threads, parallel_for

from fastconv.dtypes import FLOAT_TYPES

cdef extern from "machine_args.h" nogil:
    ctypedef struct fc_peak_args:
        Py_ssize_t steps
        double factor
        double sink
    ctypedef struct fc_machine_kernels:
        Py_ssize_t lanes, chains
        fc_kernel peak
    const fc_machine_kernels* fc_machine_select(int itemsize)
    int fc_isa_level()

LEVELS = {0: "plain", 2: "x86-64-v2", 3: "x86-64-v3 (AVX2, FMA)", 4: "x86-64-v4 (AVX-512)"}


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
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        with nogil:
            parallel_for(kernels.peak, &args, items, 1)
        best = max(best, flops / (time.perf_counter() - begin))
    return best
