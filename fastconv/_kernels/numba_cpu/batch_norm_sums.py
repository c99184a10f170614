"""Sums over all values of a channel: mean and variance, and what the gradient needs.

With d = x - origin, the sums are those of v and of v * d, where v is d itself, or the gradient there: with a rectifier
behind, only where its input is not below or at zero.
"""

from __future__ import annotations

from functools import partial

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import clear_bytes, pointer
from fastconv._kernels.numba_cpu.elementwise_arguments import (
    MEAN,
    NORM,
    NORM_CHANNELS,
    NORM_LANES,
    NORM_ORIGIN,
    NORM_ROWS,
    SCALE,
    SHIFT,
)
from fastconv._kernels.numba_cpu.settings import serial


def coefficient_row(dtype):
    """Row number ``number`` of the coefficients, from channel ``c`` on: an index that cannot be negative is cheap."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize

    @serial
    def row(a, number, c):
        return carray(pointer(a.coefficients + (number * a.C + c) * itemsize), a.C - c, real)

    return row


def rows_kernel(of_grad: bool, dtype: str):
    """Where channels are together: the sums of every item of rows; of moments, mean and squares about it."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    origin_of_rows, sum_rows = _origin_of_rows(real), _sum_rows(dtype, of_grad)

    def rows(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        scratch, C = a.scratch + slot * a.scratch_step, a.C
        origin = carray(pointer(a.coefficients if of_grad else scratch), C, real)
        for item in range(lo, hi):
            begin, end = item * a.item_rows, min((item + 1) * a.item_rows, a.N * a.pixels)
            place = a.shared + 2 * item * C * 8
            mean, square = carray(pointer(place), C, numba.float64), carray(pointer(place + 8 * C), C, numba.float64)
            if not of_grad:
                origin_of_rows(a, begin, end, place, origin)
            sum_rows(a, origin, begin, end, scratch + C * itemsize, place)
            if not of_grad:
                for c in range(C):
                    square[c] -= mean[c] * mean[c] / (end - begin)
                    mean[c] = origin[c] + mean[c] / (end - begin)

    return rows


def _origin_of_rows(real):
    @serial
    def origin_of_rows(a, begin, end, place, origin):
        """The mean of the first rows of an item, about which its variance is summed."""
        C, rows = a.C, min(end - begin, NORM_ORIGIN)
        clear_bytes(place, 8 * C)
        sums = carray(pointer(place), C, numba.float64)
        x = carray(pointer(a.x), a.N * C * a.pixels, real)
        for row in range(begin, begin + rows):
            for c in range(C):
                sums[c] += x[row * C + c]
        for c in range(C):
            origin[c] = sums[c] / rows

    return origin_of_rows


def _sum_rows(dtype, of_grad):
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    add_terms, row = _add_terms(of_grad, 1, np.dtype(dtype).type(0)), coefficient_row(dtype)

    @serial
    def sum_rows(a, mean, begin, end, place, sums_place):
        C = a.C
        added, products = carray(pointer(place), 2 * C, real), carray(pointer(place + C * itemsize), C, real)
        sums = carray(pointer(sums_place), 2 * C, numba.float64)
        scale, shift = (row(a, SCALE, 0), row(a, SHIFT, 0)) if of_grad else (mean, mean)
        clear_bytes(place, 2 * C * itemsize)
        clear_bytes(sums_place, 16 * C)
        for first in range(begin, end, NORM_ROWS):
            for r in range(first, min(first + NORM_ROWS, end)):
                at = r * C * itemsize
                x, grad = (
                    carray(pointer(a.x + at), C, real),
                    carray(pointer((a.grad_out if of_grad else a.x) + at), C, real),
                )
                add_terms(x, grad, mean, scale, shift, a.relu, added, products, C)
            for j in range(2 * C):
                sums[j] += added[j]
            clear_bytes(place, 2 * C * itemsize)

    return sum_rows


def _add_terms(of_grad, each, zero):
    @serial
    def add_terms(x, grad, mean, scale, shift, relu, sums, products, count):
        """Lane j has the coefficients of its own channel where ``each`` is 1, all have the same where it is 0."""
        if of_grad and relu:
            for j in range(count):
                d = x[j] - mean[j * each]
                v = zero if d * scale[j * each] + shift[j * each] <= 0 else grad[j]
                sums[j] += v
                products[j] += v * d
        else:
            for j in range(count):
                d = x[j] - mean[j * each]
                v = grad[j] if of_grad else d
                sums[j] += v
                products[j] += v * d

    return add_terms


def moments_merge_kernel(dtype: str):
    """Means and sums of squares of two sets make those of both (Chan, Golub and LeVeque 1983); items in order."""

    def merge(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        C, rows = a.C, a.N * a.pixels
        partials = carray(pointer(a.shared), 2 * a.items * C, numba.float64)
        means, variances = (carray(pointer(a.sums), C, numba.float64), carray(pointer(a.other_sums), C, numba.float64))
        for c in range(lo * NORM_CHANNELS, min(hi * NORM_CHANNELS, C)):
            mean, square, total = 0.0, 0.0, 0.0
            for item in range(a.items):
                count = float(min((item + 1) * a.item_rows, rows) - item * a.item_rows)
                distance, share = partials[2 * item * C + c] - mean, count / (total + count)
                mean += distance * share
                square += partials[(2 * item + 1) * C + c] + distance * distance * total * share
                total += count
            means[c], variances[c] = mean, 0.0 if square < 0 else square / total

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
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    origin_of_planes, sum_planes, row = _origin_of_planes(real), _sum_planes(dtype, of_grad), coefficient_row(dtype)

    def planes(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        scratch, C, count = a.scratch + slot * a.scratch_step, a.C, a.N * a.pixels
        sums = carray(pointer(a.sums), 2 * C if of_grad else C, numba.float64)
        for c in range(lo, hi):
            if of_grad:
                sums[c], sums[C + c] = sum_planes(a, c, row(a, MEAN, c), scratch)
            else:
                variances = carray(pointer(a.other_sums), C, numba.float64)
                origin = carray(pointer(scratch + 2 * NORM_LANES * itemsize), 1, real)
                origin[0] = origin_of_planes(a, c)
                total, square = sum_planes(a, c, origin, scratch)
                square -= total * total / count
                sums[c], variances[c] = origin[0] + total / count, 0.0 if square < 0 else square / count

    return planes


def _origin_of_planes(real):
    @serial
    def origin_of_planes(a, c):
        """The mean of a channel's first values, about which its variance is summed."""
        x = carray(pointer(a.x), a.N * a.C * a.pixels, real)
        total, count = 0.0, 0
        for n in range(a.N):
            if count >= NORM_ORIGIN:
                break
            for p in range(min(a.pixels, NORM_ORIGIN - count)):
                total += x[(n * a.C + c) * a.pixels + p]
            count += min(a.pixels, NORM_ORIGIN - count)
        return real(total / count)

    return origin_of_planes


def _sum_planes(dtype, of_grad):
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    add_terms, sum_lanes, row = _add_terms(of_grad, 0, np.dtype(dtype).type(0)), _sum_lanes(), coefficient_row(dtype)

    @serial
    def sum_planes(a, c, mean, place):
        added = carray(pointer(place), 2 * NORM_LANES, real)
        products = carray(pointer(place + NORM_LANES * itemsize), NORM_LANES, real)
        scale, shift = (row(a, SCALE, c), row(a, SHIFT, c)) if of_grad else (mean, mean)
        clear_bytes(place, 2 * NORM_LANES * itemsize)
        total, product, rounds = 0.0, 0.0, 0
        for n in range(a.N):
            at = (n * a.C + c) * a.pixels
            for p in range(0, a.pixels, NORM_LANES):
                if rounds == NORM_ROWS:
                    total += sum_lanes(added, 0)
                    product += sum_lanes(added, NORM_LANES)
                    clear_bytes(place, 2 * NORM_LANES * itemsize)
                    rounds = 0
                count = min(a.pixels - p, NORM_LANES)
                x = carray(pointer(a.x + (at + p) * itemsize), count, real)
                grad = carray(pointer((a.grad_out if of_grad else a.x) + (at + p) * itemsize), count, real)
                add_terms(x, grad, mean, scale, shift, a.relu, added, products, count)
                rounds += 1
        return total + sum_lanes(added, 0), product + sum_lanes(added, NORM_LANES)

    return sum_planes


def _sum_lanes():
    @serial
    def sum_lanes(added, first):
        total = 0.0
        for j in range(NORM_LANES):
            total += added[first + j]
        return total

    return sum_lanes


KERNELS = {
    "moments_rows": partial(rows_kernel, False),
    "moments_planes": partial(planes_kernel, False),
    "moments_merge": moments_merge_kernel,
    "sums_rows": partial(rows_kernel, True),
    "sums_planes": partial(planes_kernel, True),
    "sums_merge": sums_merge_kernel,
}
