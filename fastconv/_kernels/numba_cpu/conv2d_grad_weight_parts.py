"""The parts of grad_weight: what each one owns, and how its sums get to their place."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, copy_bytes, pointer, put_word, word
from fastconv._kernels.numba_cpu.conv2d_arguments import GRAD_WEIGHT, GRAD_WEIGHT_WORK, GRAD_WEIGHT_WORK_BYTES
from fastconv._kernels.numba_cpu.conv2d_groups import lanes_before
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial


def reduce_kernel(dtype: str):
    """One item per part: the sums of all segments, added in their order."""
    add_sums = adder(dtype)

    def reduce(context, lo, hi, slot):
        a = carray(pointer(context), 1, GRAD_WEIGHT)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, GRAD_WEIGHT_WORK)[0]
        open_slot(a, w, context, scratch)
        for item in range(lo, hi):
            take_part(a, w, item)
            partials = a.shared + item * a.sums_bytes
            copy_bytes(w.total, partials, a.sums_bytes)
            for segment in range(1, a.segments):
                add_sums(w.total, partials + segment * a.parts * a.sums_bytes, a.sums_bytes)
            store_part(a, w)

    return reduce


def interleave_kernel():
    """x with its channels together, where they are few and lie in planes: one item per row."""

    def interleave(context, lo, hi, slot):
        a = carray(pointer(context), 1, GRAD_WEIGHT)[0]
        row_bytes, channels = a.x_cols * a.itemsize, a.x_w // a.itemsize
        plane_bytes, target = a.x_rows * row_bytes, a.shared + a.interleaved_at
        for item in range(lo, hi):
            row = a.x + item // a.x_rows * channels * plane_bytes + item % a.x_rows * row_bytes
            place = target + item * channels * row_bytes
            call(a.transpose, row, plane_bytes, 0, place, a.x_w, 0, channels, a.x_cols)

    return interleave


def adder(dtype: str):
    """The function that adds some bytes of sums to a total."""
    real, size = getattr(numba, dtype), np.dtype(dtype).itemsize

    @serial
    def add_sums(total, sums, count):
        totals, added = carray(pointer(total), count // size, real), carray(pointer(sums), count // size, real)
        for i in range(count // size):
            totals[i] += added[i]

    return add_sums


@serial
def open_slot(a, w, context, scratch):
    """Where the slot's memory is."""
    w.panels, w.panel = context, scratch + GRAD_WEIGHT_WORK_BYTES
    w.entries, w.orders, w.sums = scratch + a.entries_at, scratch + a.orders_at, scratch + a.sums_at
    w.total, w.packed = scratch + a.total_at, scratch + a.packed_at


@serial
def take_part(a, w, part):
    """What the part of this number owns."""
    c_blocks, tap_blocks = -(-a.C // a.c_block), -(-a.tap_rows // a.tap_block)
    k_groups, rest = -(-a.k_block_count // a.k_group), part // tap_blocks
    w.g, w.k_block = rest // c_blocks // k_groups, rest // c_blocks % k_groups * a.k_group
    w.c0, w.kh0 = rest % c_blocks * a.c_block, part % tap_blocks * a.tap_block
    w.k_end = min(a.k_block_count, w.k_block + a.k_group)
    w.channels, w.tap_rows = min(a.C - w.c0, a.c_block), min(a.tap_rows - w.kh0, a.tap_block)
    w.before = lanes_before(w.g * a.x_channels, a.groups * a.x_channels, a.itemsize) if a.joined > 1 else 0


@serial
def k_block(a, block):
    """First output channel, vectors and valid channels of a block."""
    lanes = VECTOR_BYTES // a.itemsize
    k0, vectors = word(a.k_blocks, 2 * block) * lanes, word(a.k_blocks, 2 * block + 1)
    return k0, vectors, min(a.K - k0, vectors * lanes)


@serial
def sums_before(a, w, block):
    """Bytes of the part's sums before a block of output channels."""
    vectors = word(a.k_blocks, 2 * block) - word(a.k_blocks, 2 * w.k_block)
    return w.tap_rows * a.tap_cols * w.channels * vectors * VECTOR_BYTES


@serial
def sums_size(a, w):
    """Bytes of all of the part's sums."""
    last = w.k_end - 1
    own = w.tap_rows * a.tap_cols * w.channels * word(a.k_blocks, 2 * last + 1) * VECTOR_BYTES
    return sums_before(a, w, last) + own


@serial
def store_part(a, w):
    """The total to its place in grad_weight."""
    for block in range(w.k_block, w.k_end):
        if a.exchanged:
            copy_block(a, w, block)
        else:
            store_block(a, w, block)


@serial
def store_block(a, w, block):
    """grad_weight[k][c][tap] = total[tap][c][k] of a block of output channels."""
    k0, vectors, count = k_block(a, block)
    width, taps, all_taps = vectors * VECTOR_BYTES, w.tap_rows * a.tap_cols, a.tap_rows * a.tap_cols
    total, step = w.total + sums_before(a, w, block), a.C * all_taps * a.itemsize
    target = a.grad_weight + (((w.g * a.K + k0) * a.C + w.c0) * all_taps + w.kh0 * a.tap_cols) * a.itemsize
    for c in range(w.channels):
        for tap in range(taps):
            put_word(w.entries, c * taps + tap, (tap * w.channels + c) * width)
    if taps == all_taps:
        call(a.transpose, total, 0, w.entries, target, step, 0, w.channels * taps, count)
        return
    for c in range(w.channels):
        rows, place = w.entries + 8 * c * taps, target + c * all_taps * a.itemsize
        call(a.transpose, total, 0, rows, place, step, 0, taps, count)


@serial
def exchanged_target(a, w, k0):
    """Where the sums of the block from output channel k0 on go where grad_out and x have changed places."""
    return a.grad_weight + ((w.g * a.C + w.c0) * a.K + k0) * a.itemsize


@serial
def copy_block(a, w, block):
    """The same where grad_out and x have changed places: grad_weight[c][k] = total[c][k], as the tiles have it."""
    k0, vectors, count = k_block(a, block)
    total = w.total + sums_before(a, w, block)
    target = exchanged_target(a, w, k0)
    for c in range(w.channels):
        copy_bytes(target + c * a.K * a.itemsize, total + c * vectors * VECTOR_BYTES, count * a.itemsize)
