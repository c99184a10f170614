"""What the elementwise operations share: operands that may be numbers, and the way back from a broadcast."""

import numbers

import numpy as np

from fastconv import arrays
from fastconv.errors import ShapeError

# What most operands are, and never on a GPU.
_ON_HOST = {np.ndarray, int, float, np.float32, np.float64}


def operands(**named) -> list:
    """Arrays through the gate, Python numbers as they are (they take the dtype of the other operand)."""
    values: list = [
        value if is_number(value) else arrays.as_array(value, name, anywhere=True) for name, value in named.items()
    ]
    if not set(map(type, values)) <= _ON_HOST:
        placed = {name: value for name, value in zip(named, values, strict=True) if not is_number(value)}
        if placed:
            arrays.common_device(**placed)
    shapes = [getattr(value, "shape", ()) for value in values]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"shapes {' and '.join(map(str, shapes))} cannot be broadcast") from None
    return values


def is_number(value) -> bool:
    """Whether an operand has no place of its own."""
    return isinstance(value, (numbers.Number, np.generic))


def reduce_to(grad: np.ndarray, like) -> np.ndarray | None:
    """Sum a gradient over the axes along which ``like`` was broadcast, in the dtype of ``like``."""
    if is_number(like):
        return None
    shape = like.shape
    extra = grad.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        axis + extra for axis, size in enumerate(shape) if size == 1 and grad.shape[axis + extra] != 1
    )
    reduced = grad.sum(axis=axes, keepdims=True).reshape(shape) if axes else grad
    return reduced.astype(like.dtype, copy=False)
