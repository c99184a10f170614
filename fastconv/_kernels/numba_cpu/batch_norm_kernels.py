"""Batch normalisation: out = (x - mean) * scale + shift, and its gradient, in runs of values that lie together."""

from __future__ import annotations

from functools import partial

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import fence_streams, pointer, stream_bytes
from fastconv._kernels.numba_cpu.batch_norm_terms import coefficient_row
from fastconv._kernels.numba_cpu.elementwise_arguments import ELEMENTS, MEAN, NORM, OFFSET, SCALE, SHIFT, SLOPE
from fastconv._kernels.numba_cpu.settings import serial


def rows_kernel(of_grad: bool, dtype: str):
    """Items of rows of C values."""
    each_run = _each_run(of_grad, 1, dtype)

    def rows(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        for row in range(lo * a.item_rows, min(hi * a.item_rows, a.N * a.pixels)):
            each_run(a, row * a.C, 0, a.C, a.scratch + slot * a.scratch_step)
        if a.streams:
            fence_streams()

    return rows


def planes_kernel(of_grad: bool, dtype: str):
    """Items are planes."""
    each_run = _each_run(of_grad, 0, dtype)

    def planes(context, lo, hi, slot):
        a = carray(pointer(context), 1, NORM)[0]
        for plane in range(lo, hi):
            each_run(a, plane * a.pixels, plane % a.C, a.pixels, a.scratch + slot * a.scratch_step)
        if a.streams:
            fence_streams()

    return planes


def _each_run(of_grad, each, dtype):
    """``count`` values from ``at`` on, in runs: lane j has the coefficients of channel + j where ``each`` is 1."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    row, run = coefficient_row(dtype), _propagate(each) if of_grad else _normalise(each)
    zero = np.dtype(dtype).type(0)

    @serial
    def each_run(a, at, channel, count, scratch):
        streams = a.streams and a.target % 64 == 0
        for j in range(0, count, ELEMENTS):
            place, length = (at + j) * itemsize, min(count - j, ELEMENTS)
            source, other = (a.grad_out, a.x) if of_grad else (a.x, a.residual)
            values = carray(pointer(source + place), length, real)
            others = carray(pointer((other if other != 0 else source) + place), length, real)
            target = carray(pointer(scratch if streams else a.target + place), length, real)
            c = channel + j * each
            mean, scale, shift = row(a, MEAN, c), row(a, SCALE, c), row(a, SHIFT, c)
            if of_grad:
                offset, slope = row(a, OFFSET, c), row(a, SLOPE, c)
                run(values, others, other != 0, mean, scale, shift, offset, slope, a.relu, zero, target, length)
            else:
                run(values, others, other != 0, mean, scale, shift, a.relu, zero, target, length)
            if streams:
                stream_bytes(a.target + place, scratch, length * itemsize)

    return each_run


def _normalise(each):
    """Where ``each`` is 0, the coefficients are read once: the target might be where they are."""

    @serial
    def normalise(x, residual, has_residual, mean, scale, shift, relu, zero, out, count):
        m, s, h = mean[0], scale[0], shift[0]
        for j in range(count):
            y = (x[j] - mean[j]) * scale[j] + shift[j] if each else (x[j] - m) * s + h
            if has_residual:
                y += residual[j]
            out[j] = zero if relu and y < 0 else y

    return normalise


def _propagate(each):
    @serial
    def propagate(grad_out, x, has_x, mean, scale, shift, offset, slope, relu, zero, grad_input, count):
        m, s, h, o, k = mean[0], scale[0], shift[0], offset[0], slope[0]
        if not has_x:
            for j in range(count):
                grad_input[j] = grad_out[j] * (scale[j] if each else s)
        elif relu:
            for j in range(count):
                if each:
                    m, s, h, o, k = mean[j], scale[j], shift[j], offset[j], slope[j]
                d, grad = x[j] - m, grad_out[j]
                grad = zero if d * s + h <= 0 else grad
                grad_input[j] = grad * s - o - d * k
        else:
            for j in range(count):
                if each:
                    m, s, o, k = mean[j], scale[j], offset[j], slope[j]
                d = x[j] - m
                grad_input[j] = grad_out[j] * s - o - d * k

    return propagate


KERNELS = {
    "forward_rows": partial(rows_kernel, False),
    "forward_planes": partial(planes_kernel, False),
    "grad_rows": partial(rows_kernel, True),
    "grad_planes": partial(planes_kernel, True),
}
