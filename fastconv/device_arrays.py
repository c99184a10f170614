"""Arrays on a GPU: how they are recognised, made, and handed back as the kind that came in. Nothing is copied.

Inside, an array is one that answers NumPy's functions, as CuPy's do. Others, PyTorch's tensors and Numba's device
arrays among them, are shown as CuPy arrays of the same memory, through DLPack or ``__cuda_array_interface__``; DLPack
has both libraries' streams wait for each other.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from fastconv.errors import DeviceError, missing_extra

# Of DLPack: memory of a CUDA device, and memory that host and device share.
_CUDA_DEVICES = (2, 13)
_DEFAULT_STREAMS = (0, 1)


def is_on_device(value) -> bool:
    """Whether an array of any library lies on a CUDA device."""
    if type(value) is np.ndarray or isinstance(value, type):
        return False
    if getattr(value, "__cuda_array_interface__", None) is not None:
        return True
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
    if hasattr(value, "__dlpack__"):
        return cupy.from_dlpack(value.detach() if hasattr(value, "detach") else value)
    return cupy.asarray(value)


def check_current(array, name: str) -> None:
    """Raise DeviceError for an array on another GPU than the current one, where CuPy makes arrays and kernels run."""
    cupy = sys.modules.get("cupy")
    current = array.device if cupy is None else cupy.cuda.Device()
    if int(array.device) != int(current):
        raise DeviceError(
            f"{name} is on device cuda:{int(array.device)}, but the current device is cuda:{int(current)}; "
            f"make the other one current: with cupy.cuda.Device({int(array.device)})"
        )


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
    try:
        return np.empty_like(near, dtype=dtype, order="C", shape=shape)
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
