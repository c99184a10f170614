"""The loss that logarithms of probabilities give, and its gradient: items are runs of pixels of one image."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.contract import CROSS_ENTROPY_SETTINGS
from fastconv._kernels.numba_cpu.addresses import pointer
from fastconv._kernels.numba_cpu.elementwise_arguments import SOFTMAX, SOFTMAX_LANES, SOFTMAX_SCRATCH_ROWS
from fastconv._kernels.numba_cpu.exponential import exponential
from fastconv._kernels.numba_cpu.settings import serial
from fastconv._kernels.numba_cpu.softmax_kernels import log_probabilities_of
from fastconv._kernels.numba_cpu.softmax_lanes import item_of

_SMOOTHING = CROSS_ENTROPY_SETTINGS.index("smoothing")


@serial
def _share(smoothing, weight, c, target, C):
    """How much a class of a sample counts."""
    return ((1 - smoothing if c == target else 0.0) + smoothing / C) * weight[c]


def cross_entropy_kernel(dtype: str):
    """The logarithms, and the loss of every sample."""
    real, log_probabilities = getattr(numba, dtype), log_probabilities_of(dtype)

    @serial
    def loss_of(a, out, smoothing, weight, first, target):
        """0 times an infinite logarithm is nothing."""
        loss, whole = 0.0, smoothing != 0
        for c in range(0 if whole else target, a.C if whole else target + 1):
            part = _share(smoothing, weight, c, target, a.C)
            if part != 0:
                loss -= part * out[first + c * a.pixels]
        return loss

    def cross_entropy(context, lo, hi, slot):
        a = carray(pointer(context), 1, SOFTMAX)[0]
        smoothing = carray(pointer(a.settings), len(CROSS_ENTROPY_SETTINGS), numba.float64)[_SMOOTHING]
        targets, weight = (
            carray(pointer(a.target), a.N * a.pixels, numba.int64),
            carray(pointer(a.class_weight), a.C, real),
        )
        out, losses = (
            carray(pointer(a.out), a.N * a.C * a.pixels, real),
            carray(pointer(a.losses), a.N * a.pixels, real),
        )
        for number in range(lo, hi):
            first, pixel, count = item_of(a, number)
            log_probabilities(a, first, count, a.scratch + slot * a.scratch_step)
            for j in range(count):
                target, loss = targets[pixel + j], 0.0
                if 0 <= target < a.C:
                    loss = loss_of(a, out, smoothing, weight, first + j, target)
                losses[pixel + j] = loss

    return cross_entropy


def cross_entropy_grad_kernel(dtype: str):
    """(softmax * shares of all classes - share) * grad of the loss, where the sample counts.

    First as of classes that are nobody's target, then of the targets.
    """
    real, itemsize, exp = getattr(numba, dtype), np.dtype(dtype).itemsize, exponential(dtype)
    read_losses, write_rows, write_pixels = _read_losses(dtype), _write(dtype, True), _write(dtype, False)

    @serial
    def write_targets(a, first, count, scratch):
        """The place of a target is that of its pixel, and as many classes further."""
        value, share, shares = _row(scratch, _VALUE, real), _row(scratch, _SHARE, real), _row(scratch, _SHARES, real)
        grads, counts, at = _row(scratch, _GRADS, real), _row(scratch, _COUNTS, real), _row(scratch, _AT, numba.int64)
        grad_input = carray(pointer(a.grad_input + first * itemsize), (a.C - 1) * a.pixels + count, real)
        for j in range(count):
            value[j] = (exp(value[j]) * shares[j] - share[j]) * grads[j]
        for j in range(count):
            if counts[j] != 0:
                grad_input[at[j]] = value[j]

    def cross_entropy_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, SOFTMAX)[0]
        smoothing = carray(pointer(a.settings), len(CROSS_ENTROPY_SETTINGS), numba.float64)[_SMOOTHING]
        weight, weights, smoothed = carray(pointer(a.class_weight), a.C, real), 0.0, real(smoothing / a.C)
        scratch = a.scratch + slot * a.scratch_step
        if smoothing != 0:
            for c in range(a.C):
                weights += weight[c]
        for number in range(lo, hi):
            first, pixel, count = item_of(a, number)
            read_losses(a, first, pixel, count, smoothing, smoothing / a.C * weights, scratch)
            at = first * itemsize
            if a.pixels == 1:
                write_rows(a.out + at, scratch, a.class_weight, smoothed, a.grad_input + at, a.C)
            else:
                for c in range(a.C):
                    step = at + c * a.pixels * itemsize
                    place = a.class_weight + c * itemsize
                    write_pixels(a.out + step, scratch, place, smoothed, a.grad_input + step, count)
            write_targets(a, first, count, scratch)

    return cross_entropy_grad


# What the gradient of the loss needs of every pixel, in rows of scratch: of its target the logarithm, then the
# gradient, and the share; the shares of all classes together, the gradient of its loss, 1 where it counts, and where
# its target is.
_VALUE, _SHARE, _SHARES, _GRADS, _COUNTS, _AT = range(SOFTMAX_SCRATCH_ROWS)


@serial
def _row(scratch, number, kind):
    return carray(pointer(scratch + number * SOFTMAX_LANES * 8), SOFTMAX_LANES, kind)


def _read_losses(dtype):
    real = getattr(numba, dtype)

    @serial
    def read_losses(a, first, pixel, count, smoothing, smoothed_weights, scratch):
        value, share, shares = _row(scratch, _VALUE, real), _row(scratch, _SHARE, real), _row(scratch, _SHARES, real)
        grads, counts, at = _row(scratch, _GRADS, real), _row(scratch, _COUNTS, real), _row(scratch, _AT, numba.int64)
        targets, weight = (
            carray(pointer(a.target), a.N * a.pixels, numba.int64),
            carray(pointer(a.class_weight), a.C, real),
        )
        grad_losses = carray(pointer(a.grad_out), a.N * a.pixels, real)
        out = carray(pointer(a.out), a.N * a.C * a.pixels, real)
        for j in range(count):
            target = targets[pixel + j]
            is_class = 0 <= target < a.C
            grads[j], counts[j] = grad_losses[pixel + j], 1 if is_class else 0
            at[j] = target * a.pixels + j if is_class else j
            value[j] = out[first + at[j]]
            shares[j] = (1 - smoothing) * weight[target] + smoothed_weights if is_class else 0.0
            share[j] = _share(smoothing, weight, target, target, a.C) if is_class else 0.0

    return read_losses


def _write(dtype, is_row):
    """Lanes are classes of one pixel, or pixels of one class."""
    real, exp, zero = getattr(numba, dtype), exponential(dtype), np.dtype(dtype).type(0)

    @serial
    def write(out_place, scratch, weight_place, smoothed, target_place, count):
        out, grad_input = carray(pointer(out_place), count, real), carray(pointer(target_place), count, real)
        weight = carray(pointer(weight_place), count if is_row else 1, real)
        shares, grads, counts = _row(scratch, _SHARES, real), _row(scratch, _GRADS, real), _row(scratch, _COUNTS, real)
        total, gradient, counted, weight_of_all = shares[0], grads[0], counts[0], weight[0]
        for j in range(count):
            if is_row:
                grad = (exp(out[j]) * total - smoothed * weight[j]) * gradient
                grad_input[j] = zero if counted == 0 else grad
            else:
                grad = (exp(out[j]) * shares[j] - smoothed * weight_of_all) * grads[j]
                grad_input[j] = zero if counts[j] == 0 else grad

    return write


KERNELS = {
    "cross_entropy_forward": cross_entropy_kernel,
    "cross_entropy_grad_input": cross_entropy_grad_kernel,
}
