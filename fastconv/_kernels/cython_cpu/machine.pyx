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
    ctypedef struct fc_move_args:
        const char* source
        char* target
        Py_ssize_t read, written, step, blocks
        double sink
    ctypedef struct fc_machine_kernels:
        Py_ssize_t lanes, chains
        fc_kernel peak, read, write, copy, stream, move, move_stream
    const fc_machine_kernels* fc_machine_select(int itemsize)
    int fc_isa_level()

LEVELS = {0: "plain", 2: "x86-64-v2", 3: "x86-64-v3 (AVX2, FMA)", 4: "x86-64-v4 (AVX-512)"}
# Bytes moved per byte of an array; a store that first reads its line counts once, as in STREAM.
TRAFFIC = {"read": 1, "write": 1, "copy": 2, "streaming": 2}
PAGE = 4096
# A measured call moves at least this much, so that handing it to the threads costs nothing.
LEAST_BYTES = 1 << 28
PAUSE, CALLS_PER_PAUSE = 0.002, 4
# A pass's reads and writes take turns in blocks of about this many bytes, which are a multiple of the step.
BLOCK, STEP = 1 << 14, 256


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


cdef class Mover:
    """A call that moves about as many bytes as some pass and computes nothing: the least time such a pass can take.

    It goes over ``held`` bytes on all threads. Where these are less than both together it writes over what it just
    read, and goes over as many bytes as it reads, which are more than ``held`` where several arrays are read twice.
    With ``streaming`` stores go past the caches. ``moved`` are the bytes that it reads and writes indeed, in
    ``memory``.
    """

    cdef fc_move_args args
    cdef fc_kernel loop
    cdef Py_ssize_t items
    cdef readonly object memory, moved

    def __init__(self, Py_ssize_t read, Py_ssize_t written, Py_ssize_t held, bint streaming):
        cdef const fc_machine_kernels* kernels = fc_machine_select(4)
        self.loop = kernels.move_stream if streaming else kernels.move
        self.items = num_threads()
        blocks = max(round((read + written) / BLOCK / self.items), 1)
        self.args.read, self.args.written = (_steps(nbytes / blocks / self.items) for nbytes in (read, written))
        self.args.blocks = blocks
        moved_in, _ = self.moved = tuple(
            nbytes * blocks * self.items for nbytes in (self.args.read, self.args.written)
        )
        is_in_place = held < read + written
        self.args.step = max(self.args.read, self.args.written) if is_in_place else self.args.written
        self.memory = _pages(self.args.step * blocks * self.items + (0 if is_in_place else moved_in))
        begin = self.memory.ctypes.data
        self.args.source = <const char*> <size_t> begin
        self.args.target = <char*> <size_t> (begin if is_in_place else begin + moved_in)

    def __call__(self):
        with nogil:
            parallel_for(self.loop, &self.args, self.items, 1)


def _steps(nbytes):
    """Bytes as whole steps; at least one, but for none."""
    return max(round(nbytes / STEP), 1) * STEP if nbytes else 0


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
