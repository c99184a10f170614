"""Tiles of images to points: points[point][tile][channel].

An ``image`` is that of number 0: its address, the steps from image to image, channel, row and column, its rows and
columns, and those of the padding before it.
"""

from __future__ import annotations

from fastconv._kernels.numba_cpu.addresses import call, put_word
from fastconv._kernels.numba_cpu.conv2d_arguments import WINOGRAD_TABLE_BYTES
from fastconv._kernels.numba_cpu.conv2d_winograd_pixels import run_tiles, tile_place, view_run
from fastconv._kernels.numba_cpu.settings import serial


@serial
def list_places(table, count, origin, first, sizes, steps, outside):
    """The addresses of a square of pixels, row by row; of those outside the image another one."""
    row, col = first
    for i in range(row, row + count):
        for j in range(col, col + count):
            inside = 0 <= i < sizes[0] and 0 <= j < sizes[1]
            put_word(table, 0, origin + i * steps[0] + j * steps[1] if inside else outside)
            table += 8


@serial
def list_pixels(a, w, image, across, tile, table):
    """The ``across`` x ``across`` pixels of a tile."""
    _, _, sizes, (pad_rows, pad_cols) = image
    n, row, col = tile_place(a, tile)
    first, steps = (row - pad_rows, col - pad_cols), (w.row_step, w.col_step)
    list_places(table, across, w.pixels + n * w.image_step, first, sizes, steps, w.zeros)


@serial
def transform_tiles(a, w, transform, image, across, channels, points):
    """The points of all tiles of a block; they are told as their address, and the steps from tile to tile and from
    point to point."""
    begin, (to, pitch, step) = 0, points
    while begin < w.tiles:
        end = begin + run_tiles(a, image[1][1], w.first + begin, w.tiles - begin)
        view_run(a, w, image, across, channels, w.first + begin, end - begin)
        list_pixels(a, w, image, across, w.first + begin, w.tables + begin % 2 * WINOGRAD_TABLE_BYTES)
        for t in range(begin, end):
            pixels, following = w.tables + t % 2 * WINOGRAD_TABLE_BYTES, w.tables + (t + 1) % 2 * WINOGRAD_TABLE_BYTES
            list_pixels(a, w, image, across, w.first + min(t + 1, end - 1), following)
            call(transform, pixels, following, to, channels * a.itemsize, step)
            to += pitch
        begin = end
