"""Normalisation across channels. With s = k + alpha * (the sum of the squares that a channel sees) it is x / s^beta,
and its gradient grad / s^beta - 2 * alpha * beta * x * (the sum of grad * x / s^(beta + 1) over those who see it).

Loops run along pixels, or along the channels of single pixels; LLVM makes vectors of them.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import carray

from fastconv._kernels.contract import RESPONSE_SETTINGS
from fastconv._kernels.numba_cpu.addresses import pointer
from fastconv._kernels.numba_cpu.elementwise_arguments import RESPONSE, RESPONSE_LANES
from fastconv._kernels.numba_cpu.settings import serial

_ALPHA, _BETA, _K = map(RESPONSE_SETTINGS.index, ("alpha", "beta", "k"))
# Powers that are roots; any other one takes a function per value.
_ROOTS = {0.75: lambda s: math.sqrt(s) * math.sqrt(math.sqrt(s)), 0.5: lambda s: math.sqrt(s), 1.0: lambda s: s}


def forward_kernel(dtype: str):
    """The normalised values."""
    itemsize, around, each_run = np.dtype(dtype).itemsize, _around(dtype, True), _each_run()
    values = _by_power(lambda power: _values(dtype, power))

    @serial
    def one(a, at, pixels, scratch):
        c = 0
        while c < a.C:
            count, place = each_run(a, c, pixels)
            around(a, c, count, a.x + at * itemsize, a.pixels, a.before, a.behind, scratch)
            there = (at + place) * itemsize
            values(a.settings, a.x + there, 0, scratch, a.target + there, 0, count)
            c += count if a.pixels == 1 else 1

    return _over_items(one)


def grad_input_kernel(dtype: str):
    """The gradient: its first term and what others see of every channel, then what a channel sees of others."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize
    squares, seen, each_run = _around(dtype, True), _around(dtype, False), _each_run()
    first_terms, subtract = _by_power(lambda power: _terms(dtype, power)), _subtract(dtype)

    @serial
    def one(a, at, pixels, scratch):
        settings = carray(pointer(a.settings), len(RESPONSE_SETTINGS), numba.float64)
        factor, terms = real(2 * settings[_ALPHA] * settings[_BETA]), scratch + RESPONSE_LANES * itemsize
        step = 1 if a.pixels == 1 else pixels
        for last in range(2):
            c = 0
            while c < a.C:
                count, place = each_run(a, c, pixels)
                there, own = (at + place) * itemsize, terms + c * step * itemsize
                if last:
                    # Who sees a channel lies the other way round.
                    seen(a, c, count, terms, step, a.behind, a.before, scratch)
                    subtract(a.x + there, scratch, factor, a.target + there, count)
                else:
                    squares(a, c, count, a.x + at * itemsize, a.pixels, a.before, a.behind, scratch)
                    first_terms(a.settings, a.x + there, a.grad_out + there, scratch, a.target + there, own, count)
                c += count if a.pixels == 1 else 1

    return _over_items(one)


