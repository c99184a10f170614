"""Weights in the order in which the microkernel reads them."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import pointer, word
from fastconv._kernels.numba_cpu.conv2d_arguments import PACK
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial


def pack_kernel(dtype: str):
    """packed[g][block][range of channels][tap][c][lane] = weight, zero where the last vector is not full.

    One item per (group, block of output channels, range of input channels).
    """
    real = getattr(numba, dtype)
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize

    @serial
    def pack_range(a, weight, origin, valid, width, channels, packed, at):
        for tap in range(a.taps):
            start = origin + (a.taps - 1 - tap if a.flipped else tap)
            for c in range(channels):
                for k in range(valid):
                    packed[at + k] = weight[start + c * a.c_stride + k * a.k_stride]
                for k in range(valid, width):
                    packed[at + k] = 0
                at += width

    def pack(context, lo, hi, slot):
        a = carray(pointer(context), 1, PACK)[0]
        padded, ranges = -(-a.K // lanes) * lanes, -(-a.C // a.c_range)
        weight = carray(pointer(a.weight), a.groups * a.group_stride, real)
        packed = carray(pointer(a.packed), a.groups * padded * a.taps * a.C, real)
        for item in range(lo, hi):
            c0, block = item % ranges * a.c_range, item // ranges % a.k_block_count
            g = item // ranges // a.k_block_count
            k0, width = word(a.k_blocks, 2 * block) * lanes, word(a.k_blocks, 2 * block + 1) * lanes
            origin = g * a.group_stride + k0 * a.k_stride + c0 * a.c_stride
            at = ((g * padded + k0) * a.C + c0 * width) * a.taps
            pack_range(a, weight, origin, min(a.K - k0, width), width, min(a.C - c0, a.c_range), packed, at)

    return pack
