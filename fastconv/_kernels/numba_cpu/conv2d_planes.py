"""Pointwise convolution of planes: vectors of pixels x output channels, nothing is reordered."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, copy_bytes, pointer, prefetch_read, word
from fastconv._kernels.numba_cpu.conv2d_arguments import BLOCK_BYTES, POINTWISE, POINTWISE_WORK, POINTWISE_WORK_BYTES
from fastconv._kernels.numba_cpu.panel import BIAS_COLUMNS, PANEL
from fastconv._kernels.numba_cpu.settings import COLUMNS, VECTOR_BYTES, serial

_LINE = 64


def pointwise_kernel():
    """target[n, g, k, pixel] = ending(sum over c of weight[k, c] * source[n, g, c, pixel]); sizes are in bytes.

    One item per (image, group, block of pixels, group of output channels).
    """

    def pointwise_items(context, lo, hi, slot):
        a = carray(pointer(context), 1, POINTWISE)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, POINTWISE_WORK)[0]
        open_slot(a, w, scratch)
        plane = a.pixels * a.itemsize
        for item in range(lo, hi):
            kg, rest = item % a.k_groups, item // a.k_groups
            block, image = rest % a.block_count, rest // a.block_count
            vectors, group = word(a.blocks, 2 * block + 1), image % a.groups
            first = word(a.blocks, 2 * block) * VECTOR_BYTES
            w.microkernel, w.columns, w.size = word(context, vectors - 1), COLUMNS[vectors - 1], vectors * VECTOR_BYTES
            w.weight, w.bias = a.weight + group * a.group_stride, a.bias + group * a.K * a.itemsize
            w.source, w.target = a.source + image * a.C * plane + first, a.target + image * a.K * plane + first
            take_pixels(a, w, min(plane - first, w.size))
            begin, end = kg * a.K // a.k_groups, (kg + 1) * a.K // a.k_groups
            sum_channels(a, w, begin, end - begin)

    return pointwise_items


@serial
def open_slot(a, w, scratch):
    """What is the same for all items."""
    w.panel, w.sums, w.copies = scratch + POINTWISE_WORK_BYTES, scratch + a.sums_at, scratch + a.copies_at
    panel = carray(pointer(w.panel), 1, PANEL)[0]
    # The only entry.
    w.zero_x, w.zero_w = 0, 0
    panel.entries, panel.entry_count, panel.per_chunk = scratch, 1, 1
    panel.x_step, panel.x_shift, panel.target_step = a.c_stride, a.k_stride, a.pixels * a.itemsize
    panel.ending = (BIAS_COLUMNS if a.bias != 0 else 0) | a.activation


@serial
def take_pixels(a, w, size):
    """An item's pixels as they are, or copied where the last vector is not full: whole vectors can be read then."""
    panel, plane = carray(pointer(w.panel), 1, PANEL)[0], a.pixels * a.itemsize
    panel.channels = size // a.itemsize
    w.pixels, panel.w_step = w.source, plane
    if size == w.size:
        return
    w.pixels, panel.w_step = w.copies, w.size
    for c in range(a.C):
        place = w.copies + c * w.size
        copy_bytes(place, w.source + c * plane, size)
        clear_bytes(place + size, w.size - size)


@serial
def sum_channels(a, w, begin, count):
    """All tiles of some output channels; each asks for its part of what the next item and the next tile touch."""
    panel, plane = carray(pointer(w.panel), 1, PANEL)[0], a.pixels * a.itemsize
    tiles, k = -(-count // w.columns), begin
    for tile in range(tiles):
        end = begin + (tile + 1) * count // tiles
        target = w.target + k * plane
        prefetch_planes(w.source + w.size, plane, BLOCK_BYTES, tile * a.C // tiles, (tile + 1) * a.C // tiles)
        prefetch_planes(target + w.columns * plane, plane, w.size, 0, end - k)
        panel.bias = w.bias + k * a.itemsize
        sum_tile(a, w, panel, end - k, w.weight + k * a.k_stride, target)
        k = end


@serial
def sum_tile(a, w, panel, width, weight, target):
    """One tile, over all ranges of input channels."""
    for c in range(0, a.C, a.c_range):
        panel.count = min(a.C - c, a.c_range)
        panel.first, panel.last = c == 0, c + panel.count == a.C
        pixels = w.pixels + c * panel.w_step
        call(w.microkernel, width, w.panel, weight + c * a.c_stride, pixels, w.sums, target)


@serial
def prefetch_planes(place, plane, size, first, last):
    """Ask for some bytes of each of these planes."""
    for c in range(first, last):
        for byte in range(0, size, _LINE):
            prefetch_read(place + c * plane + byte)
