"""Concatenation."""

from __future__ import annotations

import math
from functools import cache
from itertools import accumulate, pairwise

from fastconv import arrays, backends, dtypes
from fastconv.autograd import Function
from fastconv.errors import DTypeError, ShapeError
from fastconv.functional.calls import Call, Calls
from fastconv.functional.shape import checked_axis
from fastconv.geometry import PartGeometry

_known: Calls[Call] = Calls()
# Values that NumPy copies before several kernels have begun, one for each part.
_FEW = 1 << 20


def cat(tensors, dim=0):
    """A tuple or list of arrays or Tensors, one behind the other along the axis ``dim``.

    All have one dtype and, but for that axis, one shape; the result has the memory format of the first. Raises
    TypeError, ValueError where there are none, IndexError for an axis that is not there, ShapeError, DTypeError and
    DeviceError where one does not fit to the first.

    >>> import numpy as np
    >>> cat((np.zeros((1, 2, 3, 3)), np.ones((1, 4, 3, 3))), 1).shape
    (1, 6, 3, 3)
    """
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(f"tensors must be a tuple or a list of arrays or Tensors, got {type(tensors).__name__}")
    if not tensors:
        raise ValueError("tensors must not be empty")
    return Cat.apply(dim, *tensors)


class Cat(Function):
    """The gradient of each is its part of grad."""

    @staticmethod
    def forward(ctx, dim, *parts):
        parts = tuple(arrays.as_array(part, f"tensors[{n}]", anywhere=True) for n, part in enumerate(parts))
        ctx.axis = axis = _axis(dim, parts)
        ctx.ends = tuple(accumulate((part.shape[axis] for part in parts), initial=0))
        shape = (*parts[0].shape[:axis], ctx.ends[-1], *parts[0].shape[axis + 1 :])
        layout = arrays.nearest_format(parts[0])
        out = arrays.empty(shape, parts[0].dtype, layout, near=parts[0])
        _fill(parts, axis, out, layout)
        return out

    @staticmethod
    def backward(ctx, grad):
        before = (slice(None),) * ctx.axis
        return None, *(grad[(*before, slice(*ends))] for ends in pairwise(ctx.ends))


def _fill(parts, axis, out, layout):
    """Many values by the kernels, on all threads, where they lie in memory as those of the result; others by NumPy."""
    at = arrays.stored_axes(out.ndim, layout).index(axis)
    stored = [arrays.stored(part, layout) for part in parts if part.size]
    is_worth = out.size > _FEW and dtypes.is_supported(out.dtype) and all(part.flags.c_contiguous for part in stored)
    if not is_worth:
        fill = _filling(axis)
        fill(*parts, out)
        backends.filled(fill, parts, out)
        return
    kernels, offset, target = backends.select(device=arrays.device_of(out)), 0, arrays.stored(out, layout)
    for part in stored:
        call = _call_of(part, at, target, offset)
        g = call.geometry
        task = call.task("copy_part", (arrays.CONTIGUOUS,) * 2)
        kernels.run(task, part.reshape(g.x_shape), target.reshape(g.out_shape))
        offset += g.width


def _call_of(part, axis, target, offset):
    key = (part.shape, part.dtype, axis, target.shape[axis], offset)
    call = _known.get(key)
    if call is None:
        rows, inner = math.prod(part.shape[:axis]), math.prod(part.shape[axis + 1 :])
        geometry = PartGeometry(rows, part.shape[axis] * inner, target.shape[axis] * inner, offset)
        call = Call(geometry, dtypes.common_float_type(input=part), True)
        _known.keep(key, [], call)
    return call


@cache
def _filling(axis):
    """What puts parts one behind the other along an axis."""
    before = (slice(None),) * axis

    def concatenate(*operands):
        *parts, out = operands
        end = 0
        for part in parts:
            begin, end = end, end + part.shape[axis]
            out[(*before, slice(begin, end))] = part

    return concatenate


def _axis(dim, parts):
    first, *others = parts
    if not first.ndim:
        raise ShapeError("tensors[0] has no axis along which anything could stand behind it")
    axis = checked_axis("dim", dim, first.ndim)
    for number, part in enumerate(others, 1):
        alike = part.ndim == first.ndim and all(
            n == m for place, (n, m) in enumerate(zip(part.shape, first.shape, strict=True)) if place != axis
        )
        if not alike:
            raise ShapeError(
                f"sizes of tensors must match except in dimension {axis}: "
                f"tensors[0] has shape {first.shape} but tensors[{number}] has shape {part.shape}"
            )
        if part.dtype != first.dtype:
            raise DTypeError(f"mixed dtypes: tensors[0] is {first.dtype} but tensors[{number}] is {part.dtype}")
        arrays.common_device(**{"tensors[0]": first, f"tensors[{number}]": part})
    return axis
