"""The one gate through which user arrays enter, and the memory formats of four-dimensional arrays.

The public shape is always (N, C, H, W). Two dense layouts are used inside, told apart by strides alone:
``CONTIGUOUS`` (NCHW) and ``CHANNELS_LAST`` (NHWC).
"""

from __future__ import annotations

import math
from contextvars import ContextVar

import numpy as np

from fastconv import device_arrays, dtypes, memory
from fastconv._kernels import buffers
from fastconv.device_arrays import HOST
from fastconv.errors import DeviceError, DTypeError
from fastconv.scopes import Scope

CONTIGUOUS = "contiguous"
CHANNELS_LAST = "channels_last"
FORMATS = (CONTIGUOUS, CHANNELS_LAST)

_TO_CHANNELS_LAST = (0, 2, 3, 1)
_FROM_CHANNELS_LAST = (0, 3, 1, 2)
# Below this size the check against the memory that is left costs more than it can save.
_CHECKED_BYTES = 1 << 26
_reads_nothing: ContextVar[bool] = ContextVar("fastconv_reads_nothing", default=False)


def as_array(value, name: str, *, anywhere: bool = False) -> np.ndarray:
    """A base-class NumPy array in native byte order, aligned; copied only where it must be.

    Accepts ndarrays, and CPU arrays of other libraries through ``__array__`` or DLPack; with ``anywhere`` those on a
    GPU, too, which stay there. Raises TypeError for lists, None, str and masked arrays, DTypeError for object, string
    and structured dtypes, DeviceError for an array on a GPU that is not the current one, or where the operation has no
    kernel for any.
    """
    if type(value) is not np.ndarray:
        if device_arrays.is_on_device(value):
            return _on_device(value, name, anywhere)
        value = _foreign(value, name)
    elif value.dtype in dtypes.NATIVE and value.flags.aligned:
        return value
    _check_numbers(value.dtype, name)
    if not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    return value if value.flags.aligned else value.copy(order="K")


def common_device(**given: np.ndarray) -> str:
    """The one device that all named arrays lie on; raises DeviceError where they do not."""
    (first_name, first), *others = given.items()
    for name, array in others:
        if device_of(array) != device_of(first):
            places = f"{first_name} is on device {device_of(first)} but {name} is on device {device_of(array)}"
            raise DeviceError(f"{places}; move one of them")
    return device_of(first)


def device_of(array: np.ndarray) -> str:
    """Where an array that has passed ``as_array`` lies: HOST, or "cuda:" and the number of the GPU."""
    return HOST if type(array) is np.ndarray else f"cuda:{int(array.device)}"


def moved(array: np.ndarray, device: str) -> np.ndarray:
    """The same values on a device, as ``device_arrays.named`` says it, in the same memory format.

    It is the same array where it lies there; else a copy, for which everything waits that has to.
    """
    device = device_arrays.checked(device)
    if device == device_of(array):
        return array
    array, layout = dense_any(array)
    rows = stored(array, layout)
    copy = device_arrays.downloaded(rows) if device == HOST else device_arrays.uploaded(rows, device)
    return copy.transpose(_FROM_CHANNELS_LAST) if layout == CHANNELS_LAST else copy


def may_share_memory(first: np.ndarray, second: np.ndarray) -> bool:
    """NumPy's, of arrays on whatever devices."""
    if type(first) is not type(second):
        return False
    return np.may_share_memory(first, second)


def address(dense: np.ndarray) -> tuple[str, int]:
    """Where the bytes of a dense array begin: its device, and the number there."""
    on_host = type(dense) is np.ndarray
    interface = dense.__array_interface__ if on_host else dense.__cuda_array_interface__  # type: ignore[attr-defined]
    return device_of(dense), interface["data"][0]


def is_writeable(array: np.ndarray) -> bool:
    """Whether NumPy would write to an array; on a GPU nothing is protected."""
    return getattr(array.flags, "writeable", True)


def plain(result) -> np.ndarray:
    """NumPy turns arrays without axes into numbers: an array again, of the device that it lies on."""
    return result if type(result) is np.ndarray or device_arrays.is_on_device(result) else np.asarray(result)


def unread() -> Scope:
    """Within this context no kernel reads anything: one value that stands for a whole array is left as it is."""
    return Scope(_reads_nothing, True)


def dense(array: np.ndarray) -> np.ndarray:
    """The same values in C order; copied only where they are not."""
    if array.flags.c_contiguous or (_reads_nothing.get() and not any(array.strides)):
        return array
    if type(array) is np.ndarray:
        check_memory(array.shape, array.dtype)
    # A method: NumPy's functions that make arrays make them in the memory of the host.
    with device_arrays.beside(array):
        return array.copy(order="C")


def dense_4d(array: np.ndarray) -> tuple[np.ndarray, str]:
    """A four-dimensional array in one of the two memory formats, and which; copied only where it is in neither."""
    found = memory_format(array)
    if found is not None:
        return array, found
    wanted = nearest_format(array)
    return to_format(array, wanted), wanted


def dense_any(array: np.ndarray) -> tuple[np.ndarray, str]:
    """``dense_4d`` where formats mean something, ``dense`` for any other number of axes."""
    return dense_4d(array) if array.ndim == 4 else (dense(array), CONTIGUOUS)


