"""Steps of the optimisers: everything is read and written once."""

import math
from functools import cache

from fastconv._kernels.contract import ADAM_SETTINGS, SGD_SETTINGS
from fastconv._kernels.numba_cuda.quads import quad_kernel
from fastconv._kernels.numba_cuda.settings import FLOATS, inlined


@cache
def sgd_kernel(dtype: str, with_momentum: bool):
    """(grad, parameter[, buffer]) -> (parameter[, buffer]): p -= lr * g, or with momentum p -= lr * b."""
    number, decayed = FLOATS[dtype], _decayed(FLOATS[dtype](0))
    lr_at, decay_at, keep_at, share_at, nesterov_at, begins_at = range(len(SGD_SETTINGS))

    @inlined
    def step(values, first, j, settings):
        parameter = values[1]
        grad = decayed(values[0], parameter, settings[decay_at])
        return (parameter - settings[lr_at] * grad,)

    @inlined
    def step_with_momentum(values, first, j, settings):
        parameter, buffer, keep = values[1], values[2], settings[keep_at]
        grad = decayed(values[0], parameter, settings[decay_at])
        buffer = grad if settings[begins_at] else buffer * keep + settings[share_at] * grad
        direction = grad + keep * buffer if settings[nesterov_at] else buffer
        return parameter - settings[lr_at] * direction, buffer

    kept = 2 if with_momentum else 1
    element = step_with_momentum if with_momentum else step
    return quad_kernel(dtype, element, 1 + kept, kept, (number,) * len(SGD_SETTINGS))


@cache
def adam_kernel(dtype: str, with_largest: bool):
    """(grad, parameter, mean, square[, largest]) -> all but the gradient.

    p -= step * mean / (sqrt(square) / root + eps); NaN stays the largest, wherever it comes from.
    """
    number, decayed = FLOATS[dtype], _decayed(FLOATS[dtype](0))
    step_at, decay_at, shrink_at, share_at, keep_at, new_at, root_at, eps_at = range(len(ADAM_SETTINGS))

    @inlined
    def moved(values, settings):
        """The parameter without what is decayed from it, and both running means."""
        parameter = values[1] * settings[shrink_at]
        grad = decayed(values[0], parameter, settings[decay_at])
        mean = values[2] + settings[share_at] * (grad - values[2])
        return parameter, mean, values[3] * settings[keep_at] + settings[new_at] * (grad * grad)

    @inlined
    def stepped(parameter, mean, square, settings):
        return parameter - settings[step_at] * (mean / (math.sqrt(square) / settings[root_at] + settings[eps_at]))

    @inlined
    def step(values, first, j, settings):
        parameter, mean, square = moved(values, settings)
        return stepped(parameter, mean, square, settings), mean, square

    @inlined
    def step_with_largest(values, first, j, settings):
        parameter, mean, square = moved(values, settings)
        largest = square if square > values[4] or square != square else values[4]
        return stepped(parameter, mean, largest, settings), mean, square, largest

    kept = 4 if with_largest else 3
    return quad_kernel(
        dtype, step_with_largest if with_largest else step, 1 + kept, kept, (number,) * len(ADAM_SETTINGS)
    )


def _decayed(zero):
    @inlined
    def decayed(grad, parameter, decay):
        """Without decay an infinite parameter must not make NaN."""
        return grad + decay * parameter if decay != zero else grad

    return decayed
