"""Elementwise passes: arrays of one shape in, one array of that shape out."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv.backends import KernelSet
from fastconv.functional.calls import Call, Calls
from fastconv.geometry import ElementsGeometry

_known: Calls[Call] = Calls()
# Elements that NumPy adds before a kernel would have begun.
_FEW = 1 << 14


def run(
    kernels: KernelSet, op: str, first: np.ndarray, *others: np.ndarray, settings: np.ndarray | None = None
) -> np.ndarray:
    """The result of one elementwise operation, in the memory format of its first array."""
    first, layout = arrays.dense_any(first)
    call = call_of(first)
    out = arrays.empty(first.shape, first.dtype, layout, near=first)
    if out.size:
        same = [arrays.to_format(array, layout) for array in others]
        told = () if settings is None else (settings,)
        kernels.run(call.task(op, (layout,) * (len(same) + 2)), first, *same, *told, out)
    return out


def accumulate_(target: np.ndarray, addend: np.ndarray, kernels: KernelSet | None = None) -> None:
    """target += addend, in place; a large dense target on all threads, or on its GPU. Every backend rounds a sum alike.

    ``kernels`` are those that forward recorded; where it ran none, those that would run now.
    """
    device = arrays.device_of(target)
    is_worth = target.size > _FEW if device == arrays.HOST else target.size > 0
    layout = arrays.memory_format(target) if is_worth and arrays.is_writeable(target) else None
    is_supported = dtypes.is_supported(target.dtype, halves=device != arrays.HOST)
    alike = is_supported and addend.dtype == target.dtype and addend.shape == target.shape
    if layout is None or not alike or np.may_share_memory(target, addend):
        np.add(target, addend, out=target)
    else:
        kernels = kernels or backends.select(device=device)
        kernels.run(call_of(target).task("accumulate_", ()), arrays.to_format(addend, layout), target)


def call_of(array: np.ndarray) -> Call:
    """The checked call of operations on all elements of an array; raises DTypeError."""
    is_on_host = type(array) is np.ndarray
    key = (array.shape, array.dtype, is_on_host)
    call = _known.get(key)
    if call is None:
        call = Call(ElementsGeometry(array.shape), dtypes.common_float_type(not is_on_host, input=array), True)
        _known.keep(key, [], call)
    return call
