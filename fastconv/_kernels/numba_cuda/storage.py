"""How numbers lie in memory: as they are, or, of half types, in words of 16 bits.

Words are widened on their way into registers. Sums, shared memory and what one kernel leaves for the next are float32
then, and a result is rounded once, where it is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from fastconv._kernels.numba_cuda.settings import FLOATS, SIMULATED, WORDS, address, inlined, uint16, uint32
from fastconv._kernels.numba_cuda.vectors import load4, store4

if SIMULATED:
    import numpy as np

    def _half_to_float(word):
        return np.float32(np.uint16(word).view(np.float16))

    def _float_to_half(value):
        with np.errstate(over="ignore"):
            return np.float16(value).view(np.uint16)

    def _bits_to_float(bits):
        return np.uint32(bits).view(np.float32)

    def _float_to_bits(value):
        return int(np.float32(value).view(np.uint32))

else:
    from fastconv._kernels.numba_cuda.storage_intrinsics import (
        bits_to_float,
        float_to_bits,
        float_to_half,
        half_to_float,
    )

    _half_to_float, _float_to_half = half_to_float, float_to_half
    _bits_to_float, _float_to_bits = bits_to_float, float_to_bits


class Storage(NamedTuple):
    """The type of an array's address, and ``get(array, index)``, ``put(array, index, value)`` of numbers in it.

    ``get4`` and ``put4`` move four neighbours, in one access.
    """

    address: Any
    get: Callable
    put: Callable
    get4: Callable
    put4: Callable


@cache
def stored(dtype: str) -> Storage:
    """How numbers of a dtype lie in arrays of users."""
    if dtype not in WORDS:
        return Storage(address(FLOATS[dtype]), _get, _put, load4, store4)
    return _in_words(*_CONVERSIONS[dtype])


def wide(dtype: str) -> str:
    """The dtype of sums, and of what one kernel leaves for the next."""
    return WORDS.get(dtype, dtype)


@inlined
def _get(array, index):
    return array[index]


@inlined
def _put(array, index, value):
    array[index] = value


@inlined
def _half_widened(word):
    return _half_to_float(word)


@inlined
def _half_narrowed(value):
    return _float_to_half(value)


@inlined
def _bfloat_widened(word):
    """The upper half of a float32."""
    return _bits_to_float(uint32(word) << uint32(16))


@inlined
def _bfloat_narrowed(value):
    """To the nearest, of two the even one; NaN stays NaN, whatever bits it has."""
    bits = uint32(_float_to_bits(value))
    upper = bits >> uint32(16)
    if value != value:
        return uint16(upper | uint32(0x40))
    return uint16((bits + uint32(0x7FFF) + (upper & uint32(1))) >> uint32(16))


_CONVERSIONS = {"float16": (_half_widened, _half_narrowed), "bfloat16": (_bfloat_widened, _bfloat_narrowed)}


def _in_words(widened, narrowed):
    @inlined
    def get(array, index):
        return widened(array[index])

    @inlined
    def put(array, index, value):
        array[index] = narrowed(value)

    @inlined
    def get4(array, index):
        words = load4(array, index)
        return widened(words[0]), widened(words[1]), widened(words[2]), widened(words[3])

    @inlined
    def put4(array, index, values):
        v0, v1, v2, v3 = values
        store4(array, index, (narrowed(v0), narrowed(v1), narrowed(v2), narrowed(v3)))

    return Storage(address(uint16), get, put, get4, put4)
