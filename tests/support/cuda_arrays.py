"""Arrays on a device that does not exist: the simulator's kernels find their elements in the host's memory."""

import numpy as np

from support.data import Aligned, Fenced
from support.false_cupy import Device


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


def _kept(result):
    """Results of NumPy's functions stay on the device, those without axes, too."""
    return np.asarray(result).view(DeviceArray) if isinstance(result, (np.ndarray, np.generic)) else result


def on_device(array) -> DeviceArray:
    """A copy on the device, in the same memory format."""
    return np.array(array, order="K", copy=True).view(DeviceArray)


class DeviceFenced(Fenced):
    """Guard bands around a device array, whose elements no vectors may begin with."""

    def _memory(self, count, dtype):
        return super()._memory(count, dtype).view(DeviceArray)


class DeviceAligned(Aligned):
    """The same around one that vectors may begin with."""

    def _memory(self, count, dtype):
        return super()._memory(count, dtype).view(DeviceArray)
