"""Sums over all values of a channel: mean and variance, and what the gradient needs."""

from __future__ import annotations

from functools import partial

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import clear_bytes, pointer
from fastconv._kernels.numba_cpu.batch_norm_terms import add_terms_of, coefficient_row, origin_of, settle
from fastconv._kernels.numba_cpu.elementwise_arguments import (
    MEAN,
    NORM,
    NORM_CHANNELS,
    NORM_LANES,
    NORM_ORIGIN,
    NORM_ROWS,
    NORM_SHARE,
    NORM_TOGETHER,
    SCALE,
    SHIFT,
)
from fastconv._kernels.numba_cpu.settings import serial


def rows_kernel(of_grad: bool, dtype: str):
    """Where channels are together: the sums of every item of rows; of moments, mean and squares about it."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    origin_of_rows, sum_rows = _origin_of_rows(dtype), _sum_rows(dtype, of_grad)

    def rows(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        scratch, C = a.scratch + slot * a.scratch_step, a.C
        origin = carray(pointer(a.coefficients if of_grad else scratch), C, real)
        for item in range(lo, hi):
            begin, end = item * a.item_rows, min((item + 1) * a.item_rows, a.N * a.pixels)
            place = a.shared + 2 * item * C * 8
            mean, square = carray(pointer(place), C, numba.float64), carray(pointer(place + 8 * C), C, numba.float64)
            if not of_grad:
                origin_of_rows(a, begin, end, scratch, origin)
            sum_rows(a, origin, begin, end, scratch + C * itemsize, place)
            if not of_grad:
                for c in range(C):
                    square[c] -= mean[c] * mean[c] / (end - begin)
                    mean[c] = origin[c] + mean[c] / (end - begin)

    return rows


def _origin_of_rows(dtype):
    real, itemsize, scalar = getattr(numba, dtype), np.dtype(dtype).itemsize, np.dtype(dtype).type
    mean_of = origin_of(scalar)

    @serial
    def origin_of_rows(a, begin, end, place, origin):
        """The mean of the first rows of an item, about which its variance is summed: one in NORM_SHARE rows."""
        C, rows = a.C, (end - begin + NORM_SHARE - 1) // NORM_SHARE
        clear_bytes(place, C * itemsize)
        for row in range(rows):
            x = carray(pointer(a.x + (begin + row) * C * itemsize), C, real)
            for c in range(C):
                origin[c] += x[c]
        for c in range(C):
            origin[c] = mean_of(origin[c], scalar(rows))

    return origin_of_rows


def _sum_rows(dtype, of_grad):
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    add_terms, row = add_terms_of(dtype, of_grad, 1), coefficient_row(dtype)

    @serial
    def sum_rows(a, mean, begin, end, place, sums_place):
        C = a.C
        added, products = carray(pointer(place), 2 * C, real), carray(pointer(place + C * itemsize), C, real)
        sums = carray(pointer(sums_place), 2 * C, numba.float64)
        scale, shift = (row(a, SCALE, 0), row(a, SHIFT, 0)) if of_grad else (mean, mean)
        clear_bytes(place, 2 * C * itemsize)
        clear_bytes(sums_place, 16 * C)
        for first in range(begin, end, NORM_ROWS):
            rows = min(first + NORM_ROWS, end) - first
            add_terms(a, first * C, rows, C, mean, scale, shift, added, products, C)
            settle(added, sums, 2 * C)
            clear_bytes(place, 2 * C * itemsize)

    return sum_rows


def moments_merge_kernel(dtype: str):
    """Means and sums of squares of two sets make those of both (Chan, Golub and LeVeque 1983); items in order."""

    def merge(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        C, rows = a.C, a.N * a.pixels
        partials = carray(pointer(a.shared), 2 * a.items * C, numba.float64)
        means, variances = (carray(pointer(a.sums), C, numba.float64), carray(pointer(a.other_sums), C, numba.float64))
        for c in range(lo * NORM_CHANNELS, min(hi * NORM_CHANNELS, C)):
            mean, square, total, plain = 0.0, 0.0, 0.0, 0.0
            for item in range(a.items):
                count = float(min((item + 1) * a.item_rows, rows) - item * a.item_rows)
                distance, share = partials[2 * item * C + c] - mean, count / (total + count)
                mean += distance * share
                square += partials[(2 * item + 1) * C + c] + distance * distance * total * share
                plain += partials[2 * item * C + c] * count
                total += count
            # The distance from what is infinite is no number.
            means[c] = mean if mean == mean else plain / total
            variances[c] = 0.0 if square < 0 else square / total

    return merge


def sums_merge_kernel(dtype: str):
    """The sums of all items, in order."""

    def merge(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        C = a.C
        partials = carray(pointer(a.shared), 2 * a.items * C, numba.float64)
        sums = carray(pointer(a.sums), 2 * C, numba.float64)
        for c in range(lo * NORM_CHANNELS, min(hi * NORM_CHANNELS, C)):
            total, product = 0.0, 0.0
            for item in range(a.items):
                total += partials[2 * item * C + c]
                product += partials[(2 * item + 1) * C + c]
            sums[c], sums[C + c] = total, product

    return merge


def planes_kernel(of_grad: bool, dtype: str):
    """Where pixels are together: items are channels."""
    real = getattr(numba, dtype)
    origin_of_planes, sum_planes, row = _origin_of_planes(dtype), _sum_planes(dtype, of_grad), coefficient_row(dtype)

    def planes(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        scratch, C, count = a.scratch + slot * a.scratch_step, a.C, a.N * a.pixels
        sums = carray(pointer(a.sums), 2 * C if of_grad else C, numba.float64)
        for c in range(lo, hi):
            if of_grad:
                sums[c], sums[C + c] = sum_planes(a, c, row(a, MEAN, c), scratch)
            else:
                variances = carray(pointer(a.other_sums), C, numba.float64)
                origin = carray(pointer(scratch + 4 * NORM_LANES * 8), 1, real)
                origin[0] = origin_of_planes(a, c, scratch)
                total, square = sum_planes(a, c, origin, scratch)
                square -= total * total / count
                sums[c], variances[c] = origin[0] + total / count, 0.0 if square < 0 else square / count

    return planes


def _origin_of_planes(dtype):
    real, itemsize, mean_of = getattr(numba, dtype), np.dtype(dtype).itemsize, origin_of(np.dtype(dtype).type)

    @serial
    def origin_of_planes(a, c, place):
        """The mean of a channel's first values, about which its variance is summed."""
        lanes, count = carray(pointer(place), NORM_LANES, numba.float64), 0
        clear_bytes(place, 8 * NORM_LANES)
        for n in range(a.N):
            if count >= NORM_ORIGIN:
                break
            more = min(a.pixels, NORM_ORIGIN - count)
            x = carray(pointer(a.x + (n * a.C + c) * a.pixels * itemsize), more, real)
            for p in range(more):
                lanes[p] += x[p]
            count += more
        return mean_of(_sum_lanes(lanes, 0), count)

    return origin_of_planes


