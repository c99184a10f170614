"""grad_weight of first layers on planes: sums along the lanes, which hold the columns of a row of outputs."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, copy_bytes, pointer, put_word, word
from fastconv._kernels.numba_cpu.conv2d_arguments import (
    FIRST_LAYER_GRAD,
    FIRST_LAYER_GRAD_WORK,
    FIRST_LAYER_GRAD_WORK_BYTES,
)
from fastconv._kernels.numba_cpu.conv2d_depthwise_padded import Elements, block_steps, padder
from fastconv._kernels.numba_cpu.conv2d_grad_weight_parts import adder
from fastconv._kernels.numba_cpu.depthwise_arguments import COPY
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.settings import COLUMNS, serial


def first_layer_grad_kernel(dtype: str):
    """grad_weight[k, c, tap] = sum over n, row, col of grad_out[n, k, row, col] * copy[n][c][place(row, col, tap)],
    where the copy is a padded one of some rows.

    One item per segment of the pieces.
    """
    take_piece, add_sums = _piece_taker(padder(Elements(dtype))), adder(dtype)

    def first_layer_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, FIRST_LAYER_GRAD)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, FIRST_LAYER_GRAD_WORK)[0]
        panel = open_slot(a, w, scratch)
        size = a.C * a.taps * a.itemsize
        for item in range(lo, hi):
            total = a.shared + item * a.K * size
            clear_bytes(total, a.K * size)
            for piece in range(item * a.pieces // a.segments, (item + 1) * a.pieces // a.segments):
                take_piece(a, w, piece)
                rows = w.images * w.rows
                for block in range(a.k_block_count):
                    k, filters = word(a.k_blocks, 2 * block), word(a.k_blocks, 2 * block + 1)
                    grad_out = take_gradients(a, w, panel, k, filters)
                    for begin in range(0, rows, a.per_chunk):
                        panel.entries, panel.entry_count = w.entries + 16 * begin, min(a.per_chunk, rows - begin)
                        sum_chunk(context, a, w, filters, grad_out)
                        add_sums(total + k * size, w.sums, filters * size)

    return first_layer_grad


def first_layer_reduce_kernel(dtype: str):
    """One item per filter: the sums of all segments, added in their order."""
    add_sums = adder(dtype)

    def first_layer_reduce(context, lo, hi, slot):
        a = carray(pointer(context), 1, FIRST_LAYER_GRAD)[0]
        size = a.C * a.taps * a.itemsize
        total, partials = a.grad_weight + lo * size, a.shared + lo * size
        copy_bytes(total, partials, (hi - lo) * size)
        for segment in range(1, a.segments):
            add_sums(total, partials + segment * a.K * size, (hi - lo) * size)

    return first_layer_reduce


@serial
def open_slot(a, w, scratch):
    """What is the same for all pieces; gives the panel."""
    w.panel, w.entries = scratch + FIRST_LAYER_GRAD_WORK_BYTES, scratch + a.entries_at
    w.tile, w.sums = scratch + a.tile_at, scratch + a.sums_at
    w.copy, w.gradients = scratch + a.copy_at, scratch + a.gradients_at
    clear_bytes(w.copy, a.copy_bytes)
    clear_bytes(w.gradients, a.gradients_bytes)
    panel = carray(pointer(w.panel), 1, PANEL)[0]
    panel.count, panel.x_shift, panel.ending = a.vectors, a.x_shift, 0
    panel.target_step, panel.target_shift = a.tap_step * a.itemsize, a.C * a.taps * a.itemsize
    return panel


def _piece_taker(pad_rows):
    @serial
    def take_piece(a, w, number):
        """The inputs of a piece to the padded copy; where its rows are there, and in the gradients."""
        w.n, w.first = number // a.blocks * a.images, number % a.blocks * a.block
        w.images, w.rows = min(a.images, a.N - w.n), block_steps(a, w.first)
        for i in range(w.images * a.C):
            w.buffer = w.copy + i * a.plane
            pad_rows(a, w, a.x + w.n * a.x_n + i * a.x_c, w.first, w.rows)
        for i in range(w.images):
            for row in range(w.rows):
                entry, place = i * w.rows + row, (i * a.K * a.out_rows + row) * a.out_cols * a.itemsize
                step = row * a.down_step * a.pitch * a.itemsize
                put_word(w.entries, 2 * entry, i * a.C * a.plane + step)
                put_word(w.entries, 2 * entry + 1, entry * a.row_bytes if a.row_bytes else place)

    return take_piece


@serial
def take_gradients(a, w, panel, k, filters):
    """The gradients of some filters, so that whole vectors can be read: as they are, or copied."""
    row = a.out_cols * a.itemsize
    plane = a.out_rows * row
    grad_out = a.grad_out + (w.n * a.K + k) * plane + w.first * row
    panel.w_shift = w.images * w.rows * a.row_bytes if a.row_bytes else plane
    if not a.row_bytes:
        return grad_out
    for o in range(filters):
        for i in range(w.images):
            place = w.gradients + (o * w.images + i) * w.rows * a.row_bytes
            call(a.move, COPY, grad_out + (i * a.K + o) * plane, row, place, 0, a.row_bytes, a.out_cols, w.rows)
    return w.gradients


@serial
def sum_chunk(context, a, w, filters, grad_out):
    """Some filters' sums over the rows of a chunk: sums[filter][c][tap]."""
    most, microkernel = COLUMNS[filters - 1], word(context, filters - 1)
    for c in range(a.C):
        for r in range(a.run_count):
            run = a.runs + 24 * r
            taps, first = word(run, 2), 0
            tiles = -(-taps // most)
            for tile in range(1, tiles + 1):
                end = tile * taps // tiles
                x = w.copy + c * a.plane + word(run, 1) * a.itemsize + first * a.x_shift
                target = w.sums + (c * a.taps + word(run, 0) + first * a.tap_step) * a.itemsize
                call(microkernel, end - first, w.panel, x, grad_out, w.tile, target)
                first = end
