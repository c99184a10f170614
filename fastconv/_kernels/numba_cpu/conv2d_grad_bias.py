"""grad_bias: sums over images and pixels, in float64: memory is slower than the conversion."""

from __future__ import annotations

import numba
from numba import carray

from fastconv._kernels.numba_cpu.addresses import clear_bytes, pointer
from fastconv._kernels.numba_cpu.conv2d_arguments import BIAS_CHANNELS, BIAS_SUMS, GRAD_BIAS
from fastconv._kernels.numba_cpu.settings import serial


def grad_bias_kernel(dtype: str):
    """One item per BIAS_CHANNELS channels."""
    real = getattr(numba, dtype)
    sum_channels, sum_plane = _sum_channels(), _sum_plane()

    def grad_bias(context, lo, hi, slot):
        a = carray(pointer(context), 1, GRAD_BIAS)[0]
        scratch = a.scratch + slot * a.scratch_step
        sums = carray(pointer(scratch), BIAS_CHANNELS, numba.float64)
        grad_out = carray(pointer(a.grad_out), a.N * a.K * a.pixels, real)
        target = carray(pointer(a.grad_bias), a.K, real)
        for item in range(lo, hi):
            k0 = item * BIAS_CHANNELS
            channels = min(a.K - k0, BIAS_CHANNELS)
            clear_bytes(scratch, BIAS_CHANNELS * 8)
            for n in range(a.N):
                image = n * a.K * a.pixels
                if not a.planar:
                    sum_channels(grad_out, image + k0, a.pixels, a.K, channels, sums)
                    continue
                for k in range(channels):
                    sums[k] += sum_plane(grad_out, image + (k0 + k) * a.pixels, a.pixels, scratch + BIAS_CHANNELS * 8)
            for k in range(channels):
                target[k0 + k] = sums[k]

    return grad_bias


def _sum_channels():
    @serial
    def sum_channels(grad_out, at, pixels, step, channels, sums):
        """Channels of pixels that lie ``step`` apart."""
        if channels == BIAS_CHANNELS:
            for pixel in range(pixels):
                for k in range(BIAS_CHANNELS):
                    sums[k] += grad_out[at + pixel * step + k]
        else:
            for pixel in range(pixels):
                for k in range(channels):
                    sums[k] += grad_out[at + pixel * step + k]

    return sum_channels


def _sum_plane():
    @serial
    def sum_plane(grad_out, at, pixels, scratch):
        sums, total = carray(pointer(scratch), BIAS_SUMS, numba.float64), 0.0
        clear_bytes(scratch, BIAS_SUMS * 8)
        whole = pixels // BIAS_SUMS * BIAS_SUMS
        for pixel in range(0, whole, BIAS_SUMS):
            for s in range(BIAS_SUMS):
                sums[s] += grad_out[at + pixel + s]
        for pixel in range(whole, pixels):
            sums[pixel - whole] += grad_out[at + pixel]
        for s in range(BIAS_SUMS):
            total += sums[s]
        return total

    return sum_plane
