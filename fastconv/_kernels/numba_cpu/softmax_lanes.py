"""Sums over classes in lanes: of SOFTMAX_LANES pixels or, where there is a single one, of as many of its classes."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import pointer
from fastconv._kernels.numba_cpu.elementwise_arguments import SOFTMAX_LANES
from fastconv._kernels.numba_cpu.exponential import exponential
from fastconv._kernels.numba_cpu.settings import serial


@serial
def item_of(a, number):
    """Some pixels of one image: the first element in (N, C, pixels) and in (N, pixels), and how many there are."""
    runs = (a.pixels + SOFTMAX_LANES - 1) // SOFTMAX_LANES
    n, p = number // runs, number % runs * SOFTMAX_LANES
    return n * a.C * a.pixels + p, n * a.pixels + p, min(a.pixels - p, SOFTMAX_LANES)


@serial
def _rounds_of(a, count):
    """How an item is read: rounds of so many values, a step apart; some values more; how many lanes that takes."""
    if a.pixels == 1:
        rounds, rest = a.C // SOFTMAX_LANES, a.C % SOFTMAX_LANES
        return rounds, SOFTMAX_LANES, SOFTMAX_LANES, rest, SOFTMAX_LANES if rounds else rest
    return a.C, count, a.pixels, 0, count


def largest_of(dtype: str):
    """The largest value of every pixel, or -inf where all are NaN: the sum of exponentials is NaN then, too."""
    real, itemsize, lowest = getattr(numba, dtype), np.dtype(dtype).itemsize, np.dtype(dtype).type(-np.inf)

    @serial
    def compare_round(place, largest, count):
        x = carray(pointer(place), count, real)
        for j in range(count):
            largest[j] = x[j] if x[j] > largest[j] else largest[j]

    @serial
    def run(a, place, count, largest_place):
        rounds, lanes, step, rest, used = _rounds_of(a, count)
        largest = carray(pointer(largest_place), used, real)
        for j in range(used):
            largest[j] = lowest
        for number in range(rounds):
            compare_round(place + number * step * itemsize, largest, lanes)
        if rest:
            compare_round(place + rounds * step * itemsize, largest, rest)
        while a.pixels == 1 and used > 1:
            half = used // 2
            compare_round(largest_place + (used - half) * itemsize, largest, half)
            used -= half

    return run


def sums_of(dtype: str, is_row: bool, of_exponentials: bool):
    """The sum of every pixel, of exp(x - largest) or of x, in double: most exponentials are small beside 1."""
    real, itemsize, exp = getattr(numba, dtype), np.dtype(dtype).itemsize, exponential(dtype)

    @serial
    def add_round(place, largest, sums, count):
        x, shared = carray(pointer(place), count, real), largest[0]
        for j in range(count):
            if of_exponentials:
                sums[j] += exp(x[j] - (shared if is_row else largest[j]))
            else:
                sums[j] += x[j]

    @serial
    def run(a, place, count, largest, sums):
        rounds, lanes, step, rest, used = _rounds_of(a, count)
        for j in range(used):
            sums[j] = 0.0
        for number in range(rounds):
            add_round(place + number * step * itemsize, largest, sums, lanes)
        if rest:
            add_round(place + rounds * step * itemsize, largest, sums, rest)
        while is_row and used > 1:
            half = used // 2
            for j in range(half):
                sums[j] += sums[used - half + j]
            used -= half

    return run
