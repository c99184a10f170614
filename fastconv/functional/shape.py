"""Operations that move no value or only select some: reshape, flatten, permute, transpose, index, cast."""

import math

import numpy as np

from fastconv import arrays, backends, device_arrays, dtypes, parameters
from fastconv.autograd import Function, unwrap
from fastconv.errors import ShapeError


def reshape(x, *shape):
    """The same values in another shape; one extent may be −1. Raises ShapeError where the sizes differ."""
    return Reshape.apply(x, tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)


def flatten(x, start_dim=0, end_dim=-1):
    """Merge the axes from ``start_dim`` to ``end_dim`` into one.

    >>> import numpy as np
    >>> flatten(np.ones((2, 3, 4)), 1).shape
    (2, 12)
    """
    shape = arrays.as_array(unwrap(x), "input", anywhere=True).shape
    first, last = checked_axis("start_dim", start_dim, len(shape)), checked_axis("end_dim", end_dim, len(shape))
    if first > last:
        raise ShapeError(f"start_dim {start_dim} comes after end_dim {end_dim}")
    return Reshape.apply(x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def permute(x, *dims):
    """The axes in another order, a view; each stands once in ``dims``, which may be one tuple. Raises ShapeError.

    >>> import numpy as np
    >>> permute(np.ones((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return Permute.apply(x, tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims)


def transpose(x, dim0, dim1):
    """Two axes exchanged, a view. Raises IndexError for one that is not there.

    >>> import numpy as np
    >>> transpose(np.ones((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    ndim = arrays.as_array(unwrap(x), "input", anywhere=True).ndim
    first, second = checked_axis("dim0", dim0, ndim), checked_axis("dim1", dim1, ndim)
    dims = list(range(ndim))
    if ndim:
        dims[first], dims[second] = second, first
    return Permute.apply(x, tuple(dims))


def getitem(x, index):
    """x[index] with NumPy's rules."""
    return GetItem.apply(x, _Index(index))


def cast(x, dtype):
    """The same values in another dtype; raises TypeError for what names none."""
    return Cast.apply(x, dtypes.named(dtype))


class Reshape(Function):
    """The gradient takes the shape of the input."""

    @staticmethod
    def forward(ctx, x, shape):
        x = arrays.as_array(x, "input", anywhere=True)
        ctx.shape = x.shape
        try:
            out = x.reshape(tuple(parameters.integer("shape", extent) for extent in shape))
        except ValueError:
            raise ShapeError(f"shape {tuple(shape)} is invalid for input of shape {x.shape}") from None
        if not np.may_share_memory(x, out):
            backends.filled(_copy_in_order, (x,), out)
        return out

    @staticmethod
    def backward(ctx, grad):
        return grad.reshape(ctx.shape), None


class Permute(Function):
    """The gradient has its axes back."""

    @staticmethod
    def forward(ctx, x, dims):
        x = arrays.as_array(x, "input", anywhere=True)
        order = tuple(checked_axis("dims", dim, x.ndim) for dim in dims)
        if sorted(order) != list(range(x.ndim)):
            raise ShapeError(f"dims must name each of the {x.ndim} axes of input once, got {dims}")
        ctx.back = tuple(order.index(axis) for axis in range(x.ndim))
        return x.transpose(order)

    @staticmethod
    def backward(ctx, grad):
        return grad.transpose(ctx.back), None


def _copy_in_order(source, target):
    np.copyto(target.reshape(source.shape), source)


class _Index:
    """Keeps an index from being taken for a tuple of operands; Tensors inside count as their values."""

    def __init__(self, index):
        items = index if isinstance(index, tuple) else (index,)
        # Copies: backward must see the positions that forward took.
        plain = tuple(_copied(unwrap(item)) for item in items)
        self.value = plain if isinstance(index, tuple) else plain[0]

    def check(self, x) -> None:
        """Raise DeviceError where positions are on a GPU and the values are not, or on another one."""
        for item in self.value if isinstance(self.value, tuple) else (self.value,):
            if device_arrays.is_on_device(item):
                arrays.common_device(input=x, index=item)


def _copied(item):
    if device_arrays.is_on_device(item):
        item = device_arrays.adopted(item)
        with device_arrays.beside(item):
            return item.copy()
    return np.array(item) if hasattr(item, "__array__") else item


class GetItem(Function):
    """The gradient goes back to where the values came from, summed where one was taken twice."""

    @staticmethod
    def forward(ctx, x, index):
        x = arrays.as_array(x, "input", anywhere=True)
        index.check(x)
        ctx.shape, ctx.index = x.shape, index.value
        return x[index.value]

    @staticmethod
    def backward(ctx, grad):
        grad_input = arrays.zeros(ctx.shape, grad.dtype, near=grad)
        np.add.at(grad_input, ctx.index, grad)
        return grad_input, None


class Cast(Function):
    """The gradient returns to the input's dtype."""

    @staticmethod
    def forward(ctx, x, dtype):
        x = arrays.as_array(x, "input", anywhere=True)
        ctx.dtype = x.dtype
        return x.astype(dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad.astype(ctx.dtype), None


def checked_axis(name, value, ndim):
    """An axis counted from the first; raises IndexError for one that is not there."""
    axis = parameters.integer(name, value)
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise IndexError(f"{name} {axis} is out of range for {ndim} axes")
    return axis % max(ndim, 1)
