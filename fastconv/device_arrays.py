"""Arrays on a GPU: how they are recognised, made, and handed back as the kind that came in. Nothing is copied.

Inside, an array is one that answers NumPy's functions, as CuPy's do. Others, PyTorch's tensors and Numba's device
arrays among them, are shown as CuPy arrays of the same memory, through DLPack or ``__cuda_array_interface__``; DLPack
has both libraries' streams wait for each other.
"""

from __future__ import annotations

import contextlib
import re
import sys
from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.errors import BackendUnavailableError, DTypeError, missing_extra

# Devices: that of every array of NumPy, and the current one of GPUs; one by its number is "cuda:N".
HOST, GPU = "cpu", "cuda"

# Of DLPack: memory of a CUDA device, and memory that host and device share.
_CUDA_DEVICES = (2, 13)
_DEFAULT_STREAMS = (0, 1)
_DEVICE = re.compile(r"(cpu|cuda)(?::\d+)?")
_HERE = contextlib.nullcontext()


def named(target) -> str | None:
    """The device that a user asks for: HOST, GPU or one by its number.

    None for what names no device, such as a dtype; raises ValueError for one that cannot be.
    """
    text = str(target)
    if text.partition(":")[0] not in (HOST, GPU):
        return None
    if not (found := _DEVICE.fullmatch(text)):
        raise ValueError(f"expected 'cpu', 'cuda' or 'cuda:N', got {target!r}")
    return HOST if found[1] == HOST else text


def beside(array) -> Any:
    """A ``with`` block in which all that is made or launched is on the device of an array."""
    return _HERE if type(array) is np.ndarray else array.device


def is_on_device(value) -> bool:
    """Whether an array of any library lies on a CUDA device."""
    if type(value) is np.ndarray or isinstance(value, type):
        return False
    try:
        if getattr(value, "__cuda_array_interface__", None) is not None:
            return True
    except Exception:  # of another library, about values that DLPack has: PyTorch's that ask for gradients
        pass
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack_device__"):
        return False
    try:
        return value.__dlpack_device__()[0] in _CUDA_DEVICES
    except Exception:  # of another library; that its values cannot be had either, it says when it is asked for them
        return False


def adopted(value) -> Any:
    """The same memory as an array that answers NumPy's functions; raises BackendUnavailableError without CuPy."""
    if _answers_numpy(value):
        return value
    cupy = _cupy(f"an array of type {type(value).__name__}")
    if not hasattr(value, "__dlpack__"):
        return cupy.asarray(value)
    try:
        return cupy.from_dlpack(value.detach() if hasattr(value, "detach") else value)
    except NotImplementedError as error:  # bfloat16 without ml_dtypes
        raise DTypeError(f"CuPy takes no array of dtype {getattr(value, 'dtype', 'unknown')}: {error}") from None


def checked(device: str) -> str:
    """A device that ``named`` found, with the number of its GPU; raises BackendUnavailableError without such a one."""
    if device == HOST:
        return HOST
    if missing := _kernels.reason(GPU):
        raise BackendUnavailableError(f"device {device!r} cannot be used: {missing}")
    runtime = _cupy(f"device {device!r}").cuda.runtime
    number, count = device.partition(":")[2], runtime.getDeviceCount()
    if number and int(number) >= count:
        raise BackendUnavailableError(
            f"device {device!r} cannot be used: GPUs are counted from 0, and there are {count}"
        )
    return f"{GPU}:{int(number) if number else runtime.getDevice()}"


def uploaded(array, device: str) -> Any:
    """A copy, in C order, on a ``checked`` GPU; raises MemoryError with bytes and shape where it has no room.

    From another GPU, what computes the array is waited for, and then the copy: the queues know nothing of each other.
    """
    cupy, is_on_gpu = sys.modules["cupy"], type(array) is not np.ndarray
    if is_on_gpu:
        with beside(array):
            wait()
    with cupy.cuda.Device(int(device.partition(":")[2])), _told_of_memory(array.shape, array.dtype):
        copy = cupy.array(array, order="C")
        if is_on_gpu:
            wait()
        return copy


def downloaded(array) -> np.ndarray:
    """A copy of a device array in the memory of the host, in C order; waits for what computes it."""
    return array.get()


def wait() -> None:
    """Return when all that is queued on the current stream of the current GPU is done."""
    _cupy("waiting for a GPU").cuda.get_current_stream().synchronize()


def queue_of(array) -> int:
    """The stream on which work for an array is queued now: a number of the library's; 0 is the default one."""
    cupy = sys.modules.get("cupy")
    return 0 if cupy is None or type(array) is np.ndarray else cupy.cuda.get_current_stream().ptr


def returned(results, given: tuple):
    """Results, an array or a tuple of arrays, as the kind of the first device array that was given."""
    first = next((value for value in given if is_on_device(value)), None)
    if first is None or _answers_numpy(first):
        return results
    if isinstance(results, tuple):
        return tuple(_as_kind(first, result) for result in results)
    return _as_kind(first, results)


def empty(shape: tuple[int, ...], dtype: np.dtype, near) -> Any:
    """An uninitialised array in C order beside another one; raises MemoryError with bytes and shape."""
    with beside(near), _told_of_memory(shape, dtype):
        # CuPy takes a shape without axes for none, and then has that of ``near``.
        made = np.empty_like(near, dtype=dtype, order="C", shape=shape or (1,))
        return made if shape else made.reshape(shape)


@contextlib.contextmanager
def _told_of_memory(shape, dtype):
    try:
        yield
    except MemoryError as error:
        nbytes = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        message = f"an array of shape {shape} and dtype {np.dtype(dtype)} takes {nbytes:,} bytes of device memory"
        raise MemoryError(f"{message}: {error}") from None


def _answers_numpy(value) -> bool:
    return hasattr(value, "__array_function__") and hasattr(value, "__cuda_array_interface__")


def _as_kind(first, array):
    if hasattr(first, "__cuda_ndarray__"):  # Numba's mark of its own
        numba_cuda = sys.modules["numba.cuda"]
        # Numba's own calls go to the default stream, which waits for no other one that does not wait for it.
        return numba_cuda.as_cuda_array(array, sync=_cupy("it").cuda.get_current_stream().ptr not in _DEFAULT_STREAMS)
    from_dlpack = getattr(sys.modules[type(first).__module__.split(".")[0]], "from_dlpack", None)
    return array if from_dlpack is None else from_dlpack(array)


def _cupy(purpose):
    try:
        import cupy
    except ImportError:
        raise missing_extra("cupy", "cuda13", purpose) from None
    return cupy
