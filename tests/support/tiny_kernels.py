"""Small native functions that compile in a moment, for tests of the compiler and its cache."""

import ctypes

import numpy as np

from fastconv._kernels.numba_cpu.compiler import NativeFunction


def _build_scale(factor, _salt):
    from numba import carray, int64

    from fastconv._kernels.numba_cpu.addresses import pointer

    def scale(context, lo, hi, slot):
        values = carray(pointer(context), hi, int64)
        for i in range(lo, hi):
            values[i] = values[i] * factor + slot

    return scale


def _build_allocating(_salt):
    import numpy as np

    def allocating(context, lo, hi, slot):
        total = np.empty(hi + slot)
        total[lo] = context

    return allocating


def _build_add_to(_salt):
    from numba import carray, int64

    from fastconv._kernels.numba_cpu.addresses import pointer

    def add_to(target, value):
        carray(pointer(target), 1, int64)[0] += value

    return add_to


def _build_calling(_salt):
    """context: the address of ``add_to``, then the number that it adds to."""
    from numba import carray, int64

    from fastconv._kernels.numba_cpu.addresses import call, pointer

    def calling(context, lo, hi, slot):
        words = carray(pointer(context), 2, int64)
        for i in range(lo, hi):
            call(words[0], context + 8, i)

    return calling


def scale(factor=3, salt=0):
    """values[i] = factor * values[i] + slot; ``salt`` makes one more kernel of it."""
    return NativeFunction(_build_scale, (factor, salt))


def allocating(salt=0):
    """Does what a kernel must not do."""
    return NativeFunction(_build_allocating, (salt,))


def add_to(salt=0):
    """*target += value."""
    return NativeFunction(_build_add_to, (salt,), arguments=2)


def calling(salt=0):
    """Calls ``add_to`` by its address for lo .. hi - 1."""
    return NativeFunction(_build_calling, (salt,))


def scaled(function, slot=0):
    """What ``scale`` makes of 0, 1, 2, 3."""
    values = np.arange(4)
    invoke(function, values, 0, 4, slot)
    return values.tolist()


def invoke(function, context, *arguments):
    """Call a native function directly."""
    words = (context.ctypes.data, *arguments)
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(words))(function.address)(*words)
