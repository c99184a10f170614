"""Elementwise passes: items are blocks of ELEMENTS elements. LLVM makes vectors of these loops."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.contract import DROPOUT_SETTINGS, MIX_FIRST, MIX_HIGH, MIX_SECOND
from fastconv._kernels.numba_cpu.addresses import copy_bytes, fence_streams, pointer, stream_bytes
from fastconv._kernels.numba_cpu.elementwise_arguments import DROPOUT, ELEMENTS, ELEMENTWISE, PART
from fastconv._kernels.numba_cpu.settings import serial


def pass_kernel(op: str, dtype: str):
    """The pass of one operation: a block of the target from blocks of one or two arrays, and two ends, or zeros."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    block, scalar = _BLOCKS[op](), np.dtype(dtype).type

    def run(context, lo, hi, slot):
        a = carray(pointer(context), 1, ELEMENTWISE)[0]
        scratch, streams = a.scratch + slot * a.scratch_step, a.streams and a.target % 64 == 0
        low, high = scalar(0), scalar(0)
        if a.settings != 0:
            ends = carray(pointer(a.settings), 2, numba.float64)
            low, high = scalar(ends[0]), scalar(ends[1])
        for item in range(lo, hi):
            at, count = item * ELEMENTS * itemsize, min(a.count - item * ELEMENTS, ELEMENTS)
            first = carray(pointer(a.a + at), count, real)
            second = carray(pointer((a.b if a.b != 0 else a.a) + at), count, real)
            target = carray(pointer(scratch if streams else a.target + at), count, real)
            block(first, second, target, count, low, high)
            if streams:
                stream_bytes(a.target + at, scratch, count * itemsize)
        if streams:
            fence_streams()

    return run


def accumulate_kernel(dtype: str):
    """target += a: what is changed in place is in the caches."""
    real = getattr(numba, dtype)

    def accumulate(context, lo, hi, slot):
        a = carray(pointer(context), 1, ELEMENTWISE)[0]
        addend, total = carray(pointer(a.a), a.count, real), carray(pointer(a.target), a.count, real)
        for i in range(lo * ELEMENTS, min(hi * ELEMENTS, a.count)):
            total[i] += addend[i]

    return accumulate


def part_kernel():
    """Rows that become parts of longer rows."""

    def copy_part(context, lo, hi, slot):
        a = carray(pointer(context), 1, PART)[0]
        for item in range(lo, hi):
            first, begin = item // a.blocks * a.rows, item % a.blocks * a.block
            for row in range(first, min(first + a.rows, a.all_rows)):
                target = a.target + row * a.pitch + a.offset + begin
                copy_bytes(target, a.source + row * a.width + begin, min(a.block, a.width - begin))

    return copy_part


def dropout_kernel(dtype: str):
    """Whether an element stays is a hash of its position; contract.py has the hash and where it comes from."""
    real, itemsize, scalar = getattr(numba, dtype), np.dtype(dtype).itemsize, np.dtype(dtype).type
    threshold_at, scale_at, low_at, high_at = range(len(DROPOUT_SETTINGS))
    first, second, for_high = np.uint32(MIX_FIRST), np.uint32(MIX_SECOND), np.uint32(MIX_HIGH)

    @serial
    def mix(h):
        h = np.uint32(h ^ (h >> np.uint32(16)))
        h = np.uint32(h * first)
        h = np.uint32(h ^ (h >> np.uint32(15)))
        h = np.uint32(h * second)
        return np.uint32(h ^ (h >> np.uint32(16)))

    @serial
    def drop(x, out, count, low, seed, offset, threshold, scale):
        for i in range(count):
            mixed = mix(np.uint32(mix(np.uint32((low + np.uint32(i)) ^ seed)) + offset))
            scaled = x[i] * scale
            out[i] = scalar(0) if mixed < threshold else scaled

    def run(context, lo, hi, slot):
        a = carray(pointer(context), 1, DROPOUT)[0]
        s = carray(pointer(a.settings), len(DROPOUT_SETTINGS), numba.float64)
        threshold, seed, scale = np.uint32(s[threshold_at]), np.uint32(s[low_at]), scalar(s[scale_at])
        for item in range(lo, hi):
            at = item * ELEMENTS
            count = min(a.count - at, ELEMENTS)
            # No block goes over the edge of a word.
            offset = np.uint32(np.uint32(s[high_at]) + for_high * np.uint32(at >> 32))
            x = carray(pointer(a.x + at * itemsize), count, real)
            out = carray(pointer(a.out + at * itemsize), count, real)
            drop(x, out, count, np.uint32(at & 0xFFFFFFFF), seed, offset, threshold, scale)

    return run


def _relu_block():
    @serial
    def relu_block(x, unused, out, count, zero, same):
        for i in range(count):
            out[i] = zero if x[i] < 0 else x[i]

    return relu_block


def _relu_grad_block():
    @serial
    def relu_grad_block(grad_out, rectified, grad_input, count, zero, same):
        """The gradient passes where the output is not zero."""
        for i in range(count):
            grad = grad_out[i]
            grad_input[i] = zero if rectified[i] == 0 else grad

    return relu_grad_block


def _add_relu_block():
    @serial
    def add_relu_block(x, residual, out, count, zero, same):
        for i in range(count):
            total = x[i] + residual[i]
            out[i] = zero if total < 0 else total

    return add_relu_block


def _hardtanh_block():
    @serial
    def hardtanh_block(x, unused, out, count, low, high):
        for i in range(count):
            least = low if x[i] < low else x[i]
            out[i] = high if least > high else least

    return hardtanh_block


def _hardtanh_grad_block():
    @serial
    def hardtanh_grad_block(grad_out, cut, grad_input, count, low, high):
        """The gradient passes where the output is between the ends."""
        for i in range(count):
            grad, zero = grad_out[i], low - low
            inside = grad if cut[i] > low else zero
            grad_input[i] = inside if cut[i] < high else zero

    return hardtanh_grad_block


_BLOCKS = {
    "relu_forward": _relu_block,
    "relu_grad_input": _relu_grad_block,
    "add_relu_forward": _add_relu_block,
    "hardtanh_forward": _hardtanh_block,
    "hardtanh_grad_input": _hardtanh_grad_block,
}
