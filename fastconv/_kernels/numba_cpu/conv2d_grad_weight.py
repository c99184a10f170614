"""grad_weight: tiles of output channels x input channels, summed over pixels."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import (
    call,
    clear_bytes,
    copy_bytes,
    fence_streams,
    pointer,
    prefetch_read,
    put_word,
    word,
)
from fastconv._kernels.numba_cpu.conv2d_arguments import BLOCK_BYTES, GRAD_WEIGHT, GRAD_WEIGHT_WORK
from fastconv._kernels.numba_cpu.conv2d_grad_weight_parts import (
    adder,
    exchanged_target,
    k_block,
    open_slot,
    store_part,
    sums_before,
    sums_size,
    take_part,
)
from fastconv._kernels.numba_cpu.conv2d_groups import list_orders
from fastconv._kernels.numba_cpu.panel import PANEL, STREAMS
from fastconv._kernels.numba_cpu.settings import COLUMNS, GROUP_WEIGHT_COLUMNS, VECTOR_BYTES, serial

_LINE = 64


def grad_weight_kernel(dtype: str):
    """One item per (segment of the pieces, part)."""
    sum_pieces = _sum_pieces(adder(dtype))

    def grad_weight(context, lo, hi, slot):
        a = carray(pointer(context), 1, GRAD_WEIGHT)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, GRAD_WEIGHT_WORK)[0]
        open_slot(a, w, context, scratch)
        clear_bytes(w.packed, a.packed_bytes)
        # The plan says that lines are written whole if the first one is.
        w.streams = a.streams and a.grad_weight % _LINE == 0
        for item in range(lo, hi):
            take_part(a, w, item % a.parts)
            if a.joined > 1:
                list_orders(w.orders, a.C, a.K // a.joined, w.before, a.itemsize)
            segment = item // a.parts
            sum_pieces(a, w, segment * a.pieces // a.segments, (segment + 1) * a.pieces // a.segments)
            if a.segments > 1:
                copy_bytes(a.shared + item * a.sums_bytes, w.total, a.sums_bytes)
            elif not a.in_place:
                store_part(a, w)
        if w.streams:
            fence_streams()

    return grad_weight


def _sum_pieces(add_sums):
    @serial
    def sum_pieces(a, w, begin, end):
        """After every ``span`` pieces the sums go to the total, so that errors stay small."""
        for number in range(begin, end):
            sums = w.total if number - begin < a.span else w.sums
            w.n, w.images, w.row, w.rows, w.col, w.cols = piece(a, number)
            plan_prefetch(a, w, number + 1)
            for block in range(w.k_block, w.k_end):
                k0, vectors, count = k_block(a, block)
                w.target = exchanged_target(a, w, k0) if a.in_place and number + 1 == end else 0
                w.valid = count
                take_grad_out(a, w, k0, vectors, count)
                sum_pixels(a, w, vectors, sums + sums_before(a, w, block), (number - begin) % a.span == 0)
            if sums == w.sums and ((number - begin + 1) % a.span == 0 or number + 1 == end):
                add_sums(w.total, sums, sums_size(a, w))

    return sum_pieces


@serial
def piece(a, number):
    """Images, rows and columns of a piece, each as the first and how many."""
    cols, rows = -(-a.out_cols // a.col_block), -(-a.out_rows // a.row_block)
    n, row = number // cols // rows * a.images, number // cols % rows * a.row_block
    col = number % cols * a.col_block
    height, width = min(a.out_rows - row, a.row_block), min(a.out_cols - col, a.col_block)
    return n, min(a.N - n, a.images), row, height, col, width


@serial
def x_origin(a, w, n):
    """The part's first channel of an image of x, or a vector of x that has it."""
    x = a.shared + a.interleaved_at if a.interleaves else a.x
    return x + n * a.x_n + (w.g * a.x_channels + w.c0 - w.before) * a.x_c


