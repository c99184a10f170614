"""grad_input of small planes of many images: a vector holds one element of each of some images, and a tile pixels of a
row x input channels."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, pointer, word
from fastconv._kernels.numba_cpu.conv2d_arguments import IMAGES
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.settings import COLUMNS, MAX_VECTORS, VECTOR_BYTES, serial


def images_kernel():
    """target[c][pixel] = sum over taps and k of weight[k, c, tap] * source[k][pixel under the tap].

    One item per (vector of images, block of rows).
    """

    def images_items(context, lo, hi, slot):
        a = carray(pointer(context), 1, IMAGES)[0]
        scratch, lanes = a.scratch + slot * a.scratch_step, VECTOR_BYTES // a.itemsize
        source, target = scratch + a.source_at, scratch + a.target_at
        open_panel(a, scratch)
        # Lanes without an image are multiplied, too.
        clear_bytes(source, a.K * a.source_plane)
        for item in range(lo, hi):
            n, block = item // a.row_blocks * lanes, item % a.row_blocks
            begin, end = block * a.target_rows // a.row_blocks, (block + 1) * a.target_rows // a.row_blocks
            images = min(lanes, a.N - n)
            if block == 0 or item == lo:
                take_images(a, a.source + n * a.source_n, images, source)
            for r in range(a.region_count):
                sum_region(context, a, scratch, a.regions + 48 * r, begin, end, source, target)
            give_images(a, target, images, begin * a.target_cols, end * a.target_cols, a.target + n * a.target_n)

    return images_items


@serial
def open_panel(a, scratch):
    """What is the same for all items; the panel is where the scratch begins."""
    panel = carray(pointer(scratch), 1, PANEL)[0]
    panel.x_shift = a.taps * a.itemsize
    panel.count, panel.per_chunk, panel.x_step = a.K, a.per_chunk, a.C * panel.x_shift
    panel.w_step, panel.target_step = a.source_plane, a.target_plane
    panel.first, panel.last, panel.ending = True, True, 0


@serial
def take_images(a, source, images, to):
    """The gradients of some images to vectors: pixel after pixel of a channel."""
    pixels = a.source_pixels
    if a.source_c == a.itemsize:
        for i in range(pixels):
            pixel = source + i * a.K * a.itemsize
            call(a.transpose, pixel, a.source_n, 0, to + i * VECTOR_BYTES, a.source_plane, 0, images, a.K)
    else:
        for k in range(a.K):
            place = to + k * a.source_plane
            call(a.transpose, source + k * a.source_c, a.source_n, 0, place, VECTOR_BYTES, 0, images, pixels)


@serial
def give_images(a, vectors, images, begin, end, target):
    """Pixels begin .. end - 1 from vectors to some images."""
    if a.target_c == a.itemsize:
        for i in range(begin, end):
            pixel = target + i * a.C * a.itemsize
            call(a.transpose, vectors + i * VECTOR_BYTES, a.target_plane, 0, pixel, a.target_n, 0, a.C, images)
    else:
        for c in range(a.C):
            channel, place = vectors + c * a.target_plane, target + c * a.target_c + begin * a.itemsize
            first = channel + begin * VECTOR_BYTES
            call(a.transpose, first, VECTOR_BYTES, 0, place, a.target_n, 0, end - begin, images)


@serial
def sum_region(context, a, scratch, region, begin, end, source, target):
    """Rows begin .. end - 1 of the pixels that share their taps."""
    panel = carray(pointer(scratch), 1, PANEL)[0]
    panel.entries, panel.entry_count = a.entries + 16 * word(region, 0), word(region, 1)
    first, cols = word(region, 2), word(region, 5)
    tiles = -(-cols // MAX_VECTORS)
    for row in range(max(begin, first), min(end, first + word(region, 3))):
        sources = source + (row - first) * a.source_cols * VECTOR_BYTES
        targets = target + (row * a.target_cols + word(region, 4)) * VECTOR_BYTES
        for tile in range(tiles):
            col = tile * cols // tiles
            vectors = (tile + 1) * cols // tiles - col
            at = col * VECTOR_BYTES
            sum_neighbours(context, a, scratch, vectors, sources + at, targets + at)


@serial
def sum_neighbours(context, a, scratch, vectors, source, target):
    """All input channels of some neighbours, from the first tap's gradients on."""
    panel, sums = carray(pointer(scratch), 1, PANEL)[0], scratch + a.sums_at
    panel.channels = vectors * VECTOR_BYTES // a.itemsize
    microkernel, c = word(context, vectors - 1), 0
    tiles = -(-a.C // COLUMNS[vectors - 1])
    for tile in range(1, tiles + 1):
        end = tile * a.C // tiles
        weight = a.weight + c * a.taps * a.itemsize
        call(microkernel, end - c, scratch, weight, source, sums, target + c * a.target_plane)
        c = end
