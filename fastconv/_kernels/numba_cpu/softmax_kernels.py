"""Logarithms of probabilities, the loss they give, and both gradients: items are runs of pixels of one image."""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import carray

from fastconv._kernels.contract import CROSS_ENTROPY_SETTINGS
from fastconv._kernels.numba_cpu.addresses import clear_bytes, pointer
from fastconv._kernels.numba_cpu.elementwise_arguments import SOFTMAX, SOFTMAX_PIXELS
from fastconv._kernels.numba_cpu.settings import serial

_SMOOTHING = CROSS_ENTROPY_SETTINGS.index("smoothing")


@serial
def _item(a, number):
    """Where an item lies: its first element in (N, C, pixels) and in (N, pixels), and how many pixels it has."""
    runs = (a.pixels + SOFTMAX_PIXELS - 1) // SOFTMAX_PIXELS
    n, p = number // runs, number % runs * SOFTMAX_PIXELS
    return n * a.C * a.pixels + p, n * a.pixels + p, min(a.pixels - p, SOFTMAX_PIXELS)


def log_softmax_kernel(dtype: str):
    """The logarithms alone."""
    log_probabilities = _log_probabilities(dtype)

    def log_softmax(context, lo, hi, slot):
        a = carray(pointer(context), 1, SOFTMAX)[0]
        for number in range(lo, hi):
            first, _, count = _item(a, number)
            log_probabilities(a, first, count, a.scratch + slot * a.scratch_step)

    return log_softmax


def cross_entropy_kernel(dtype: str):
    """The logarithms, and the loss of every sample."""
    real = getattr(numba, dtype)
    log_probabilities, share = _log_probabilities(dtype), _share()

    @serial
    def loss_of(a, out, settings, weight, first, target):
        """0 times an infinite logarithm is nothing."""
        loss, whole = 0.0, settings[_SMOOTHING] != 0
        for c in range(0 if whole else target, a.C if whole else target + 1):
            part = share(settings, weight, c, target, a.C)
            if part != 0:
                loss -= part * out[first + c * a.pixels]
        return loss

    def cross_entropy(context, lo, hi, slot):
        a = carray(pointer(context), 1, SOFTMAX)[0]
        settings = carray(pointer(a.settings), len(CROSS_ENTROPY_SETTINGS), numba.float64)
        targets, weight = (
            carray(pointer(a.target), a.N * a.pixels, numba.int64),
            carray(pointer(a.class_weight), a.C, real),
        )
        out, losses = (
            carray(pointer(a.out), a.N * a.C * a.pixels, real),
            carray(pointer(a.losses), a.N * a.pixels, real),
        )
        for number in range(lo, hi):
            first, pixel, count = _item(a, number)
            log_probabilities(a, first, count, a.scratch + slot * a.scratch_step)
            for j in range(count):
                target, loss = targets[pixel + j], 0.0
                if 0 <= target < a.C:
                    loss = loss_of(a, out, settings, weight, first + j, target)
                losses[pixel + j] = loss

    return cross_entropy


def _log_probabilities(dtype):
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize

    @serial
    def log_probabilities(a, first, count, scratch):
        """x - max - log(sum(exp(x - max))): no exponential overflows."""
        size = (a.C - 1) * a.pixels + count
        x = carray(pointer(a.x + first * itemsize), size, real)
        out = carray(pointer(a.out + first * itemsize), size, real)
        largest = carray(pointer(scratch), count, real)
        sums = carray(pointer(scratch + SOFTMAX_PIXELS * 8), count, numba.float64)
        clear_bytes(scratch + SOFTMAX_PIXELS * 8, count * 8)
        for j in range(count):
            largest[j] = x[j]
        for c in range(1, a.C):
            for j in range(count):
                value = x[c * a.pixels + j]
                largest[j] = value if value > largest[j] else largest[j]
        for c in range(a.C):
            for j in range(count):
                sums[j] += math.exp(x[c * a.pixels + j] - largest[j])
        for j in range(count):
            sums[j] = math.log(sums[j])
        for c in range(a.C):
            for j in range(count):
                out[c * a.pixels + j] = x[c * a.pixels + j] - largest[j] - sums[j]

    return log_probabilities


def _share():
    @serial
    def share(settings, weight, c, target, C):
        """How much a class of a sample counts."""
        smoothing = settings[_SMOOTHING]
        return ((1 - smoothing if c == target else 0.0) + smoothing / C) * weight[c]

    return share


def log_softmax_grad_kernel(dtype: str):
    """grad - softmax * sum(grad)."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize

    def log_softmax_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, SOFTMAX)[0]
        scratch = a.scratch + slot * a.scratch_step
        for number in range(lo, hi):
            first, _, count = _item(a, number)
            size = (a.C - 1) * a.pixels + count
            grad, out, grad_input = (
                carray(pointer(a.grad_out + first * itemsize), size, real),
                carray(pointer(a.out + first * itemsize), size, real),
                carray(pointer(a.grad_input + first * itemsize), size, real),
            )
            sums = carray(pointer(scratch), count, numba.float64)
            clear_bytes(scratch, count * 8)
            for c in range(a.C):
                for j in range(count):
                    sums[j] += grad[c * a.pixels + j]
            for c in range(a.C):
                for j in range(count):
                    at = c * a.pixels + j
                    grad_input[at] = grad[at] - math.exp(out[at]) * sums[j]

    return log_softmax_grad


def cross_entropy_grad_kernel(dtype: str):
    """(softmax * shares of all classes - share) * grad of the loss; what is ignored has none."""
    real, share = getattr(numba, dtype), _share()

    @serial
    def all_shares(settings, weight, target, C):
        total = 0.0
        if settings[_SMOOTHING] == 0:
            return share(settings, weight, target, target, C)
        for c in range(C):
            total += share(settings, weight, c, target, C)
        return total

    def cross_entropy_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, SOFTMAX)[0]
        settings = carray(pointer(a.settings), len(CROSS_ENTROPY_SETTINGS), numba.float64)
        targets, weight = (
            carray(pointer(a.target), a.N * a.pixels, numba.int64),
            carray(pointer(a.class_weight), a.C, real),
        )
        grads, out = (
            carray(pointer(a.grad_out), a.N * a.pixels, real),
            carray(pointer(a.out), a.N * a.C * a.pixels, real),
        )
        grad_input = carray(pointer(a.grad_input), a.N * a.C * a.pixels, real)
        for number in range(lo, hi):
            first, pixel, count = _item(a, number)
            for j in range(count):
                target, at = targets[pixel + j], first + j
                counts = 0 <= target < a.C
                shares = all_shares(settings, weight, target, a.C) if counts else 0.0
                for c in range(a.C):
                    slope = math.exp(out[at]) * shares - share(settings, weight, c, target, a.C)
                    grad_input[at] = slope * grads[pixel + j] if counts else 0.0
                    at += a.pixels

    return cross_entropy_grad


KERNELS = {
    "log_softmax_forward": log_softmax_kernel,
    "log_softmax_grad_input": log_softmax_grad_kernel,
    "cross_entropy_forward": cross_entropy_kernel,
    "cross_entropy_grad_input": cross_entropy_grad_kernel,
}
