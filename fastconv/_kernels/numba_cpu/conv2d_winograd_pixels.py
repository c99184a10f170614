"""Where the pixels of a run of tiles are: in the images, or, where channels do not lie together, in a strip."""

from __future__ import annotations

from fastconv._kernels.numba_cpu.addresses import call
from fastconv._kernels.numba_cpu.settings import serial

TAPS = 3


@serial
def tile_place(a, tile):
    """Where a tile lies: its image, its first target."""
    across = tile // a.tile_cols
    return across // a.tile_rows, across % a.tile_rows * a.size, tile % a.tile_cols * a.size


@serial
def run_tiles(a, channel_step, tile, tiles):
    """How many of some tiles are handled in one go: where planes become a strip of pixels, those of one row."""
    return tiles if channel_step == a.itemsize else min(tiles, a.tile_cols - tile % a.tile_cols)


@serial
def clipped(first, count, size):
    """What of ``count`` positions from ``first`` on lies in an axis: the first one and how many."""
    begin = max(first, 0)
    return begin, max(min(first + count, size) - begin, 0)


@serial
def view_images(w, origin, image_step, row_step, col_step):
    """Pixels are those of the images."""
    w.pixels, w.image_step, w.row_step, w.col_step = origin, image_step, row_step, col_step


@serial
def view_strip(w, top, left, cols, size):
    """Pixels, of so many bytes, those from row ``top`` and column ``left`` on, are in the strip."""
    view_images(w, w.strip - top * cols * size - left * size, 0, cols * size, size)


@serial
def view_run(a, w, image, across, channels, tile, run):
    """Sets where the pixels under a run of tiles are, and copies them there. Rows that are copied whole are copied
    together: they may be shorter than a vector."""
    origin, (image_step, channel_step, row_step, col_step), (height, width), (pad_rows, pad_cols) = image
    if channel_step == a.itemsize:
        view_images(w, origin, image_step, row_step, col_step)
        return
    n, row, col = tile_place(a, tile)
    top, rows = clipped(row - pad_rows, across, height)
    left, cols = clipped(col - pad_cols, (run - 1) * a.size + across, width)
    size, together = channels * a.itemsize, rows if cols == width else 1
    view_strip(w, top, left, cols, size)
    place = origin + n * image_step + top * row_step + left * col_step
    for i in range(0, rows, together):
        to = w.strip + i * cols * size
        call(a.transpose, place + i * row_step, channel_step, 0, to, size, 0, channels, together * cols)


@serial
def view_targets(a, w, tile, run, k0, channels):
    """Sets where the targets of a run of tiles of a block of channels are written."""
    if a.target_c == a.itemsize:
        view_images(w, a.target + (w.g * a.K + k0) * a.target_c, a.target_n, a.target_h, a.target_w)
        return
    _, row, col = tile_place(a, tile)
    view_strip(w, row, col, clipped(col, run * a.size, a.target_cols)[1], channels * a.itemsize)


@serial
def store_targets(a, w, tile, run, k0, channels):
    """Copies what is in the strip to the planes."""
    if a.target_c == a.itemsize:
        return
    n, top, left = tile_place(a, tile)
    rows, cols = clipped(top, a.size, a.target_rows)[1], clipped(left, run * a.size, a.target_cols)[1]
    together = rows if cols == a.target_cols else 1
    place = a.target + n * a.target_n + (w.g * a.K + k0) * a.target_c + top * a.target_h + left * a.target_w
    for i in range(0, rows, together):
        from_ = w.strip + i * w.row_step
        call(a.transpose, from_, w.col_step, 0, place + i * a.target_h, a.target_c, 0, together * cols, channels)
