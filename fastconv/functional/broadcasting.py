"""What the elementwise operations share: operands that may be numbers, and the way back from a broadcast."""

import numbers

import numpy as np

from fastconv import arrays
from fastconv.errors import ShapeError


def operands(**named) -> list:
    """Arrays through the gate, Python numbers as they are (they take the dtype of the other operand)."""
    values: list = [
        value if isinstance(value, (numbers.Number, np.generic)) else arrays.as_array(value, name)
        for name, value in named.items()
    ]
    try:
        np.broadcast_shapes(*map(np.shape, values))
    except ValueError:
        raise ShapeError(f"shapes {' and '.join(str(np.shape(v)) for v in values)} cannot be broadcast") from None
    return values


def reduce_to(grad: np.ndarray, like) -> np.ndarray | None:
    """Sum a gradient over the axes along which ``like`` was broadcast, in the dtype of ``like``."""
    if not isinstance(like, np.ndarray):
        return None
    shape = like.shape
    extra = grad.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        axis + extra for axis, size in enumerate(shape) if size == 1 and grad.shape[axis + extra] != 1
    )
    reduced = grad.sum(axis=axes, keepdims=True).reshape(shape) if axes else grad
    return np.asarray(reduced, like.dtype)
