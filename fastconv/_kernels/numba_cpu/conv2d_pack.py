"""Weights in the order in which the microkernel reads them."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, copy_bytes, pointer, prefetch_read, put_word, word
from fastconv._kernels.numba_cpu.conv2d_arguments import PACK, PACKED_ROWS
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial

_LINE = 64


def pack_kernel():
    """packed[g][block][range of channels][tap][c][lane] = weight, zero where the last vector is not full; for dots
    packed[g][k][tap][c].

    One item per (group, block of output channels, range of input channels). Sizes are in bytes.
    """

    def pack(context, lo, hi, slot):
        a = carray(pointer(context), 1, PACK)[0]
        unit = a.itemsize if a.dots else VECTOR_BYTES
        vectors_in_all, ranges = -(-a.K * a.itemsize // unit), -(-a.C // a.c_range)
        for item in range(lo, hi):
            c0, block = item % ranges * a.c_range, item // ranges % a.k_block_count
            g, first = item // ranges // a.k_block_count, word(a.k_blocks, 2 * block)
            width = word(a.k_blocks, 2 * block + 1) * unit
            packed = a.packed + ((g * vectors_in_all + first) * unit * a.C + c0 * width) * a.taps
            pack_range(a, a.weight, g, block, c0, packed, a.scratch + slot * a.scratch_step)

    return pack


@serial
def pack_range(a, weight, g, block, c0, packed, rows):
    """The weights of one group, block of output channels and range of input channels from c0 on."""
    unit = a.itemsize if a.dots else VECTOR_BYTES
    lanes = unit // a.itemsize
    first, vectors = word(a.k_blocks, 2 * block), word(a.k_blocks, 2 * block + 1)
    channels, width = min(a.C - c0, a.c_range), vectors * unit
    valid = min(a.K - first * lanes, vectors * lanes)
    weight += g * a.joined * a.group_stride + first * lanes * a.k_stride + c0 * a.c_stride
    if valid < vectors * lanes:
        clear_bytes(packed, a.taps * channels * width)
    if a.dots:
        pack_dots(a, weight, valid, packed)
        return
    # Joined groups have their lanes side by side.
    own = valid // a.joined
    for _ in range(a.joined):
        if a.flipped:
            pack_flipped(a, weight, own, width, channels, packed)
        else:
            pack_forward(a, weight, own, width, channels, packed, rows)
        weight += a.group_stride
        packed += own * a.itemsize


@serial
def pack_forward(a, weight, valid, width, channels, packed, rows):
    """A row of the weight has the (c, tap) of one output channel, a packed one the output channels of one (tap, c)."""
    tap, c = 0, 0
    for first in range(0, channels * a.taps, PACKED_ROWS):
        count = min(channels * a.taps - first, PACKED_ROWS)
        for j in range(count):
            put_word(rows, j, (tap * channels + c) * width)
            tap += 1
            if tap == a.taps:
                tap, c = 0, c + 1
        call(a.transpose, weight + first * a.itemsize, a.k_stride, 0, packed, 0, rows, valid, count)


@serial
def pack_flipped(a, weight, valid, width, channels, packed):
    """grad_input: input channels are the lanes, output channels are summed over, the taps are in reverse order."""
    last = packed + (a.taps - 1) * channels * width
    for _ in range(channels):
        for byte in range(0, valid * a.taps * a.itemsize, _LINE):
            prefetch_read(weight + 2 * a.c_stride + byte)
        if a.taps == 1:
            copy_bytes(last, weight, valid * a.itemsize)
        else:
            call(a.transpose, weight, a.k_stride, 0, last, -channels * width, 0, valid, a.taps)
        weight += a.c_stride
        last += width


@serial
def pack_dots(a, weight, channels, packed):
    """For sums along the lanes: a few output channels, each with its (tap, c)."""
    size = a.C * a.itemsize
    first, step = (packed + (a.taps - 1) * size, -size) if a.flipped else (packed, size)
    for k in range(channels):
        call(a.transpose, weight + k * a.k_stride, a.c_stride, 0, first + k * a.taps * size, step, 0, a.C, a.taps)
