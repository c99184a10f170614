"""Forward and grad_input: tiles of output pixels x output channels, summed over taps and channels."""

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
from fastconv._kernels.numba_cpu.conv2d_arguments import BLOCK_BYTES, PACK, SUM, WORK, WORK_BYTES
from fastconv._kernels.numba_cpu.conv2d_groups import lanes_before, list_orders
from fastconv._kernels.numba_cpu.conv2d_pack import pack_range
from fastconv._kernels.numba_cpu.foresight import FORESEES
from fastconv._kernels.numba_cpu.panel import BIAS_LANES, PANEL, STREAMS
from fastconv._kernels.numba_cpu.settings import COLUMNS, GROUP_COLUMNS, ROW_COLUMNS, VECTOR_BYTES, serial

_LINE = 64
_ROWS, _COLS, _IMAGES = 0, 1, 2


def sum_kernel():
    """target = ending(sum of weight * source); its sizes are in bytes, so that it serves every dtype.

    One item per (group of images, group, block of target rows, group of blocks of channels).
    """

    def sum_items(context, lo, hi, slot):
        a = carray(pointer(context), 1, SUM)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, WORK)[0]
        w.panels, w.panel = context, scratch + WORK_BYTES
        w.entries, w.bias = scratch + a.entries_at, scratch + a.bias_at
        w.orders, w.sums = scratch + a.orders_at, scratch + a.sums_at
        w.packed_source, w.packed_target = scratch + a.packed_source_at, scratch + a.packed_target_at
        w.packed_weight, w.packed_rows = scratch + a.packed_weight_at, scratch + a.packed_rows_at
        clear_bytes(w.bias, BLOCK_BYTES)
        w.is_packed, w.is_near = False, a.packs_source
        # The plan says that lines are written whole if the first one is.
        w.streams = a.streams and a.target % _LINE == 0
        k_groups = -(-a.k_block_count // a.k_group)
        for item in range(lo, hi):
            rest = item // k_groups
            rows = a.row_blocks + 32 * (rest % a.row_block_count)
            w.lo, w.hi, w.source_lo, w.source_hi = word(rows, 0), word(rows, 1), word(rows, 2), word(rows, 3)
            w.g = rest // a.row_block_count % a.groups
            w.n = rest // a.row_block_count // a.groups * a.images
            w.images = min(a.N - w.n, a.images)
            k_block = item % k_groups * a.k_group
            take_source(a, w)
            for block in range(k_block, min(k_block + a.k_group, a.k_block_count)):
                sum_block(a, w, block)
        if w.streams:
            fence_streams()

    return sum_items


@serial
def take_source(a, w):
    """The source of an item with its channels together: as it is, or copied from planes."""
    first = w.g * a.source_channels
    source = a.source + w.n * a.source_n + first * a.source_c
    if a.joined > 1:
        before = 0 if a.packs_source else lanes_before(first, a.groups * a.source_channels, a.itemsize)
        list_orders(w.orders, a.C, a.K // a.joined, before, a.itemsize)
        source -= before * a.itemsize
    if not a.packs_source:
        w.source, w.source_n, w.source_h, w.source_w = source, a.source_n, a.source_h, a.source_w
        return
    # Between the rows that are read there may be others; where all is padding there are none.
    rows = w.source_hi - w.source_lo
    w.source_w = a.pixel_step
    w.source_h = a.source_cols * w.source_w
    w.source_n = rows * w.source_h
    together = max(1, rows) if a.row_step == 1 else 1
    for i in range(w.images):
        for row in range(0, rows, together * a.row_step):
            plane = source + i * a.source_n + (w.source_lo + row) * a.source_h
            packed = w.packed_source + i * w.source_n + row * w.source_h
            call(a.transpose, plane, a.source_c, 0, packed, w.source_w, 0, a.source_channels, together * a.source_cols)
    w.source = w.packed_source - w.source_lo * w.source_h


@serial
def sum_block(a, w, block):
    """One block of output channels of an item; where the target is made of planes they are filled from scratch."""
    unit = a.itemsize if a.dots else VECTOR_BYTES
    lanes = unit // a.itemsize
    first, vectors = word(a.k_blocks, 2 * block), word(a.k_blocks, 2 * block + 1)
    k0, width = first * lanes, vectors * unit
    channels = min(a.K - k0, vectors * lanes)
    w.columns = GROUP_COLUMNS[0] if a.joined > 1 else ROW_COLUMNS[0] if a.rows_in_place else COLUMNS[vectors - 1]
    if a.bias != 0:
        copy_bytes(w.bias, a.bias + (w.g * a.K + k0) * a.itemsize, channels * a.itemsize)
    target = a.target + w.n * a.target_n + (w.g * a.K + k0) * a.target_c
    if not a.packs_target:
        w.target, w.target_n, w.target_h, w.target_w = target, a.target_n, a.target_h, a.target_w
        sum_ranges(a, w, block, vectors, channels)
        return
    pixels = (w.hi - w.lo) * a.target_cols
    w.target_n, w.target_h, w.target_w = pixels * width, a.target_cols * width, width
    w.target = w.packed_target - w.lo * w.target_h
    sum_ranges(a, w, block, vectors, channels)
    transpose = a.transpose_streaming if w.streams else a.transpose
    for i in range(w.images):
        plane = target + i * a.target_n + w.lo * a.target_h
        call(transpose, w.packed_target + i * w.target_n, width, 0, plane, a.target_c, 0, pixels, channels)


@serial
def take_weight(a, w, block, c0):
    """The weights of a block of output channels for input channels from c0 on, whose offsets count from channel 0."""
    unit = a.itemsize if a.dots else VECTOR_BYTES
    if a.packing == 0:
        return a.packed + (w.g * -(-a.K * a.itemsize // unit) + word(a.k_blocks, 2 * block)) * unit * a.taps * a.C
    packing = carray(pointer(a.packing), 1, PACK)[0]
    if a.in_place or a.rows_in_place:
        k0 = word(a.k_blocks, 2 * block) * unit // a.itemsize
        return a.packed + w.g * packing.group_stride + k0 * packing.k_stride
    before = c0 * a.taps * word(a.k_blocks, 2 * block + 1) * unit
    packed = w.packed_weight - (0 if a.holds else before)
    if not w.is_packed:
        pack_range(packing, a.packed, w.g, block, c0, packed + before, w.packed_rows)
    return packed


@serial
def sum_ranges(a, w, block, vectors, channels):
    """Every region, once for each range of input channels."""
    panel = carray(pointer(w.panel), 1, PANEL)[0]
    panel.entries, panel.bias, panel.orders, panel.channels = w.entries, w.bias, w.orders, channels
    panel.x_step, panel.w_step = a.itemsize, vectors * VECTOR_BYTES
    if a.in_place and a.packing != 0:
        panel.w_step = carray(pointer(a.packing), 1, PACK)[0].c_stride
    panel.w_shift, panel.target_shift = a.taps * a.C * a.itemsize, a.target_c
    if a.dots:
        panel.x_step = panel.w_step = VECTOR_BYTES
    panel.ending = (BIAS_LANES if a.bias != 0 else 0) | a.activation
    if w.streams and not a.packs_target:
        panel.ending |= STREAMS
    tiles = -(-w.images * (w.hi - w.lo) * a.cols_targets // w.columns)
    foresees = a.far_weights and a.packing == 0 and not a.dots and a.joined <= 1
    for c0 in range(0, a.C, a.c_range):
        count = min(a.C - c0, a.c_range)
        packed = take_weight(a, w, block, c0)
        weights = count * a.taps * panel.w_step if foresees else 0
        w.next_weight = packed + (c0 + count) * a.taps * panel.w_step
        w.next_end, w.next_bytes = w.next_weight + weights, weights // tiles
        panel.first, panel.last = c0 == 0, c0 + count == a.C
        w.column = 0
        for r in range(a.rows_run_count):
            row = a.rows_runs + 32 * r
            skipped, rows = clip_run(word(row, 0), word(row, 1), word(row, 2), w.lo, w.hi)
            if rows <= 0:
                continue
            for s in range(a.cols_run_count):
                col = a.cols_runs + 32 * s
                counts = (rows, word(col, 1), w.images)
                source_steps = (word(row, 3) * w.source_h, word(col, 3) * w.source_w, w.source_n)
                target_steps = (word(row, 2) * w.target_h, word(col, 2) * w.target_w, w.target_n)
                list_entries(a, w, panel, word(row, 0), word(col, 0), c0, count)
                source = w.source + skipped * source_steps[_ROWS]
                target = w.target + word(row, 0) * w.target_h + word(col, 0) * w.target_w
                target += skipped * target_steps[_ROWS]
                sum_region(w, panel, counts, source_steps, target_steps, source, packed, target, vectors)
    w.is_packed = a.holds


@serial
def clip_run(start, count, step, lo, hi):
    """Targets start + first * step .. of a run that lie in lo .. hi - 1: first, and how many."""
    begin = (lo - start + step - 1) // step if lo > start else 0
    end = (hi - start + step - 1) // step if hi > start else 0
    return begin, min(end, count) - begin


@serial
def list_entries(a, w, panel, row, col, c0, channels):
    """One entry per tap, or per row of taps where its inputs and its weights follow one another, or several per tap
    where its channels are more than a block of terms."""
    first, end = word(a.cols_first, col), word(a.cols_first, col + 1)
    taps, entry = end - first, w.entries
    merged = taps > 1 and channels == a.C and w.source_w == channels * a.itemsize
    merged = merged and taps * channels <= a.range_terms
    for e in range(first + 1, end):
        follows = word(a.cols_sources, e) == word(a.cols_sources, e - 1) + 1
        merged = merged and follows and word(a.cols_taps, e) == word(a.cols_taps, e - 1) + (-1 if a.flipped else 1)
    blocks = 1 if merged or a.dots else -(-channels // a.block_terms)
    part = channels // blocks if channels % blocks == 0 else channels
    term = a.itemsize if a.dots or a.rows_in_place else panel.w_step
    for r in range(word(a.rows_first, row), word(a.rows_first, row + 1)):
        for e in range(first, first + 1 if merged else end):
            tap = word(a.rows_taps, r) * a.tap_cols + word(a.cols_taps, e)
            tap = a.taps - 1 - tap if a.flipped else tap
            pixel = word(a.rows_sources, r) * w.source_h + word(a.cols_sources, e) * w.source_w
            weight = c0 * a.taps + tap * channels
            for c in range(0, channels, part):
                put_word(entry, 0, pixel + (c0 + c) * a.itemsize)
                put_word(entry, 1, (weight + c) * term)
                entry += 16
    panel.entry_count = (entry - w.entries) // 16
    panel.count = (taps * channels if merged else part) * a.itemsize // panel.x_step
    panel.per_chunk = a.block_terms // panel.count if panel.count < a.block_terms else 1


@serial
def sum_region(w, panel, counts, source_steps, target_steps, source, packed, target, vectors):
    """All tiles of a region; columns of a tile lie along the axis that needs the fewest tiles."""
    microkernel, columns = word(w.panels, vectors - 1), w.columns
    axis = tile_axis(counts, columns)
    other, outer = _COLS if axis == _ROWS else _ROWS, _COLS if axis == _IMAGES else _IMAGES
    tiles, size = -(-counts[axis] // columns), vectors * VECTOR_BYTES
    x_step, to_step = source_steps[axis], target_steps[axis]
    panel.x_shift, panel.target_step = x_step, to_step
    keeps = not (panel.first and panel.last)
    for i in range(counts[outer]):
        for j in range(counts[other]):
            x = source + i * source_steps[outer] + j * source_steps[other]
            to = target + i * target_steps[outer] + j * target_steps[other]
            begin = 0
            for tile in range(1, tiles + 1):
                end = tile * counts[axis] // tiles
                width = end - begin
                prefetch_tile(panel, w.is_near, x + end * x_step, to + end * to_step, width, size)
                foresee_weights(w, panel)
                sums, place = w.sums + w.column * size, to + begin * to_step
                call(microkernel, width, w.panel, x + begin * x_step, packed, sums, place)
                if keeps:
                    w.column += width
                begin = end


@serial
def foresee_weights(w, panel):
    """The next tile asks for its part of the next range's weights: the first one alone would wait for all of them."""
    count, terms = min(w.next_end - w.next_weight, w.next_bytes), panel.entry_count * panel.count
    panel.ending &= ~FORESEES
    if count == 0 or terms == 0:
        return
    panel.ending |= FORESEES
    panel.ahead, panel.ahead_step = w.next_weight, -(-count // terms)
    w.next_weight += count


@serial
def tile_axis(counts, columns):
    """The axis along which tiles are fewest."""
    everything = counts[_ROWS] * counts[_COLS] * counts[_IMAGES]
    best, fewest = _COLS, everything // counts[_COLS] * -(-counts[_COLS] // columns)
    for axis in (_ROWS, _IMAGES):
        tiles = everything // counts[axis] * -(-counts[axis] // columns)
        if tiles < fewest:
            best, fewest = axis, tiles
    return best


@serial
def prefetch_tile(panel, is_near, x, target, width, size):
    """What the next tile reads with its last entry, which no earlier tile has read, and where it writes."""
    if panel.entry_count > 0:
        x += word(panel.entries, 2 * panel.entry_count - 2)
    if not is_near:
        for p in range(width):
            for byte in range(0, panel.count * panel.x_step, _LINE):
                prefetch_read(x + p * panel.x_shift + byte)
    if panel.last and not panel.ending & STREAMS:
        for p in range(width):
            for byte in range(0, size, _LINE):
                prefetch_read(target + p * panel.target_step + byte)