def memory_format(array: np.ndarray) -> str | None:
    """CONTIGUOUS, CHANNELS_LAST or None; an array that is both counts as contiguous."""
    if array.flags.c_contiguous:
        return CONTIGUOUS
    if array.ndim == 4 and array.transpose(_TO_CHANNELS_LAST).flags.c_contiguous:
        return CHANNELS_LAST
    return None


def nearest_format(array: np.ndarray) -> str:
    """The memory format that an array is in, or that its strides resemble, which torch keeps, too."""
    found = memory_format(array)
    if found is None and array.ndim == 4 and abs(array.strides[1]) < abs(array.strides[3]):
        found = CHANNELS_LAST
    return found or CONTIGUOUS


def to_format(array: np.ndarray, wanted: str) -> np.ndarray:
    """The same values in the wanted memory format; copied only where they are in another."""
    if wanted == CHANNELS_LAST:
        return dense(array.transpose(_TO_CHANNELS_LAST)).transpose(_FROM_CHANNELS_LAST)
    return dense(array)


def stored_axes(ndim: int, layout: str) -> tuple[int, ...]:
    """The axes of an array in some memory format in the order in which they lie in memory."""
    return _TO_CHANNELS_LAST if layout == CHANNELS_LAST else tuple(range(ndim))


def stored(array: np.ndarray, layout: str) -> np.ndarray:
    """A view in C order of an array in some memory format."""
    return array.transpose(_TO_CHANNELS_LAST) if layout == CHANNELS_LAST else array


def element_strides(shape: tuple[int, ...], wanted: str) -> tuple[int, int, int, int]:
    """Strides in elements, in (N, C, H, W) order, of a dense array of this shape and memory format."""
    _, C, H, W = shape
    return (C * H * W, 1, W * C, C) if wanted == CHANNELS_LAST else (C * H * W, H * W, W, 1)


def empty(shape: tuple[int, ...], dtype: np.dtype, wanted: str = CONTIGUOUS, *, near=None) -> np.ndarray:
    """An uninitialised array; raises MemoryError with bytes and shape before trying the impossible.

    It lies on the device of ``near``, an array, or in the memory of the host.
    """
    if near is not None and type(near) is not np.ndarray:
        return _empty_on_device(shape, dtype, wanted, near)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes >= _CHECKED_BYTES:
        check_memory(shape, dtype)
    if wanted == CHANNELS_LAST:
        N, C, H, W = shape
        return buffers.empty((N, H, W, C), dtype, nbytes).transpose(_FROM_CHANNELS_LAST)
    return buffers.empty(shape, dtype, nbytes)


def zeros(shape: tuple[int, ...], dtype: np.dtype, wanted: str = CONTIGUOUS, *, near=None) -> np.ndarray:
    """An array of zeros, where ``empty`` would lie; raises MemoryError as that does."""
    if near is not None and type(near) is not np.ndarray:
        made = _empty_on_device(shape, dtype, wanted, near)
        with device_arrays.beside(near):
            made[...] = 0
        return made
    check_memory(shape, dtype)
    if wanted == CHANNELS_LAST:
        N, C, H, W = shape
        return np.zeros((N, H, W, C), dtype).transpose(_FROM_CHANNELS_LAST)
    return np.zeros(shape, dtype)


def copied(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy with the strides' order kept; where it is large and dense it begins at a cache line."""
    found = memory_format(array)
    with device_arrays.beside(array):
        if found is None:
            return array.astype(dtype, order="K")
        copy = empty(array.shape, dtype, found, near=array)
        copy[...] = array
        return copy


def check_memory(shape: tuple[int, ...], dtype) -> int:
    """The bytes of an array; MemoryError where they exceed what the machine or its cgroup has left."""
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    if nbytes < _CHECKED_BYTES:
        return nbytes
    left = memory.available_bytes()
    if left is not None and nbytes > left and buffers.kept_bytes():
        buffers.clear()
        left = memory.available_bytes()
    if nbytes >= 2**63 or (left is not None and nbytes > left):
        known = "an unknown number" if left is None else f"{left:,}"
        raise MemoryError(
            f"an array of shape {shape} and dtype {np.dtype(dtype)} takes {nbytes:,} bytes; left are {known}"
        )
    return nbytes


def accumulate_(target: np.ndarray, addend, kernels=None) -> None:
    """target += addend, in place; NumPy needs no kernels for that."""
    with device_arrays.beside(target):
        np.add(target, addend, out=target)


def _empty_on_device(shape, dtype, wanted, near):
    if wanted == CHANNELS_LAST:
        N, C, H, W = shape
        return device_arrays.empty((N, H, W, C), dtype, near).transpose(_FROM_CHANNELS_LAST)
    return device_arrays.empty(shape, dtype, near)


def _on_device(value, name, anywhere):
    value = device_arrays.adopted(value)
    if not anywhere:
        raise DeviceError(
            f"{name} is on device {device_of(value)}; this operation computes in the memory of the host alone"
        )
    _check_numbers(value.dtype, name)
    return value


def _check_numbers(dtype, name):
    if dtype.kind not in "fiubc" and not dtypes.is_half(dtype):
        raise DTypeError(dtypes.unsupported(dtype, name))


def _foreign(value, name):
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost; pass {name}.filled(...)")
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if hasattr(value, "__array__"):
        return np.asarray(value.__array__())
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    raise TypeError(f"{name} must be an array or a Tensor, got {type(value).__name__}")
