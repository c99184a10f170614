"""First layers on planes: vectors of a row's targets x target channels, over the taps and the few channels of a padded
copy of some rows."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, fence_streams, pointer, word
from fastconv._kernels.numba_cpu.conv2d_arguments import FIRST_LAYER, FIRST_LAYER_WORK, FIRST_LAYER_WORK_BYTES
from fastconv._kernels.numba_cpu.conv2d_depthwise_padded import Elements, block_steps, padder
from fastconv._kernels.numba_cpu.conv2d_planes import prefetch_planes
from fastconv._kernels.numba_cpu.panel import BIAS_COLUMNS, PANEL, STREAMS
from fastconv._kernels.numba_cpu.settings import COLUMNS, VECTOR_BYTES, serial

_LINE = 64


def first_layer_kernel(dtype: str):
    """target[n, k, row, col] = ending(sum over taps and c of weight[k, c, tap] * copy[c][place(row, col, tap)]), where
    in grad_input the weight's rows are the source's channels c.

    One item per (image, block of output rows).
    """
    pad_rows = padder(Elements(dtype))

    def first_layer(context, lo, hi, slot):
        a = carray(pointer(context), 1, FIRST_LAYER)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, FIRST_LAYER_WORK)[0]
        open_slot(a, w, scratch)
        plane, row_bytes = a.out_rows * a.out_cols * a.itemsize, a.out_cols * a.itemsize
        for item in range(lo, hi):
            n, first = item // a.blocks, item % a.blocks * a.block
            count = block_steps(a, first)
            for c in range(a.C):
                w.buffer = w.copy + c * a.plane
                pad_rows(a, w, a.x + n * a.x_n + c * a.x_c, first, count)
            target = a.target + n * a.K * plane + first * row_bytes
            for row in range(count):
                sum_row(context, a, w, w.copy + row * a.down_step * a.pitch * a.itemsize, target + row * row_bytes)
        if streams(a):
            fence_streams()

    return first_layer


@serial
def streams(a):
    """The plan says that lines are written whole if the first one is."""
    return a.streams and a.target % _LINE == 0


@serial
def open_slot(a, w, scratch):
    """What is the same for all items."""
    w.panel, w.sums, w.copy = scratch + FIRST_LAYER_WORK_BYTES, scratch + a.sums_at, scratch + a.buffer_at
    panel = carray(pointer(w.panel), 1, PANEL)[0]
    panel.entries, panel.entry_count, panel.per_chunk = a.entries, a.taps, a.per_chunk
    panel.count, panel.x_step, panel.w_step = a.C, a.weight_c, a.plane
    panel.x_shift, panel.target_step = a.weight_k, a.out_rows * a.out_cols * a.itemsize
    panel.ending = (BIAS_COLUMNS if a.bias != 0 else 0) | a.activation
    panel.ending |= STREAMS if streams(a) else 0
    panel.first, panel.last = True, True
    clear_bytes(w.copy, a.buffer_bytes)


@serial
def sum_row(context, a, w, pixels, target):
    """All output channels of a row, block by block of its vectors."""
    panel = carray(pointer(w.panel), 1, PANEL)[0]
    for block in range(a.row_vector_count):
        first, vectors = word(a.row_vectors, 2 * block) * VECTOR_BYTES, word(a.row_vectors, 2 * block + 1)
        size = vectors * VECTOR_BYTES
        panel.channels = min(a.out_cols - first // a.itemsize, size // a.itemsize)
        most, k = COLUMNS[vectors - 1], 0
        tiles = -(-a.K // most)
        for tile in range(1, tiles + 1):
            end = tile * a.K // tiles
            place = target + first + k * panel.target_step
            if not panel.ending & STREAMS:
                prefetch_planes(place + most * panel.target_step, panel.target_step, size, 0, end - k)
            panel.bias = a.bias + k * a.itemsize
            weight = a.weight + k * panel.x_shift
            call(word(context, vectors - 1), end - k, w.panel, weight, pixels + first, w.sums, place)
            k = end
