"""Logarithms of probabilities, the loss that they give, and both gradients.

The classes of a pixel are a step apart in memory. Where pixels are neighbours, each has a thread of its own; where
classes are, LANES threads take turns at those of a pixel and add up what they have as a tree.
"""

import math
from functools import cache

from fastconv._kernels.numba_cuda.launch import THREADS
from fastconv._kernels.numba_cuda.settings import FLOATS, address, compiled, cuda, inlined, int64, integers, types

LANES = 32
_wide = types.float64


@inlined
def _larger(a, b):
    return b if b > a else a


@inlined
def _sum(a, b):
    return a + b


def _exchange(lanes):
    """The elements of shared memory that a block needs for ``_combined``."""
    return THREADS if lanes > 1 else 1


@cache
def _combined(lanes, combine):
    """What all lanes of a pixel have, combined, for each of them; every thread of a block must come here."""

    @inlined
    def of_one(value, shared):
        return value

    @inlined
    def of_lanes(value, shared):
        thread = cuda.threadIdx.x
        lane, apart = thread % lanes, lanes // 2
        cuda.syncthreads()  # whoever has not yet read what was here last
        shared[thread] = value
        cuda.syncthreads()
        while apart > 0:
            if lane < apart:
                shared[thread] = combine(shared[thread], shared[thread + apart])
            cuda.syncthreads()
            apart //= 2
        return shared[thread - lane]

    return of_lanes if lanes > 1 else of_one


@cache
def _own(lanes):
    @inlined
    def own(sizes):
        """(pixel, lane, the place of its first class, how many classes there are: none behind the last pixel)."""
        C, pixels, count = sizes
        thread = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        pixel = thread // lanes
        return pixel, thread % lanes, pixel // pixels * C * pixels + pixel % pixels, C if pixel < count else 0

    return own


@cache
def _moments(dtype, lanes):
    """The largest value and the logarithm of the sum of exp(x - largest), in double: most terms are small beside 1.

    Where all are NaN the largest is -inf; the sum is NaN then, too.
    """
    largest_of, total_of = _combined(lanes, _larger), _combined(lanes, _sum)
    number, lowest = FLOATS[dtype], FLOATS[dtype](float("-inf"))

    @inlined
    def moments(x, first, lane, C, step, shared):
        largest, c = lowest, lane
        while c < C:
            value = x[first + c * step]
            largest = value if value > largest else largest
            c += lanes
        largest = number(largest_of(_wide(largest), shared))
        total, c = 0.0, lane
        while c < C:
            total += math.exp(x[first + c * step] - largest)
            c += lanes
        total = total_of(total, shared)
        return largest, number(math.log(total)) if C else largest

    return moments


@cache
def log_softmax_kernel(dtype: str, lanes: int):
    """x - largest - log(sum(exp(x - largest))): no exponential overflows."""
    own, moments, exchanged = _own(lanes), _moments(dtype, lanes), _exchange(lanes)

    def log_softmax(x, out, sizes):
        shared = cuda.shared.array(exchanged, _wide)
        _, lane, first, C = own(sizes)
        step, c = sizes[1], lane
        largest, log_sum = moments(x, first, lane, C, step, shared)
        while c < C:
            out[first + c * step] = x[first + c * step] - largest - log_sum
            c += lanes

    operand = address(FLOATS[dtype])
    return compiled(log_softmax, operand, operand, integers(3))


@cache
def log_softmax_grad_kernel(dtype: str, lanes: int):
    """grad - softmax * sum(grad)."""
    own, total_of, number = _own(lanes), _combined(lanes, _sum), FLOATS[dtype]
    exchanged = _exchange(lanes)

    def log_softmax_grad(grad_out, out, grad_input, sizes):
        shared = cuda.shared.array(exchanged, _wide)
        _, lane, first, C = own(sizes)
        step, total, c = sizes[1], 0.0, lane
        while c < C:
            total += grad_out[first + c * step]
            c += lanes
        total, c = number(total_of(total, shared)), lane
        while c < C:
            at = first + c * step
            grad_input[at] = grad_out[at] - math.exp(out[at]) * total
            c += lanes

    operand = address(FLOATS[dtype])
    return compiled(log_softmax_grad, operand, operand, operand, integers(3))


@cache
def cross_entropy_kernel(dtype: str, lanes: int):
    """The logarithms, and the loss of every pixel; 0 times an infinite logarithm is nothing."""
    own, moments, total_of, number = _own(lanes), _moments(dtype, lanes), _combined(lanes, _sum), FLOATS[dtype]
    exchanged = _exchange(lanes)

    def cross_entropy(x, target, class_weight, out, losses, sizes, smoothing):
        shared = cuda.shared.array(exchanged, _wide)
        pixel, lane, first, C = own(sizes)
        step, c, loss = sizes[1], lane, 0.0
        largest, log_sum = moments(x, first, lane, C, step, shared)
        label = target[pixel] if C else -1
        counts, smoothed = 0 <= label < C, smoothing / sizes[0]
        while c < C:
            value = x[first + c * step] - largest - log_sum
            out[first + c * step] = value
            if counts and (c == label or smoothing != 0):
                share = (smoothed + (1 - smoothing if c == label else 0.0)) * class_weight[c]
                if share != 0:
                    loss -= share * value
            c += lanes
        loss = total_of(loss, shared)
        if lane == 0 and C:
            losses[pixel] = number(loss)

    operand = address(number)
    return compiled(cross_entropy, operand, address(int64), operand, operand, operand, integers(3), types.float64)


@cache
def cross_entropy_grad_kernel(dtype: str, lanes: int):
    """(softmax * shares of all classes - share) * grad of the loss, where the pixel counts."""
    own, total_of, number = _own(lanes), _combined(lanes, _sum), FLOATS[dtype]
    zero, exchanged = FLOATS[dtype](0), _exchange(lanes)

    def cross_entropy_grad(grad_losses, out, target, class_weight, grad_input, sizes, smoothing):
        shared = cuda.shared.array(exchanged, _wide)
        pixel, lane, first, C = own(sizes)
        step, c, weights = sizes[1], lane, 0.0
        while smoothing != 0 and c < C:
            weights += class_weight[c]
            c += lanes
        weights, c, smoothed = total_of(weights, shared), lane, smoothing / sizes[0]
        label, shares, grad = -1, zero, zero
        if C:
            label, grad = target[pixel], grad_losses[pixel]
        counts = 0 <= label < C
        if counts:
            shares = number((1 - smoothing) * class_weight[label] + smoothed * weights)
        while c < C:
            at, value = first + c * step, zero
            if counts:
                share = number((smoothed + (1 - smoothing if c == label else 0.0)) * class_weight[c])
                value = (math.exp(out[at]) * shares - share) * grad
            grad_input[at] = value
            c += lanes

    operand = address(number)
    return compiled(cross_entropy_grad, operand, operand, address(int64), operand, operand, integers(3), types.float64)
