"""Winograd's minimal filtering of 3 x 3 taps (A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks",
2016): tiles of the source and the weight are transformed, so that a tile of size x size targets is a sum over channels
of (size + 2)^2 products instead of 9 size^2; each of these products is one of matrices, tiles x channels."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import (
    call,
    clear_bytes,
    copy_bytes,
    pointer,
    put_word,
    word,
)
from fastconv._kernels.numba_cpu.conv2d_arguments import (
    BLOCK_BYTES,
    WINOGRAD,
    WINOGRAD_TABLE_BYTES,
    WINOGRAD_WORK,
    WINOGRAD_WORK_BYTES,
)
from fastconv._kernels.numba_cpu.conv2d_winograd_direct import sum_directly
from fastconv._kernels.numba_cpu.conv2d_winograd_pixels import (
    TAPS,
    run_tiles,
    store_targets,
    tile_place,
    view_targets,
)
from fastconv._kernels.numba_cpu.conv2d_winograd_points import list_places, transform_tiles
from fastconv._kernels.numba_cpu.conv2d_winograd_weight import transform_block
from fastconv._kernels.numba_cpu.foresight import FORESEES
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.settings import COLUMNS, VECTOR_BYTES, serial


def winograd_kernel():
    """target = ending(sum of weight * source); one item per (group, block of tiles, group of blocks of channels)."""

    def winograd(context, lo, hi, slot):
        a = carray(pointer(context), 1, WINOGRAD)[0]
        scratch = a.scratch + slot * a.scratch_step
        w = carray(pointer(scratch), 1, WINOGRAD_WORK)[0]
        open_slot(a, w, scratch)
        k_groups, every = -(-a.k_block_count // a.k_group), a.N * a.tile_rows * a.tile_cols
        for item in range(lo, hi):
            k_begin, rest = item % k_groups * a.k_group, item // k_groups
            block, w.g = rest % a.tile_blocks, rest // a.tile_blocks
            w.first = block * every // a.tile_blocks
            w.tiles = (block + 1) * every // a.tile_blocks - w.first
            if k_begin == 0 or item == lo:
                transform_sources(a, w)
            for k_block in range(k_begin, min(k_begin + a.k_group, a.k_block_count)):
                vectors = word(a.k_blocks, 2 * k_block + 1)
                k0 = word(a.k_blocks, 2 * k_block) * VECTOR_BYTES // a.itemsize
                channels = min(a.K - k0, vectors * VECTOR_BYTES // a.itemsize)
                if a.transformed != 0:
                    multiply_transformed(context, a, w, k_block, vectors)
                else:
                    multiply_taps(context, a, w, k_block, vectors)
                if a.bias != 0:
                    copy_bytes(w.bias, a.bias + (w.g * a.K + k0) * a.itemsize, channels * a.itemsize)
                begin, w.has_taps = 0, False
                while begin < w.tiles:
                    end = begin + run_tiles(a, a.target_c, w.first + begin, w.tiles - begin)
                    view_targets(a, w, w.first + begin, end - begin, k0, channels)
                    list_targets(a, w, w.first + begin, w.tables + begin % 2 * WINOGRAD_TABLE_BYTES)
                    for t in range(begin, end):
                        transform_target(a, w, t, end - 1, vectors * VECTOR_BYTES, channels)
                        if word(w.doubt, 0):
                            sum_directly(context, a, w, t, k0, vectors)
                    store_targets(a, w, w.first + begin, end - begin, k0, channels)
                    begin = end

    return winograd


@serial
def open_slot(a, w, scratch):
    """What is the same for all items; where there is no bias it is zero."""
    w.panel, w.entries, w.bias = scratch + WINOGRAD_WORK_BYTES, scratch + a.entries_at, scratch + a.bias_at
    w.tables, w.doubt, w.sums = scratch + a.tables_at, scratch + a.doubt_at, scratch + a.sums_at
    w.zeros, w.waste = scratch + a.zeros_at, scratch + a.waste_at
    w.sources, w.products, w.strip = scratch + a.sources_at, scratch + a.products_at, scratch + a.strip_at
    w.taps, w.points, w.taken = scratch + a.shared_at, scratch + a.shared_at, scratch + a.taken_at
    panel = carray(pointer(w.panel), 1, PANEL)[0]
    panel.entries, panel.count, panel.per_chunk, panel.bias = w.entries, a.part, 1, w.bias
    clear_bytes(w.bias, BLOCK_BYTES)
    clear_bytes(w.zeros, a.C * a.itemsize)


@serial
def transform_sources(a, w):
    """All tiles of a block."""
    sizes, pads = (a.source_rows, a.source_cols), (a.pad_rows, a.pad_cols)
    origin, steps = a.source + w.g * a.C * a.source_c, (a.source_n, a.source_c, a.source_h, a.source_w)
    image, points = (origin, steps, sizes, pads), (w.sources, a.source_pitch, a.source_step)
    transform_tiles(a, w, a.transform_source, image, a.size + TAPS - 1, a.C, points)


@serial
def multiply_transformed(context, a, w, k_block, vectors):
    """The products of one block of channels."""
    block_bytes = (a.size + TAPS - 1) ** 2 * a.weight_step
    points = a.transformed + (w.g * a.k_block_count + k_block) * block_bytes
    end = a.transformed + (w.g + 1) * a.k_block_count * block_bytes
    multiply_block(context, a, w, vectors, 0, a.C, (points, a.weight_step, end))


@serial
def multiply_taps(context, a, w, k_block, vectors):
    """The same with a weight that is transformed on the way, a part of the input channels after the other."""
    end = w.points + (a.size + TAPS - 1) ** 2 * a.part_step
    for c in range(0, a.C, a.part):
        transform_block(a, w.taken, w.g, k_block, c, a.part, w.points)
        multiply_block(context, a, w, vectors, c, a.part, (w.points, a.part_step, end))


@serial
def multiply_block(context, a, w, vectors, c, channels, weight):
    """One matrix for each point, of input channels from c on. What the next matrix reads is asked for.

    ``weight``: its first point, the step to the next one, and where there is none any more.
    """
    panel, width = carray(pointer(w.panel), 1, PANEL)[0], vectors * VECTOR_BYTES
    points, step, end = weight
    panel.x_step, panel.x_shift, panel.w_step = a.itemsize, a.source_pitch, width
    panel.entry_count, panel.target_step, panel.channels = channels // a.part, width, width // a.itemsize
    panel.first, panel.last = c == 0, c + channels == a.C
    for e in range(panel.entry_count):
        put_word(w.entries, 2 * e, e * a.part * a.itemsize)
        put_word(w.entries, 2 * e + 1, e * a.part * width)
    panels = -(-w.tiles // COLUMNS[vectors - 1])
    panel.ahead_step = -(-width // panels)
    sources, products = w.sources + c * a.itemsize, w.products
    for _ in range((a.size + TAPS - 1) ** 2):
        begin = 0
        for p in range(panels):
            stop, panel.ahead = (p + 1) * w.tiles // panels, points + step + p * channels * panel.ahead_step
            panel.ending = FORESEES if panel.ahead < end else 0
            x, to = sources + begin * a.source_pitch, products + begin * width
            call(word(context, vectors - 1), stop - begin, w.panel, x, points, to, to)
            begin = stop
        points += step
        sources += a.source_step
        products += a.sums_step


@serial
def transform_target(a, w, t, last, width, channels):
    """A tile of a block of channels; the next one's targets, up to those of the last, are asked for."""
    targets, following = w.tables + t % 2 * WINOGRAD_TABLE_BYTES, w.tables + (t + 1) % 2 * WINOGRAD_TABLE_BYTES
    list_targets(a, w, w.first + min(t + 1, last), following)
    points, size = w.products + t * width, channels * a.itemsize
    call(a.transform_target, points, w.bias, targets, following, w.doubt, size, a.sums_step, a.activation)


@serial
def list_targets(a, w, tile, table):
    """The targets of a tile."""
    n, row, col = tile_place(a, tile)
    sizes, steps = (a.target_rows, a.target_cols), (w.row_step, w.col_step)
    list_places(table, a.size, w.pixels + n * w.image_step, (row, col), sizes, steps, w.waste)
