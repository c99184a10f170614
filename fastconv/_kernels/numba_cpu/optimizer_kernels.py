"""Steps of the optimisers over blocks of ELEMENTS elements: everything is read and written once."""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import carray

from fastconv._kernels.contract import ADAM_SETTINGS, SGD_SETTINGS
from fastconv._kernels.numba_cpu.addresses import copy_bytes, pointer
from fastconv._kernels.numba_cpu.elementwise_arguments import ELEMENTS, STEP
from fastconv._kernels.numba_cpu.settings import serial


def sgd_kernel(dtype: str):
    """p -= lr * g, or with momentum p -= lr * b."""
    real, itemsize, scalar = getattr(numba, dtype), np.dtype(dtype).itemsize, np.dtype(dtype).type
    lr, decay, momentum, share, nesterov, begins = range(len(SGD_SETTINGS))
    decayed, with_momentum = _decayed(itemsize), _with_momentum()

    def step(context, lo, hi, slot):
        a = carray(pointer(context), 1, STEP)[0]
        settings = carray(pointer(a.settings), len(SGD_SETTINGS), numba.float64)
        scratch = a.scratch + slot * a.scratch_step
        for item in range(lo, hi):
            at, count = item * ELEMENTS * itemsize, min(a.count - item * ELEMENTS, ELEMENTS)
            p, grad = carray(pointer(a.parameter + at), count, real), carray(pointer(scratch), count, real)
            decayed(a.grad + at, p, scalar(settings[decay]), grad, scratch, count)
            if a.first != 0:
                buffer = carray(pointer(a.first + at), count, real)
                if settings[begins] != 0:
                    copy_bytes(a.first + at, scratch, count * itemsize)
                    buffer_share = scalar(0)
                else:
                    buffer_share = scalar(settings[share])
                keep = scalar(settings[momentum])
                with_momentum(grad, buffer, keep, buffer_share, settings[begins] != 0, settings[nesterov] != 0, count)
            rate = scalar(settings[lr])
            for i in range(count):
                p[i] -= rate * grad[i]

    return step


def _with_momentum():
    @serial
    def with_momentum(grad, buffer, keep, share, begins, nesterov, count):
        if not begins:
            for i in range(count):
                buffer[i] = buffer[i] * keep + share * grad[i]
        if nesterov:
            for i in range(count):
                grad[i] += keep * buffer[i]
        else:
            for i in range(count):
                grad[i] = buffer[i]

    return with_momentum


def adam_kernel(dtype: str):
    """p -= step * mean / (sqrt(square) / root + eps)."""
    real, itemsize, scalar = getattr(numba, dtype), np.dtype(dtype).itemsize, np.dtype(dtype).type
    step_size, decay, shrink, share, keep, new, root, eps = range(len(ADAM_SETTINGS))
    decayed, running_means, keep_largest, update = _decayed(itemsize), _running_means(), _keep_largest(), _update()

    def step(context, lo, hi, slot):
        a = carray(pointer(context), 1, STEP)[0]
        s = carray(pointer(a.settings), len(ADAM_SETTINGS), numba.float64)
        scratch = a.scratch + slot * a.scratch_step
        for item in range(lo, hi):
            at, count = item * ELEMENTS * itemsize, min(a.count - item * ELEMENTS, ELEMENTS)
            p, grad = carray(pointer(a.parameter + at), count, real), carray(pointer(scratch), count, real)
            mean, square = carray(pointer(a.first + at), count, real), carray(pointer(a.second + at), count, real)
            factor = scalar(s[shrink])
            if factor != 1:
                for i in range(count):
                    p[i] *= factor
            decayed(a.grad + at, p, scalar(s[decay]), grad, scratch, count)
            running_means(grad, mean, square, scalar(s[share]), scalar(s[keep]), scalar(s[new]), count)
            if a.largest != 0:
                largest = carray(pointer(a.largest + at), count, real)
                keep_largest(square, largest, count)
                square = largest
            update(p, mean, square, scalar(s[step_size]), scalar(s[root]), scalar(s[eps]), count)

    return step


def _decayed(itemsize):
    @serial
    def decayed(grad, p, decay, out, out_place, count):
        """``grad``, an address, with the decay that belongs in it; without decay an infinite p must not make NaN."""
        copy_bytes(out_place, grad, count * itemsize)
        if decay != 0:
            for i in range(count):
                out[i] += decay * p[i]

    return decayed


def _running_means():
    @serial
    def running_means(grad, mean, square, share, keep, new, count):
        for i in range(count):
            mean[i] += share * (grad[i] - mean[i])
            square[i] = square[i] * keep + new * (grad[i] * grad[i])

    return running_means


def _keep_largest():
    @serial
    def keep_largest(square, largest, count):
        """NaN stays, wherever it comes from."""
        for i in range(count):
            replaces = (square[i] > largest[i]) | (square[i] != square[i])
            largest[i] = square[i] if replaces else largest[i]

    return keep_largest


def _update():
    @serial
    def update(p, mean, square, step, root, eps, count):
        for i in range(count):
            p[i] -= step * (mean[i] / (math.sqrt(square[i]) / root + eps))

    return update
