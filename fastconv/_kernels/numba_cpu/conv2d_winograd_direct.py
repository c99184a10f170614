"""Tiles that hold what is not finite: transforms spread that over all of a tile, so each target is summed by itself."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, pointer, put_word, word
from fastconv._kernels.numba_cpu.conv2d_winograd_pixels import TAPS, tile_place
from fastconv._kernels.numba_cpu.panel import BIAS_LANES, PANEL
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial


@serial
def lay_out_taps(a, w, k0, vectors):
    """The weight of a block of output channels as the microkernel reads it: taps[c][tap][k]."""
    width, lanes = vectors * VECTOR_BYTES, VECTOR_BYTES // a.itemsize
    runs = a.C if a.flipped else 1
    clear_bytes(w.taps, TAPS**2 * a.C * width)
    for o in range(vectors):
        k = k0 + o * lanes
        weight = a.weight + w.g * a.group_stride + k * a.k_stride
        for run in range(runs):
            to, rows, columns = w.taps + TAPS**2 * run * width + o * VECTOR_BYTES, min(a.K - k, lanes), TAPS**2 * a.C
            call(a.transpose, weight + run * a.c_stride, a.k_stride, 0, to, width, 0, rows, columns // runs)


@serial
def list_taps(a, row, col, width, entries):
    """The entries of a panel, one for each run of channels under each tap that is none of the padding: how many."""
    count = 0
    for tap in range(TAPS**2):
        i, j, taken = row + tap // TAPS, col + tap % TAPS, TAPS**2 - 1 - tap if a.flipped else tap
        if 0 <= i < a.source_rows and 0 <= j < a.source_cols:
            for c in range(0, a.C, a.part):
                put_word(entries, 2 * count, i * a.source_h + j * a.source_w + c * a.source_c)
                put_word(entries, 2 * count + 1, (TAPS**2 * c + taken) * width)
                count += 1
    return count


@serial
def sum_directly(context, a, w, t, k0, vectors):
    """A tile of a block of output channels, whose weight is laid out for the first tile that asks for it."""
    if not w.has_taps:
        lay_out_taps(a, w, k0, vectors)
    w.has_taps = True
    panel, width = carray(pointer(w.panel), 1, PANEL)[0], vectors * VECTOR_BYTES
    panel.x_step, panel.w_step, panel.ending = a.source_c, TAPS**2 * width, BIAS_LANES | a.activation
    panel.channels, panel.first, panel.last = min(a.K - k0, width // a.itemsize), True, True
    n, row, col = tile_place(a, w.first + t)
    image = a.source + n * a.source_n + w.g * a.C * a.source_c
    for i in range(row, min(row + a.size, a.target_rows)):
        for j in range(col, min(col + a.size, a.target_cols)):
            panel.entry_count = list_taps(a, i - a.pad_rows, j - a.pad_cols, width, w.entries)
            place = w.pixels + n * w.image_step + i * w.row_step + j * w.col_step
            call(word(context, vectors - 1), 1, w.panel, image, w.taps, w.sums, place)
