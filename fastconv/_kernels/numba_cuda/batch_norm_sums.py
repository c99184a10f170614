"""Sums over all values of a channel, in double: every block adds up some pixels of some channels, as a tree.

A second kernel joins what the blocks have, in their order.
"""

import math
from functools import cache

from fastconv._kernels.contract import NORM_COEFFICIENTS
from fastconv._kernels.numba_cuda.launch import THREADS
from fastconv._kernels.numba_cuda.settings import (
    FLOATS,
    address,
    compiled,
    cuda,
    inlined,
    int64,
    integers,
    types,
    uint32,
)

# Channels of a block where they are neighbours in memory.
CHANNELS = 32
_SCALE, _SHIFT = (NORM_COEFFICIENTS.index(name) for name in ("scale", "shift"))
_wide = types.float64


@inlined
def _place(p, k, plane, strides):
    """Where pixel p of all images lies, of channel k."""
    image = uint32(p) // uint32(plane)
    return int64(image) * strides[0] + (p - int64(image) * plane) * strides[1] + k * strides[2]


@cache
def _summed(channels):
    """Add up what the threads of one channel have, as a tree: the first of them has the sums."""
    threads = THREADS

    @inlined
    def summed(total, product, totals, products):
        thread, apart = cuda.threadIdx.x, threads // 2
        totals[thread] = total
        products[thread] = product
        cuda.syncthreads()
        while apart >= channels:
            if thread < apart:
                totals[thread] += totals[thread + apart]
                products[thread] += products[thread + apart]
            cuda.syncthreads()
            apart //= 2
        return totals[thread], products[thread]

    return summed


@cache
def _own(channels):
    @inlined
    def own(sizes):
        """(channel, its part, the first pixel of a thread and the one behind its last): none of a channel too many."""
        C, pixels, _, own_pixels = sizes
        blocks = (C + channels - 1) // channels
        c = cuda.blockIdx.x % blocks * channels + cuda.threadIdx.x % channels
        part = cuda.blockIdx.x // blocks
        end = min((part + 1) * own_pixels, pixels) if c < C else 0
        return c, part, part * own_pixels + cuda.threadIdx.x // channels, end

    return own


@cache
def moments_kernel(dtype: str, channels: int):
    """part[s, 0, c] is a mean, part[s, 1, c] the sum of squared distances from it.

    Both come from distances from the first value of the part, where that is finite.
    """
    threads, lines, own, summed = THREADS, THREADS // channels, _own(channels), _summed(channels)

    def batch_norm_moments(x, part, sizes, strides):
        totals = cuda.shared.array(threads, _wide)
        products = cuda.shared.array(threads, _wide)
        C, _, plane, own_pixels = sizes
        c, s, p, end = own(sizes)
        origin, total, product = 0.0, 0.0, 0.0
        if p < end:
            origin = _wide(x[_place(s * own_pixels, c, plane, strides)])
            origin = origin if math.isfinite(origin) else 0.0
        while p < end:
            distance = _wide(x[_place(p, c, plane, strides)]) - origin
            total += distance
            product += distance * distance
            p += lines
        total, product = summed(total, product, totals, products)
        if cuda.threadIdx.x < channels and c < C:
            count = end - s * own_pixels
            part[2 * s * C + c] = origin + total / count
            part[(2 * s + 1) * C + c] = product - total * total / count

    wide = address(_wide)
    return compiled(batch_norm_moments, address(FLOATS[dtype]), wide, integers(4), integers(3))


@cache
def join_moments_kernel():
    """Means and sums of squares of two sets make those of both (Chan, Golub and LeVeque 1983)."""

    def batch_norm_join_moments(part, means, variances, sizes):
        parts, C, pixels, own_pixels = sizes
        c = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if c < C:
            mean, square, total, plain, s = 0.0, 0.0, 0.0, 0.0, 0
            while s < parts:
                count = _wide(min((s + 1) * own_pixels, pixels) - s * own_pixels)
                found = part[2 * s * C + c]
                distance, share = found - mean, count / (total + count)
                mean += distance * share
                square += part[(2 * s + 1) * C + c] + distance * distance * total * share
                plain += found * count
                total += count
                s += 1
            # The distance from what is infinite is no number.
            means[c] = mean if mean == mean else plain / total
            variances[c] = 0.0 if square < 0 else square / total

    wide = address(_wide)
    return compiled(batch_norm_join_moments, wide, wide, wide, integers(4))


@cache
def grad_sums_kernel(dtype: str, channels: int):
    """part[s, 0, c] is a sum of gradients, part[s, 1, c] that of gradient * (x - mean).

    Where there is a rectifier, a gradient passes where the output was above zero, or NaN.
    """
    threads, lines, own, summed = THREADS, THREADS // channels, _own(channels), _summed(channels)
    zero = FLOATS[dtype](0)

    def batch_norm_grad_sums(grad_out, x, rows, part, sizes, strides, masks):
        totals = cuda.shared.array(threads, _wide)
        products = cuda.shared.array(threads, _wide)
        C, plane = sizes[0], sizes[2]
        c, s, p, end = own(sizes)
        mean, scale, shift, total, product = zero, zero, zero, 0.0, 0.0
        if p < end:
            mean, scale, shift = rows[c], rows[_SCALE * C + c], rows[_SHIFT * C + c]
        while p < end:
            at = _place(p, c, plane, strides)
            grad, distance = grad_out[at], x[at] - mean
            if not (masks and distance * scale + shift <= zero):
                total += grad
                product += _wide(grad) * (_wide(x[at]) - _wide(mean))
            p += lines
        total, product = summed(total, product, totals, products)
        if cuda.threadIdx.x < channels and c < C:
            part[2 * s * C + c] = total
            part[(2 * s + 1) * C + c] = product

    operand = address(FLOATS[dtype])
    return compiled(batch_norm_grad_sums, operand, operand, operand, address(_wide), integers(4), integers(3), int64)


@cache
def add_sums_kernel():
    """sums[i] = the sum of part[s, i] over s, in ascending order."""

    def batch_norm_add_sums(part, sums, sizes):
        parts, count = sizes
        i = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if i < count:
            total, s = 0.0, 0
            while s < parts:
                total += part[s * count + i]
                s += 1
            sums[i] = total

    wide = address(_wide)
    return compiled(batch_norm_add_sums, wide, wide, integers(2))