def _sum_planes(dtype, of_grad):
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    add_terms, row = add_terms_of(dtype, of_grad, 0), coefficient_row(dtype)

    @serial
    def sum_planes(a, c, mean, place):
        added_place = place + 2 * NORM_LANES * 8
        lanes, added = (
            carray(pointer(place), 2 * NORM_LANES, numba.float64),
            carray(pointer(added_place), 2 * NORM_LANES, real),
        )
        products = carray(pointer(added_place + NORM_LANES * itemsize), NORM_LANES, real)
        scale, shift = (row(a, SCALE, c), row(a, SHIFT, c)) if of_grad else (mean, mean)
        clear_bytes(place, 2 * NORM_LANES * 8)
        clear_bytes(added_place, 2 * NORM_LANES * itemsize)
        step, rounds = a.C * a.pixels, 0
        for n in range(0, a.N, NORM_TOGETHER):
            planes = min(a.N - n, NORM_TOGETHER)
            for p in range(0, a.pixels, NORM_LANES):
                if rounds == NORM_ROWS:
                    settle(added, lanes, 2 * NORM_LANES)
                    clear_bytes(added_place, 2 * NORM_LANES * itemsize)
                    rounds = 0
                at, count = n * step + c * a.pixels + p, min(a.pixels - p, NORM_LANES)
                add_terms(a, at, planes, step, mean, scale, shift, added, products, count)
                rounds += NORM_TOGETHER
        settle(added, lanes, 2 * NORM_LANES)
        return _sum_lanes(lanes, 0), _sum_lanes(lanes, NORM_LANES)

    return sum_planes


@serial
def _sum_lanes(lanes, first):
    """The sum of all lanes: that of their two halves, added lane by lane, and so on."""
    half = NORM_LANES // 2
    while half > 0:
        for j in range(half):
            lanes[first + j] += lanes[first + half + j]
        half //= 2
    return lanes[first]


KERNELS = {
    "moments_rows": partial(rows_kernel, False),
    "moments_planes": partial(planes_kernel, False),
    "moments_merge": moments_merge_kernel,
    "sums_rows": partial(rows_kernel, True),
    "sums_planes": partial(planes_kernel, True),
    "sums_merge": sums_merge_kernel,
}
