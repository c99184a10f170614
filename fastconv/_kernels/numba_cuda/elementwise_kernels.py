"""What becomes of one element in passes over whole arrays."""

from functools import cache

from fastconv._kernels.contract import MIX_FIRST, MIX_HIGH, MIX_SECOND
from fastconv._kernels.numba_cuda.quads import quad_kernel
from fastconv._kernels.numba_cuda.settings import FLOATS, inlined, uint32

_WORD = 0xFFFFFFFF


def _relu(zero):
    @inlined
    def relu(values, first, j, settings):
        return (zero if values[0] < zero else values[0],)

    return relu


def _relu_grad(zero):
    @inlined
    def relu_grad(values, first, j, settings):
        """The gradient passes where the output is not zero."""
        return (zero if values[1] == zero else values[0],)

    return relu_grad


def _add_relu(zero):
    @inlined
    def add_relu(values, first, j, settings):
        total = values[0] + values[1]
        return (zero if total < zero else total,)

    return add_relu


def _accumulate(zero):
    @inlined
    def accumulate(values, first, j, settings):
        return (values[1] + values[0],)

    return accumulate


# Operation -> what becomes of an element, and of how many arrays it is made.
PASSES = {
    "relu_forward": (_relu, 1),
    "relu_grad_input": (_relu_grad, 2),
    "add_relu_forward": (_add_relu, 2),
    "accumulate_": (_accumulate, 2),
}


@cache
def pass_kernel(op: str, dtype: str):
    """One array from others."""
    make, inputs = PASSES[op]
    return quad_kernel(dtype, make(FLOATS[dtype](0)), inputs, 1)


def _hardtanh(zero):
    @inlined
    def hardtanh(values, first, j, settings):
        low, high = settings
        least = low if values[0] < low else values[0]
        return (high if least > high else least,)

    return hardtanh


def _hardtanh_grad(zero):
    @inlined
    def hardtanh_grad(values, first, j, settings):
        """The gradient passes where the output is between the ends."""
        low, high = settings
        return (values[0] if values[1] > low and values[1] < high else zero,)

    return hardtanh_grad


# The same between two ends.
CUTS = {"hardtanh_forward": (_hardtanh, 1), "hardtanh_grad_input": (_hardtanh_grad, 2)}


@cache
def cut_kernel(op: str, dtype: str):
    """One array from others, and two numbers."""
    make, inputs = CUTS[op]
    return quad_kernel(dtype, make(FLOATS[dtype](0)), inputs, 1, (FLOATS[dtype],) * 2)


@cache
def dropout_kernel(dtype: str):
    """Whether an element stays is a hash of its position; contract.py has the hash and where it comes from."""
    zero = FLOATS[dtype](0)

    @inlined
    def drop(values, item, j, settings):
        threshold, seed_low, seed_high, scale = settings
        position = item + j
        low, high = uint32(position & _WORD), uint32(position >> 32)
        mixed = _mix(uint32(low ^ seed_low))
        mixed = _mix(uint32(mixed + uint32(seed_high + uint32(uint32(MIX_HIGH) * high))))
        return (zero if mixed < threshold else values[0] * scale,)

    return quad_kernel(dtype, drop, 1, 1, (uint32, uint32, uint32, FLOATS[dtype]))


@inlined
def _mix(h):
    h = uint32(h ^ (h >> uint32(16)))
    h = uint32(h * uint32(MIX_FIRST))
    h = uint32(h ^ (h >> uint32(15)))
    h = uint32(h * uint32(MIX_SECOND))
    return uint32(h ^ (h >> uint32(16)))
