"""Normalisation across channels: a thread has one value, and reads those that its channel sees."""

from __future__ import annotations

import math
from functools import cache

from fastconv._kernels.numba_cuda.settings import FLOATS, address, compiled, cuda, inlined, int64, integers, types

# (values, C, pixels, channels before, channels behind)
_SIZES = 5


@cache
def forward_kernel(dtype: str):
    """x / (k + alpha * the sum of squares) ** beta"""
    scale_of = _scale(dtype)

    def local_response_norm(x, target, sizes, settings):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < sizes[0]:
            scale = scale_of(x, item, item // sizes[2] % sizes[1], sizes, settings)
            target[item] = x[item] / math.pow(scale, settings[1])

    return compiled(local_response_norm, *(address(FLOATS[dtype]),) * 2, integers(_SIZES), _settings(dtype))


@cache
def grad_input_kernel(dtype: str):
    """What others see of a channel is computed again for each of them: nothing is stored but the gradient."""
    zero, two, scale_of = FLOATS[dtype](0), FLOATS[dtype](2), _scale(dtype)

    def local_response_norm_grad(grad_out, x, target, sizes, settings):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < sizes[0]:
            c, seen, own = item // sizes[2] % sizes[1], zero, zero
            # Who sees a channel lies the other way round.
            other, last = max(c - sizes[4], 0), min(c + sizes[3], sizes[1] - 1)
            while other <= last:
                at = item + (other - c) * sizes[2]
                scale = scale_of(x, at, other, sizes, settings)
                scaled = grad_out[at] / math.pow(scale, settings[1])
                own = scaled if other == c else own
                seen += scaled * x[at] / scale
                other += 1
            target[item] = own - two * settings[0] * settings[1] * x[item] * seen

    return compiled(local_response_norm_grad, *(address(FLOATS[dtype]),) * 3, integers(_SIZES), _settings(dtype))


def _settings(dtype):
    return types.UniTuple(FLOATS[dtype], 3)


def _scale(dtype):
    zero = FLOATS[dtype](0)

    @inlined
    def scale_of(x, item, c, sizes, settings):
        """k + alpha * the sum of the squares that channel c of a value sees."""
        total = zero
        other, last = max(c - sizes[3], 0), min(c + sizes[4], sizes[1] - 1)
        while other <= last:
            value = x[item + (other - c) * sizes[2]]
            total += value * value
            other += 1
        return settings[2] + settings[0] * total

    return scale_of
