"""Elementwise passes: items are blocks of ELEMENTS elements. LLVM makes vectors of these loops."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import fence_streams, pointer, stream_bytes
from fastconv._kernels.numba_cpu.elementwise_arguments import ELEMENTS, ELEMENTWISE
from fastconv._kernels.numba_cpu.settings import serial


def pass_kernel(op: str, dtype: str):
    """The pass of one operation: a block of the target from blocks of one or two arrays."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    block, scalar = _BLOCKS[op](), np.dtype(dtype).type

    def run(context, lo, hi, slot):
        a = carray(pointer(context), 1, ELEMENTWISE)[0]
        scratch, streams = a.scratch + slot * a.scratch_step, a.streams and a.target % 64 == 0
        for item in range(lo, hi):
            at, count = item * ELEMENTS * itemsize, min(a.count - item * ELEMENTS, ELEMENTS)
            first = carray(pointer(a.a + at), count, real)
            second = carray(pointer((a.b if a.b != 0 else a.a) + at), count, real)
            target = carray(pointer(scratch if streams else a.target + at), count, real)
            block(first, second, target, count, scalar(0))
            if streams:
                stream_bytes(a.target + at, scratch, count * itemsize)
        if streams:
            fence_streams()

    return run


def _relu_block():
    @serial
    def relu_block(x, unused, out, count, zero):
        for i in range(count):
            out[i] = zero if x[i] < 0 else x[i]

    return relu_block


def _relu_grad_block():
    @serial
    def relu_grad_block(grad_out, rectified, grad_input, count, zero):
        """The gradient passes where the output is not zero."""
        for i in range(count):
            grad = grad_out[i]
            grad_input[i] = zero if rectified[i] == 0 else grad

    return relu_grad_block


def _add_relu_block():
    @serial
    def add_relu_block(x, residual, out, count, zero):
        for i in range(count):
            total = x[i] + residual[i]
            out[i] = zero if total < 0 else total

    return add_relu_block


_BLOCKS = {
    "relu_forward": _relu_block,
    "relu_grad_input": _relu_grad_block,
    "add_relu_forward": _add_relu_block,
}
