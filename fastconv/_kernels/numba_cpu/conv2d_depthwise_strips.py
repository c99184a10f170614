"""grad_weight of depthwise convolution in planes whose rows do not fill a vector.

Some rows of a vector of channels, a strip, are transposed to scratch memory, where they are summed as in channels_last.
"""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, pointer, word
from fastconv._kernels.numba_cpu.conv2d_depthwise_pixels import block_tiler
from fastconv._kernels.numba_cpu.depthwise_arguments import PIXEL, SUMS, TILE
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial


def strip_grad_kernel(dtype: str):
    """One item per (chunk of the blocks of all images, vector of channels).

    All slots share the sums: [chunk][vector][tap][lane].
    """
    flush, row_tiles = block_tiler(dtype)

    def strip_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, PIXEL)[0]
        scratch = a.scratch + slot * a.scratch_step
        s, t = carray(pointer(scratch), 1, SUMS)[0], carray(pointer(scratch + a.tile_at), 1, TILE)[0]
        s.tile, t.entries, s.sums = scratch + a.tile_at, scratch + a.entries_at, scratch + a.sums_at
        s.tiles, s.size, t.vectors, t.last = 0, a.taps * VECTOR_BYTES, 1, 0
        x, grad_out = scratch + a.x_strip_at, scratch + a.target_strip_at
        blocks = a.N * a.row_block_count
        clear_bytes(s.sums, s.size)
        for item in range(lo, hi):
            chunk, vector = item // a.vectors, item % a.vectors
            channel = min(vector * (VECTOR_BYTES // a.itemsize), a.C - VECTOR_BYTES // a.itemsize)
            s.total = a.shared + item * s.size
            clear_bytes(s.total, s.size)
            for block in range(chunk * blocks // a.chunks, (chunk + 1) * blocks // a.chunks):
                n, rows = block // a.row_block_count, a.row_blocks + 32 * (block % a.row_block_count)
                first, end, source_first, source_end = word(rows, 0), word(rows, 1), word(rows, 2), word(rows, 3)
                take_strip(a, a.x + n * a.x_n + channel * a.x_c, a.x_c, a.x_h, source_first, source_end, x)
                planes = a.target + n * a.target_n + channel * a.target_c
                take_strip(a, planes, a.target_c, a.target_h, first, end, grad_out)
                for row in range(first, end):
                    source, target = x - source_first * a.x_h, grad_out + (row - first) * a.target_h
                    row_tiles(a, s, t, row, source, s.sums, target)
            flush(s)

    return strip_grad


@serial
def take_strip(a, planes, plane_step, row_step, first, end, strip):
    """Rows of the planes of a vector of channels, pixel after pixel; ``row_step`` is that of the strip."""
    pixels, lanes = row_step // VECTOR_BYTES, VECTOR_BYTES // a.itemsize
    source, columns = planes + first * pixels * a.itemsize, (end - first) * pixels
    call(a.transpose, source, plane_step, 0, strip, VECTOR_BYTES, 0, lanes, columns)
