"""grad_input of pointwise convolutions of few pixels: rows of weights, a few at a time, are added to all pixels."""

from __future__ import annotations

from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, pointer
from fastconv._kernels.numba_cpu.conv2d_arguments import SWEEP
from fastconv._kernels.numba_cpu.panel import ADDS, PANEL
from fastconv._kernels.numba_cpu.settings import SWEEP_PIXELS


def sweep_kernel():
    """grad_input[pixel, c] = sum over k of grad_out[pixel, k] * weight[k, c]; sizes are in bytes.

    One item per ``width`` input channels. After every ``block`` rows of weights their sum goes from the scratch to
    grad_input.
    """

    def sweep_items(context, lo, hi, slot):
        a = carray(pointer(context), 1, SWEEP)[0]
        place = a.scratch + slot * a.scratch_step
        panel = carray(pointer(place), 1, PANEL)[0]
        row, pixel = a.C * a.itemsize, a.K * a.itemsize
        panel.x_shift, panel.w_step, panel.target_step, panel.w_shift = pixel, row, row, a.width * a.itemsize
        tiles = -(-a.pixels // SWEEP_PIXELS)
        for item in range(lo, hi):
            first = item * a.width
            panel.channels = min(a.C - first, a.width)
            for k in range(0, a.K, a.rows):
                panel.count = min(a.K - k, a.rows)
                panel.first, panel.last = k % a.block == 0, (k + a.rows) % a.block == 0 or k + a.rows >= a.K
                panel.ending = ADDS if k >= a.block else 0
                weight, begin = a.weight + k * row + first * a.itemsize, 0
                for tile in range(1, tiles + 1):
                    end = tile * a.pixels // tiles
                    grad_out = a.grad_out + begin * pixel + k * a.itemsize
                    target = a.grad_input + begin * row + first * a.itemsize
                    sums = place + a.sums_at + begin * panel.w_shift
                    call(a.microkernel, end - begin, place, grad_out, weight, sums, target)
                    begin = end

    return sweep_items
