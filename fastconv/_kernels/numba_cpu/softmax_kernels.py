"""Logarithms of probabilities, and their gradient: items are runs of pixels of one image."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import pointer
from fastconv._kernels.numba_cpu.elementwise_arguments import SOFTMAX, SOFTMAX_LANES
from fastconv._kernels.numba_cpu.exponential import exponential, logarithm
from fastconv._kernels.numba_cpu.settings import serial
from fastconv._kernels.numba_cpu.softmax_lanes import item_of, largest_of, sums_of


def log_softmax_kernel(dtype: str):
    """The logarithms alone."""
    log_probabilities = log_probabilities_of(dtype)

    def log_softmax(context, lo, hi, slot):
        a = carray(pointer(context), 1, SOFTMAX)[0]
        for number in range(lo, hi):
            first, _, count = item_of(a, number)
            log_probabilities(a, first, count, a.scratch + slot * a.scratch_step)

    return log_softmax


def log_probabilities_of(dtype: str):
    """x - max - log(sum(exp(x - max))): no exponential overflows."""
    real, itemsize, log = getattr(numba, dtype), np.dtype(dtype).itemsize, logarithm()
    largest_values, rows, pixels = largest_of(dtype), *(sums_of(dtype, is_row, True) for is_row in (True, False))

    @serial
    def write(x_place, out_place, shift, log_sum, count):
        x, out = carray(pointer(x_place), count, real), carray(pointer(out_place), count, real)
        for j in range(count):
            out[j] = x[j] - shift - log_sum

    @serial
    def write_each(x_place, out_place, largest, logs, count):
        x, out = carray(pointer(x_place), count, real), carray(pointer(out_place), count, real)
        for j in range(count):
            out[j] = x[j] - largest[j] - logs[j]

    @serial
    def run(a, first, count, scratch):
        x, out, largest_place = a.x + first * itemsize, a.out + first * itemsize, scratch
        largest = carray(pointer(largest_place), SOFTMAX_LANES, real)
        logs = carray(pointer(scratch + SOFTMAX_LANES * 8), count, real)
        sums = carray(pointer(scratch + SOFTMAX_LANES * 16), SOFTMAX_LANES, numba.float64)
        largest_values(a, x, count, largest_place)
        if a.pixels == 1:
            rows(a, x, count, largest, sums)
            write(x, out, largest[0], real(log(sums[0])), a.C)
            return
        pixels(a, x, count, largest, sums)
        for j in range(count):
            logs[j] = log(sums[j])
        for c in range(a.C):
            at = c * a.pixels * itemsize
            write_each(x + at, out + at, largest, logs, count)

    return run


def log_softmax_grad_kernel(dtype: str):
    """grad - softmax * sum(grad)."""
    real, itemsize, exp = getattr(numba, dtype), np.dtype(dtype).itemsize, exponential(dtype)
    rows, pixels = (sums_of(dtype, is_row, False) for is_row in (True, False))

    @serial
    def write(grad_place, out_place, target_place, total, count):
        grad, out = carray(pointer(grad_place), count, real), carray(pointer(out_place), count, real)
        grad_input = carray(pointer(target_place), count, real)
        for j in range(count):
            grad_input[j] = grad[j] - exp(out[j]) * total

    @serial
    def write_each(grad_place, out_place, target_place, sums, count):
        grad, out = carray(pointer(grad_place), count, real), carray(pointer(out_place), count, real)
        grad_input = carray(pointer(target_place), count, real)
        for j in range(count):
            grad_input[j] = grad[j] - exp(out[j]) * sums[j]

    def log_softmax_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, SOFTMAX)[0]
        scratch = a.scratch + slot * a.scratch_step
        sums = carray(pointer(scratch), SOFTMAX_LANES, numba.float64)
        rounded = carray(pointer(scratch + SOFTMAX_LANES * 8), SOFTMAX_LANES, real)
        for number in range(lo, hi):
            first, _, count = item_of(a, number)
            at = first * itemsize
            if a.pixels == 1:
                rows(a, a.grad_out + at, count, rounded, sums)
                write(a.grad_out + at, a.out + at, a.grad_input + at, real(sums[0]), a.C)
                continue
            pixels(a, a.grad_out + at, count, rounded, sums)
            for j in range(count):
                rounded[j] = sums[j]
            for _c in range(a.C):
                write_each(a.grad_out + at, a.out + at, a.grad_input + at, rounded, count)
                at += a.pixels * itemsize

    return log_softmax_grad


KERNELS = {
    "log_softmax_forward": log_softmax_kernel,
    "log_softmax_grad_input": log_softmax_grad_kernel,
}