@serial
def plan_prefetch(a, w, number):
    """What comes next is fetched while the tiles of this piece run."""
    n, images, row, rows, col, cols = piece(a, number)
    w.next_pixels = 0
    if a.grad_out_c != a.itemsize or a.x_c != a.itemsize or n >= a.N:
        return
    tiles = w.tap_rows * a.tap_cols * (w.k_end - w.k_block) * (1 + w.channels // 6)
    w.next_pixels = (images * rows * cols + tiles - 1) // tiles
    w.next_x = x_origin(a, w, n) + row * a.row_step * a.x_h + col * a.col_step * a.x_w
    k0 = w.g * a.K * a.itemsize + word(a.k_blocks, 2 * w.k_block) * VECTOR_BYTES
    w.next_grad_out = a.grad_out + n * a.grad_out_n + k0 + row * a.grad_out_h + col * a.grad_out_w


@serial
def take_grad_out(a, w, k0, vectors, count):
    """The block's channels of some outputs, so that whole vectors can be read: as they are, or copied."""
    grad_out = a.grad_out + w.n * a.grad_out_n + (w.g * a.K + k0) * a.grad_out_c
    grad_out += w.row * a.grad_out_h + w.col * a.grad_out_w
    if not a.packed_bytes:
        w.grad_out, w.grad_out_n, w.grad_out_h, w.grad_out_w = grad_out, a.grad_out_n, a.grad_out_h, a.grad_out_w
        return
    width = vectors * VECTOR_BYTES
    w.grad_out, w.grad_out_n, w.grad_out_h, w.grad_out_w = w.packed, w.rows * w.cols * width, w.cols * width, width
    for i in range(w.images):
        for r in range(w.rows):
            row, to = grad_out + i * a.grad_out_n + r * a.grad_out_h, w.packed + i * w.grad_out_n + r * w.grad_out_h
            if a.grad_out_c != a.itemsize:
                call(a.transpose, row, a.grad_out_c, 0, to, width, 0, count, w.cols)
                continue
            for col in range(w.cols):
                copy_bytes(to + col * width, row + col * a.grad_out_w, count * a.itemsize)


@serial
def sum_pixels(a, w, vectors, sums, fresh):
    """Some outputs of a block of channels against every input that they meet.

    sums: [tap][c][lane]; ``fresh``: they are not set yet.
    """
    size = a.tap_cols * w.channels * vectors * VECTOR_BYTES
    for kh in range(w.kh0, w.kh0 + w.tap_rows):
        first = fresh
        for i in range(word(a.rows_first, kh), word(a.rows_first, kh + 1)):
            segment = a.rows_segments + 24 * i
            low, rows = clip(word(segment, 0), word(segment, 2), w.row, w.rows)
            if rows <= 0:
                continue
            sum_rows(a, w, vectors, low, word(segment, 1) + (low - word(segment, 0)) * a.row_step, rows, sums, first)
            first = False
        if first:
            clear_bytes(sums, size)
        sums += size


@serial
def clip(start, count, begin, length):
    """Outputs start .. start + count - 1 that are among begin .. begin + length - 1: the first, and how many."""
    low = max(start, begin)
    return low, min(start + count, begin + length) - low


@serial
def sum_rows(a, w, vectors, row, source, rows, sums, fresh):
    """All columns of a row of taps: rows of outputs from ``row`` meet rows of inputs from ``source``."""
    panel = carray(pointer(w.panel), 1, PANEL)[0]
    panel.entries, panel.orders, panel.entry_count = w.entries, w.orders, rows * w.images
    panel.x_shift, panel.x_step, panel.w_step = a.x_c, a.col_step * a.x_w, w.grad_out_w
    panel.per_chunk, panel.last = panel.entry_count, w.target != 0
    panel.target_step, panel.channels, panel.ending = a.K * a.itemsize, w.valid, STREAMS if w.streams else 0
    for i in range(w.images):
        for j in range(rows):
            put_word(w.entries, 2 * (i * rows + j), i * a.x_n + j * a.row_step * a.x_h)
            put_word(w.entries, 2 * (i * rows + j) + 1, i * w.grad_out_n + j * w.grad_out_h)
    x = x_origin(a, w, w.n) + source * a.x_h
    grad_out = w.grad_out + (row - w.row) * w.grad_out_h
    if a.merges:
        sum_merged_taps(a, w, panel, vectors, x, grad_out, sums, fresh)
    else:
        sum_taps(a, w, panel, vectors, x, grad_out, sums, fresh)


@serial
def sum_taps(a, w, panel, vectors, x, grad_out, sums, fresh):
    """Each column of taps by itself."""
    size = w.channels * vectors * VECTOR_BYTES
    for kw in range(a.tap_cols):
        panel.first = fresh
        for i in range(word(a.cols_first, kw), word(a.cols_first, kw + 1)):
            segment = a.cols_segments + 24 * i
            low, panel.count = clip(word(segment, 0), word(segment, 2), w.col, w.cols)
            if panel.count <= 0:
                continue
            pixel = x + (word(segment, 1) + (low - word(segment, 0)) * a.col_step) * a.x_w
            sum_tap(a, w, panel, vectors, w.channels, pixel, grad_out + (low - w.col) * w.grad_out_w, sums)
            panel.first = False
        if panel.first:
            clear_bytes(sums, size)
        sums += size


@serial
def sum_merged_taps(a, w, panel, vectors, x, grad_out, sums, fresh):
    """Outputs with the same columns of taps, whose inputs follow one another: taps and channels are one row of
    columns."""
    size = w.channels * vectors * VECTOR_BYTES
    panel.first = False
    if fresh:
        clear_bytes(sums, a.tap_cols * size)
    for r in range(a.merged_run_count):
        run = a.merged_runs + 32 * r
        start = word(run, 0)
        first = word(a.merged_first, start)
        taps = word(a.merged_first, start + 1) - first
        low, panel.count = clip(start, word(run, 1), w.col, w.cols)
        if panel.count > 0 and taps > 0:
            pixel = x + (word(a.merged_sources, first) + (low - start) * a.col_step) * a.x_w
            columns, to = taps * w.channels, sums + word(a.merged_taps, first) * size
            sum_tap(a, w, panel, vectors, columns, pixel, grad_out + (low - w.col) * w.grad_out_w, to)


@serial
def sum_tap(a, w, panel, vectors, columns, x, grad_out, sums):
    """One tap (or the merged taps of a row) over a part of the outputs: entries are rows."""
    microkernel, most = word(w.panels, vectors - 1), GROUP_WEIGHT_COLUMNS[0] if a.joined > 1 else COLUMNS[vectors - 1]
    tiles, begin = -(-columns // most), 0
    for tile in range(1, tiles + 1):
        end = tile * columns // tiles
        prefetch_pixels(a, w)
        place = sums + begin * vectors * VECTOR_BYTES
        target = w.target + begin * a.K * a.itemsize
        call(microkernel, end - begin, w.panel, x + begin * a.x_c, grad_out, place, target)
        begin = end


@serial
def prefetch_pixels(a, w):
    """A few pixels of the outputs that come next, and of the inputs under them."""
    for _ in range(w.next_pixels):
        for byte in range(0, w.channels * a.itemsize, _LINE):
            prefetch_read(w.next_x + byte)
        for byte in range(0, (w.k_end - w.k_block) * BLOCK_BYTES, _LINE):
            prefetch_read(w.next_grad_out + byte)
        w.next_x += a.col_step * a.x_w
        w.next_grad_out += a.grad_out_w
