"""Arrays on a GPU, or on one that does not exist: the simulator's kernels find their elements in the host's memory."""

import contextlib
import os
import types

import numpy as np
import pytest

from fastconv import arrays
from fastconv._kernels import cuda_driver
from support import false_cupy
from support.data import Aligned, Fenced, in_format
from support.false_cupy import Device

# Where kernels run: on a GPU, or, with NUMBA_ENABLE_CUDASIM=1, in the simulator.
HAS_GPU = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") in ("", "0") and cuda_driver.missing() is None


class DeviceArray(np.ndarray):
    """What CuPy's arrays offer of NumPy's protocols; its device tells it from an array of the host."""

    device = Device(0)

    def __array_function__(self, function, types, given, options):
        return _kept(super().__array_function__(function, types, given, options))

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return array.view(DeviceArray)

    @property
    def __cuda_array_interface__(self):
        return dict(self.__array_interface__, version=3, stream=None)

    @property
    def data(self):
        """What CuPy says of where an array begins."""
        return types.SimpleNamespace(ptr=self.ctypes.data)


def _kept(result):
    """Results of NumPy's functions stay on the device, those without axes, too."""
    return np.asarray(result).view(DeviceArray) if isinstance(result, (np.ndarray, np.generic)) else result


def on_device(array) -> DeviceArray:
    """A copy on the device, in the same memory format."""
    return np.array(array, order="K", copy=True).view(DeviceArray)


@contextlib.contextmanager
def a_gpu():
    """The name of a GPU for arrays of CuPy, or of the last one of a false CuPy."""
    with pytest.MonkeyPatch.context() as patch:
        if not HAS_GPU:
            false_cupy.installed(patch)
        yield "cuda:0" if HAS_GPU else f"cuda:{false_cupy.GPUS - 1}"


class _Placed:
    """Guard bands around an array of a device."""

    def _placed(self, memory):
        return self._uploaded(memory) if HAS_GPU else memory.view(DeviceArray)

    def write(self, values):
        """What an output holds before."""
        self.array[...] = arrays.moved(values, "cuda:0") if HAS_GPU else values


class DeviceFenced(_Placed, Fenced):
    """One whose elements no vectors may begin with."""

    def _uploaded(self, memory):
        return arrays.moved(memory, "cuda:0")


class DeviceAligned(_Placed, Aligned):
    """One that vectors may begin with: arrays of a GPU begin with a line, guard bands so many elements behind it."""

    def _uploaded(self, memory):
        ahead = self.lead(memory.dtype, 0)
        return arrays.moved(np.append(np.zeros(ahead, memory.dtype), memory), "cuda:0")[ahead:]


class DeviceBare:
    """What ``DeviceFenced`` is for a tool that watches every access: memory of its own, and nothing beside it."""

    def __init__(self, shape, dtype, wanted=arrays.CONTIGUOUS, values=None):
        values = np.zeros(shape, dtype) if values is None else np.asarray(values, dtype)
        self.array = arrays.moved(in_format(np.broadcast_to(values, shape), wanted), "cuda:0")

    def write(self, values):
        """What an output holds before."""
        self.array[...] = arrays.moved(values, "cuda:0")

    def check(self, message=""):
        """The tool has checked already."""

    check_unchanged = check


if os.environ.get("FASTCONV_TEST_BARE"):
    from cupy import cuda

    cuda.set_allocator(None)
    DeviceFenced = DeviceAligned = DeviceBare  # type: ignore[misc]