def _over_items(one):
    """``one(arguments, element, pixels, scratch)`` for the pixels of every image of every item."""

    def items(context, lo, hi, slot):
        a = carray(pointer(context), 1, RESPONSE)[0]
        scratch, blocks = a.scratch + slot * a.scratch_step, -(-a.pixels // RESPONSE_LANES)
        for item in range(lo, hi):
            begin, first = item // blocks * a.images, item % blocks * RESPONSE_LANES
            for n in range(begin, min(begin + a.images, a.N)):
                one(a, n * a.C * a.pixels + first, min(RESPONSE_LANES, a.pixels - first), scratch)

    return items


def _each_run():
    @serial
    def each_run(a, c, pixels):
        """How many values from channel c on are computed at once, and how far they are from those of channel 0."""
        return (min(RESPONSE_LANES, a.C - c), c) if a.pixels == 1 else (pixels, c * a.pixels)

    return each_run


def _around(dtype: str, is_square: bool):
    """The sums of values, or of their squares, over the channels around those of a run."""
    real, itemsize = getattr(numba, dtype), np.dtype(dtype).itemsize

    @serial
    def add(place, total_place, count):
        values, total = carray(pointer(place), count, real), carray(pointer(total_place), count, real)
        for i in range(count):
            total[i] += values[i] * values[i] if is_square else values[i]

    @serial
    def around(a, c, count, values, step, before, behind, sums):
        total = carray(pointer(sums), count, real)
        for i in range(count):
            total[i] = real(0)
        if a.pixels == 1:
            end = c + count
            for d in range(max(-before, 1 - end), min(behind, a.C - 1 - c) + 1):
                lo, hi = max(c, -d), min(end, a.C - d)
                add(values + (lo + d) * itemsize, sums + (lo - c) * itemsize, hi - lo)
            return
        for other in range(max(c - before, 0), min(c + behind, a.C - 1) + 1):
            add(values + other * step * itemsize, sums, count)

    return around


def _by_power(make):
    """One function for the exponents that are roots and for any other one."""
    three_quarters, half, one, other = (make(power) for power in (0.75, 0.5, 1.0, None))

    @serial
    def run(settings, x, grad, total, out, terms, count):
        beta = carray(pointer(settings), len(RESPONSE_SETTINGS), numba.float64)[_BETA]
        if beta == 0.75:
            three_quarters(settings, x, grad, total, out, terms, count)
        elif beta == 0.5:
            half(settings, x, grad, total, out, terms, count)
        elif beta == 1.0:
            one(settings, x, grad, total, out, terms, count)
        else:
            other(settings, x, grad, total, out, terms, count)

    return run


def _to_power(dtype: str, power: float | None):
    real = getattr(numba, dtype)
    if power is None:
        return serial(lambda s, beta: real(math.pow(numba.float64(s), beta)))
    root = serial(_ROOTS[power])
    return serial(lambda s, beta: root(s))


def _values(dtype: str, power: float | None):
    real, to_power = getattr(numba, dtype), _to_power(dtype, power)

    @serial
    def values(settings, x_place, unused_grad, total_place, out_place, unused_terms, count):
        s = carray(pointer(settings), len(RESPONSE_SETTINGS), numba.float64)
        alpha, beta, k = real(s[_ALPHA]), s[_BETA], real(s[_K])
        x, total = carray(pointer(x_place), count, real), carray(pointer(total_place), count, real)
        out = carray(pointer(out_place), count, real)
        for i in range(count):
            out[i] = x[i] / to_power(k + alpha * total[i], beta)

    return values


def _terms(dtype: str, power: float | None):
    real, to_power = getattr(numba, dtype), _to_power(dtype, power)

    @serial
    def first_terms(settings, x_place, grad_place, total_place, out_place, terms_place, count):
        s = carray(pointer(settings), len(RESPONSE_SETTINGS), numba.float64)
        alpha, beta, k = real(s[_ALPHA]), s[_BETA], real(s[_K])
        x, grad = carray(pointer(x_place), count, real), carray(pointer(grad_place), count, real)
        total, out = carray(pointer(total_place), count, real), carray(pointer(out_place), count, real)
        terms = carray(pointer(terms_place), count, real)
        for i in range(count):
            scale = k + alpha * total[i]
            scaled = grad[i] / to_power(scale, beta)
            out[i] = scaled
            terms[i] = scaled * x[i] / scale

    return first_terms


def _subtract(dtype: str):
    real = getattr(numba, dtype)

    @serial
    def subtract(x_place, total_place, factor, out_place, count):
        x, total = carray(pointer(x_place), count, real), carray(pointer(total_place), count, real)
        out = carray(pointer(out_place), count, real)
        for i in range(count):
            out[i] -= factor * x[i] * total[i]

    return subtract


KERNELS = {
    "local_response_norm_forward": forward_kernel,
    "local_response_norm_grad_input": grad_input_kernel,
}
