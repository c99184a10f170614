"""Weights transformed for Winograd's minimal filtering."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, pointer, word
from fastconv._kernels.numba_cpu.conv2d_arguments import WINOGRAD_CHANNELS, WINOGRAD_WEIGHT
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial

_TAPS = 9


def winograd_weight_kernel():
    """transformed[g][block][point][c][k]; one item per (group, vector of output channels). Sizes are in bytes."""

    def transform_weight(context, lo, hi, slot):
        a = carray(pointer(context), 1, WINOGRAD_WEIGHT)[0]
        taps, lanes = a.scratch + slot * a.scratch_step, VECTOR_BYTES // a.itemsize
        vectors = -(-a.K // lanes)
        for item in range(lo, hi):
            g, vector = item // vectors, item % vectors
            block = 0
            while word(a.k_blocks, 2 * block) + word(a.k_blocks, 2 * block + 1) <= vector:
                block += 1
            first, width = word(a.k_blocks, 2 * block), word(a.k_blocks, 2 * block + 1) * VECTOR_BYTES
            to = a.transformed + (g * a.k_block_count + block) * a.points * a.weight_step
            to += (vector - first) * VECTOR_BYTES
            transform_vector(a, taps, g, vector, 0, a.C, to, a.weight_step, width)

    return transform_weight


@serial
def transform_block(a, taps, g, k_block, begin, channels, points):
    """A block of output channels of some input channels: points[point][c][k]."""
    first, vectors = word(a.k_blocks, 2 * k_block), word(a.k_blocks, 2 * k_block + 1)
    for o in range(vectors):
        to, width = points + o * VECTOR_BYTES, vectors * VECTOR_BYTES
        transform_vector(a, taps, g, first + o, begin, channels, to, a.part_step, width)


@serial
def transform_vector(a, taps, g, vector, begin, channels, to, step, width):
    """A vector of output channels of some input channels, whose points begin ``width`` bytes apart."""
    lanes = VECTOR_BYTES // a.itemsize
    valid, end = min(a.K - vector * lanes, lanes), begin + channels
    weight = a.weight + g * a.group_stride + vector * lanes * a.k_stride
    # Of lanes without a channel everything is zero.
    clear_bytes(taps, WINOGRAD_CHANNELS * _TAPS * VECTOR_BYTES)
    for c in range(begin, end, WINOGRAD_CHANNELS):
        count = min(end - c, WINOGRAD_CHANNELS)
        take_taps(a, weight + c * a.c_stride, valid, count, taps)
        following = c + count if c + count < end else begin
        ahead = weight + following * a.c_stride + (lanes * a.k_stride if following == begin else 0)
        ahead_step = a.c_stride if a.flipped else a.k_stride
        call(a.transform_weight, taps, to, ahead, count, step, width, ahead_step)
        to += count * width


@serial
def take_taps(a, weight, valid, count, taps):
    """A vector of output channels for each tap of some input channels; in grad_input the taps are in reverse order."""
    if not a.flipped:
        call(a.transpose, weight, a.k_stride, 0, taps, VECTOR_BYTES, 0, valid, count * _TAPS)
        return
    for c in range(count):
        last = taps + (c * _TAPS + _TAPS - 1) * VECTOR_BYTES
        call(a.transpose, weight + c * a.c_stride, a.k_stride, 0, last, -VECTOR_BYTES, 0, valid, _TAPS)
