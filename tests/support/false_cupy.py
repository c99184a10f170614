"""A CuPy for machines without a GPU: arrays of the host that refuse what CuPy's refuse.

They answer NumPy's protocols for the functions that CuPy 14 was seen to take, and never turn into NumPy arrays on their
own. Arrays are on a device of a number, on the current one when they are made.
"""

import collections
import contextlib
import sys
import types

import numpy as np
import pytest

GPUS = 2
# What the package calls; of ``like=``, CuPy takes that of ``arange`` but not that of ``ones`` and ``zeros``.
FUNCTIONS = {
    *("arange", "asarray", "broadcast_to", "clip", "concatenate", "copyto", "empty_like", "expand_dims"),
    *("may_share_memory", "ones_like", "where", "zeros_like"),
}
_OPERATORS = ("add", "sub", "mul", "truediv", "pow", "matmul", "iadd", "isub", "imul", "itruediv", "and", "or")
_REFLECTED = ("radd", "rsub", "rmul", "rtruediv", "rmatmul", "neg", "lt", "le", "gt", "ge", "eq", "ne")
_METHODS = ("argmax", "astype", "copy", "max", "mean", "sum")
# What only looks at the same memory otherwise needs no device.
_VIEWS = ("reshape", "swapaxes", "transpose")
_limits = {"bytes": None}
# How often each device was waited for.
waits = collections.Counter()


class Device:
    """The number of a GPU, and a block in which it is the current one."""

    current = 0

    def __init__(self, number=None):
        self._number = Device.current if number is None else int(number)

    def __int__(self):
        return self._number

    def __enter__(self):
        self._before, Device.current = Device.current, self._number
        return self

    def __exit__(self, *exc_info):
        Device.current = self._before


class ndarray:  # noqa: N801 - CuPy's name
    """An array of the host's memory that says it is on a device."""

    def __init__(self, values, device=None):
        self._values = values
        self._number = Device.current if device is None else device

    @property
    def device(self):
        """Where it is; what is computed elsewhere from it fails."""
        return Device(self._number)

    @property
    def flags(self):
        """Of contiguity alone."""
        return types.SimpleNamespace(c_contiguous=self._values.flags.c_contiguous)

    @property
    def __cuda_array_interface__(self):
        return dict(self._values.__array_interface__, version=3, stream=None)

    @property
    def T(self):
        """Transposed."""
        return self.transpose()

    @property
    def base(self):
        """What it is a view of."""
        return self._values.base

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method == "at":
            return ufunc.at(*map(_plain, inputs))
        if method != "__call__":
            return NotImplemented
        if any(isinstance(item, np.ndarray) and item.ndim for item in inputs):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        (out,) = kwargs.pop("out", (None,))
        result = computed(ufunc, *inputs, **kwargs)
        if out is None:
            return result
        out._values[...] = result._values
        return out

    def __array_function__(self, function, kinds, args, kwargs):
        if function.__name__ not in FUNCTIONS or any(kind is not ndarray for kind in kinds):
            return NotImplemented
        if "shape" in kwargs:
            _allocate(kwargs["shape"], kwargs.get("dtype", self.dtype))
            # One without axes counts as none.
            kwargs["shape"] = kwargs["shape"] or args[0].shape
        return computed(function, *args, **kwargs)

    def __getitem__(self, index):
        return ndarray(np.asarray(self._values[_plain(index)]), self._number)

    def __setitem__(self, index, source):
        if isinstance(source, np.ndarray):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        self._values[_plain(index)] = _plain(source)

    def __getattr__(self, name):
        if name in ("shape", "dtype", "ndim", "size", "strides", "nbytes", "item", "tolist"):
            return getattr(self._values, name)
        raise AttributeError(name)

    def __len__(self):
        return len(self._values)

    def __bool__(self):
        return bool(self._values)

    def __float__(self):
        return float(self._values)

    def __int__(self):
        return int(self._values)

    def get(self):
        """A copy for NumPy."""
        return self._values.copy()


@contextlib.contextmanager
def never_waiting():
    """A ``with`` block in which no value may be asked for: the host would wait until it is computed."""

    def refused(self, *args, **kwargs):
        raise AssertionError("waits for a GPU")

    names = "get", "item", "tolist", "__bool__", "__float__", "__int__"
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(ndarray, name, refused, raising=False)
        yield


def computed(function, *args, **kwargs):
    """The result of NumPy, on the current device, where everything must be."""
    for item in args if function is not np.may_share_memory else ():
        assert not isinstance(item, ndarray) or int(item.device) == Device.current, "computed on another device"
    result = function(*map(_plain, args), **kwargs)
    if function is np.may_share_memory:
        return result
    return tuple(map(ndarray, result)) if isinstance(result, tuple) else ndarray(np.asarray(result))


def _plain(item):
    if isinstance(item, (tuple, list)):
        return type(item)(map(_plain, item))
    return item._values if isinstance(item, ndarray) else item


def _allocate(shape, dtype):
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if _limits["bytes"] is not None and nbytes > _limits["bytes"]:
        raise MemoryError(f"Out of memory allocating {nbytes:,} bytes")


def _method(name):
    return lambda self, *args, **kwargs: computed(getattr(np.ndarray, name), self, *args, **kwargs)


def _view(name):
    return lambda self, *args: ndarray(getattr(self._values, name)(*args), self._number)


for _name in (*(f"__{name}__" for name in (*_OPERATORS, *_REFLECTED)), *_METHODS):
    setattr(ndarray, _name, _method(_name))
for _name in _VIEWS:
    setattr(ndarray, _name, _view(_name))
ndarray.__hash__ = None


def array(values, order="K"):
    """A copy on the current device, whichever the values are on."""
    assert order == "C"
    _allocate(values.shape, values.dtype)
    return ndarray(np.array(_plain(values), order="C"))


class Stream:
    """A queue, and a block in which it is the current one; who waits for it is counted."""

    current = None

    def __init__(self, ptr):
        self.ptr = ptr

    def __enter__(self):
        self._before, Stream.current = Stream.current, self

    def __exit__(self, *exc_info):
        Stream.current = self._before

    def synchronize(self):
        """Count it."""
        waits[Device.current] += 1


def installed(monkeypatch, most_bytes=None):
    """``import cupy`` finds this one, on a machine with a driver; ``most_bytes`` is the largest array that fits."""
    from fastconv._kernels import cuda_driver

    runtime = types.SimpleNamespace(getDeviceCount=lambda: GPUS, getDevice=lambda: Device.current)
    module = types.ModuleType("cupy")
    module.array, module.ndarray = array, ndarray
    module.cuda = types.SimpleNamespace(runtime=runtime, Device=Device)
    module.cuda.get_current_stream = lambda: Stream.current or Stream(0)
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(cuda_driver, "missing", lambda: None)
    monkeypatch.setitem(_limits, "bytes", most_bytes)
