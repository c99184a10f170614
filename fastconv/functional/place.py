"""Where the values lie, and in which dtype: what ``Tensor.to``, ``cuda`` and ``cpu`` do."""

from fastconv import arrays, device_arrays
from fastconv.autograd import Function, Tensor
from fastconv.functional.shape import cast


def to(x, target, dtype=None):
    """The same values on the device "cpu", "cuda" or "cuda:N", in a dtype, or, with both given, both.

    ``x`` itself where it is on that device. Raises BackendUnavailableError for a GPU that is not there, MemoryError,
    ValueError, TypeError.

    >>> import numpy as np
    >>> to(to(np.ones(2), "cpu"), np.float32).dtype
    dtype('float32')
    """
    device = device_arrays.named(target)
    if device is None:
        if dtype is not None:
            raise TypeError(f"expected a device and a dtype, got {target!r} and {dtype!r}")
        return cast(x, target)
    x = x if dtype is None else cast(x, dtype)
    if isinstance(x, Tensor) and x.device == device_arrays.checked(device):
        return x
    return Move.apply(x, device)


def cuda(x, device=None):
    """The same values on the current GPU, or on that of a number or name."""
    if isinstance(device, int) and not isinstance(device, bool):
        return to(x, f"{device_arrays.GPU}:{device}")
    return to(x, device_arrays.GPU if device is None else device)


def cpu(x):
    """The same values in the memory of the host."""
    return to(x, arrays.HOST)


class Move(Function):
    """The gradient goes back to where the input lies."""

    @staticmethod
    def forward(ctx, x, device):
        x = arrays.as_array(x, "input", anywhere=True)
        ctx.device = arrays.device_of(x)
        return arrays.moved(x, device)

    @staticmethod
    def backward(ctx, grad):
        return arrays.moved(grad, ctx.device), None
