"""What some rows of values add to the sums of batch normalisation.

With d = x - origin, the sums are those of v and of v * d, where v is d itself, or the gradient there: with a rectifier
behind, only where its input is not below or at zero.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import pointer
from fastconv._kernels.numba_cpu.elementwise_arguments import NORM_TOGETHER
from fastconv._kernels.numba_cpu.settings import serial


def coefficient_row(dtype):
    """Row number ``number`` of the coefficients, from channel ``c`` on: an index that cannot be negative is cheap."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize

    @serial
    def row(a, number, c):
        return carray(pointer(a.coefficients + (number * a.C + c) * itemsize), a.C - c, real)

    return row


def row_of_values(dtype):
    """One of some rows of values, ``step`` apart: as an array of its own, too, its index cannot be negative."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize

    @serial
    def values(place, row, step, count):
        return carray(pointer(place + row * step * itemsize), count, real)

    return values


def origin_of(scalar):
    """A mean about which values are summed must be a number: what is infinite stays in those."""
    zero = scalar(0)

    @serial
    def origin(total, count):
        mean = total / count
        return mean if mean - mean == zero else zero

    return origin


@serial
def settle(added, sums, count):
    """What was added in real numbers goes to the sums in double."""
    for j in range(count):
        sums[j] += added[j]


def add_terms_of(dtype, of_grad, each):
    """Rows are ``step`` apart; sums are in registers for NORM_TOGETHER of them at a time."""
    itemsize = np.dtype(dtype).itemsize
    add_together, add_single = (_add_rows(dtype, of_grad, each, rows) for rows in (NORM_TOGETHER, 1))

    @serial
    def add_terms(a, at, rows, step, mean, scale, shift, sums, products, count):
        x, grad = a.x + at * itemsize, (a.grad_out if of_grad else a.x) + at * itemsize
        whole = rows // NORM_TOGETHER * NORM_TOGETHER
        for row in range(0, whole, NORM_TOGETHER):
            far = row * step * itemsize
            add_together(x + far, grad + far, step, mean, scale, shift, a.relu, sums, products, count)
        for row in range(whole, rows):
            far = row * step * itemsize
            add_single(x + far, grad + far, step, mean, scale, shift, a.relu, sums, products, count)

    return add_terms


def _add_rows(dtype, of_grad, each, rows):
    """Lane j has the coefficients of its own channel where ``each`` is 1, all have the same where it is 0."""
    values, zero = row_of_values(dtype), np.dtype(dtype).type(0)

    @serial
    def add_rows(x, grad, step, mean, scale, shift, relu, sums, products, count):
        shared_mean, shared_scale, shared_shift = mean[0], scale[0], shift[0]
        if of_grad and relu:
            for j in range(count):
                total, product = sums[j], products[j]
                own_scale, own_shift = (scale[j], shift[j]) if each else (shared_scale, shared_shift)
                for row in range(rows):
                    d = values(x, row, step, count)[j] - (mean[j] if each else shared_mean)
                    there = values(grad, row, step, count)[j]
                    v = zero if d * own_scale + own_shift <= 0 else there
                    total, product = total + v, product + v * d
                sums[j], products[j] = total, product
        else:
            for j in range(count):
                total, product = sums[j], products[j]
                for row in range(rows):
                    d = values(x, row, step, count)[j] - (mean[j] if each else shared_mean)
                    v = values(grad, row, step, count)[j] if of_grad else d
                    total, product = total + v, product + v * d
                sums[j], products[j] = total, product

    return add_rows
