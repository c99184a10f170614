"""Batch normalisation: out = (x - mean) * scale + shift, and its gradient, in runs of values that lie together."""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import fence_streams, pointer, stream_bytes
from fastconv._kernels.numba_cpu.batch_norm_terms import coefficient_row, row_of_values
from fastconv._kernels.numba_cpu.elementwise_arguments import (
    ELEMENTS,
    MEAN,
    NORM,
    NORM_TOGETHER,
    OFFSET,
    SCALE,
    SHIFT,
    SLOPE,
)
from fastconv._kernels.numba_cpu.settings import serial


def rows_kernel(of_grad: bool, dtype: str):
    """Items of rows of C values; NORM_TOGETHER at a time where nothing is written past the caches."""
    run_together, run_single = (_each_run(of_grad, 1, dtype, rows) for rows in (NORM_TOGETHER, 1))

    def rows(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        scratch, begin, end = a.scratch + slot * a.scratch_step, lo * a.item_rows, min(hi * a.item_rows, a.N * a.pixels)
        single = begin if a.streams else end - (end - begin) % NORM_TOGETHER
        for row in range(begin, single, NORM_TOGETHER):
            run_together(a, row * a.C, 0, a.C, scratch)
        for row in range(single, end):
            run_single(a, row * a.C, 0, a.C, scratch)
        if a.streams:
            fence_streams()

    return rows


def planes_kernel(of_grad: bool, dtype: str):
    """Items are planes."""
    each_run = _each_run(of_grad, 0, dtype, 1)

    def planes(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        for plane in range(lo, hi):
            each_run(a, plane * a.pixels, plane % a.C, a.pixels, a.scratch + slot * a.scratch_step)
        if a.streams:
            fence_streams()

    return planes


def _each_run(of_grad, each, dtype, rows):
    """``count`` values from ``at`` on, in runs: lane j has the coefficients of channel + j where ``each`` is 1."""
    itemsize, row = np.dtype(dtype).itemsize, coefficient_row(dtype)
    run = (_propagate if of_grad else _normalise)(each, dtype, rows)

    @serial
    def each_run(a, at, channel, count, scratch):
        streams = rows == 1 and a.streams and a.target % 64 == 0
        for j in range(0, count, ELEMENTS):
            place, length = (at + j) * itemsize, min(count - j, ELEMENTS)
            source, other = (a.grad_out, a.x) if of_grad else (a.x, a.residual)
            places = source + place, other + place, scratch if streams else a.target + place
            c = channel + j * each
            mean, scale, shift = row(a, MEAN, c), row(a, SCALE, c), row(a, SHIFT, c)
            if of_grad:
                offset, slope = row(a, OFFSET, c), row(a, SLOPE, c)
                run(places, other != 0, mean, scale, shift, offset, slope, a.C, a.relu, length)
            else:
                run(places, other != 0, mean, scale, shift, a.C, a.relu, length)
            if streams:
                stream_bytes(a.target + place, scratch, length * itemsize)

    return each_run


def _normalise(each, dtype, rows):
    """Where ``each`` is 0, the coefficients are read once: the target might be where they are."""
    values, zero = row_of_values(dtype), np.dtype(dtype).type(0)

    @serial
    def normalise(places, has_residual, mean, scale, shift, C, relu, count):
        x, residual, out = places
        m, s, h = mean[0], scale[0], shift[0]
        for j in range(count):
            if each:
                m, s, h = mean[j], scale[j], shift[j]
            for row in range(rows):
                y = (values(x, row, C, count)[j] - m) * s + h
                if has_residual:
                    y += values(residual, row, C, count)[j]
                values(out, row, C, count)[j] = zero if relu and y < 0 else y

    return normalise


def _propagate(each, dtype, rows):
    values, zero = row_of_values(dtype), np.dtype(dtype).type(0)

    @serial
    def propagate(places, has_x, mean, scale, shift, offset, slope, C, relu, count):
        grad_out, x, grad_input = places
        m, s, h, o, k = mean[0], scale[0], shift[0], offset[0], slope[0]
        if not has_x:
            for j in range(count):
                for row in range(rows):
                    grad = values(grad_out, row, C, count)[j]
                    values(grad_input, row, C, count)[j] = grad * (scale[j] if each else s)
            return
        for j in range(count):
            if each:
                m, s, h, o, k = mean[j], scale[j], shift[j], offset[j], slope[j]
            for row in range(rows):
                d, grad = values(x, row, C, count)[j] - m, values(grad_out, row, C, count)[j]
                grad = zero if relu and d * s + h <= 0 else grad
                values(grad_input, row, C, count)[j] = grad * s - o - d * k

    return propagate


KERNELS = {
    "forward_rows": partial(rows_kernel, False),
    "forward_planes": partial(planes_kernel, False),
    "grad_rows": partial(rows_kernel, True),
    "grad_planes": partial(planes_kernel, True),
}
