"""Tensor: an array that the tape knows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastconv import arrays, device_arrays, dtypes
from fastconv.autograd.modes import is_grad_enabled
from fastconv.errors import DTypeError, ShapeError

_numbers = itertools.count(1)
# What Tensors hold besides.
_OTHERS = ", integers and bool"


class Version:
    """Counts the in-place writes to one piece of memory; shared by all Tensors that show it.

    NumPy never gets a writable view of ``guarded`` memory, so that no write to it goes uncounted. ``derived`` is room
    for what others compute from the values at some count; it lives as long as the memory is shown. ``Version.latest``
    is another number after every change to what is guarded, anywhere: a write, or whether it asks for gradients.
    """

    __slots__ = ("count", "derived", "guarded")
    latest: ClassVar[int] = 0

    def __init__(self, guarded: bool = False):
        self.count = 0
        self.guarded = guarded
        self.derived: dict = {}

    def tell(self) -> None:
        """Something of the memory has changed."""
        if self.guarded:
            # No number comes twice, whatever other threads tell meanwhile.
            Version.latest = next(_numbers)


class Tensor:
    """An array on the tape, made by ``fastconv.tensor`` and by operations; ``functional`` binds its operators."""

    __slots__ = ("__weakref__", "_array", "_node", "_output", "_requires_grad", "_version", "grad")
    # NumPy's operators hand over to ours instead of leaving the tape.
    __array_ufunc__ = None

    def __init__(self, array: np.ndarray, requires_grad: bool = False, *, version: Version | None = None):
        self._array = array
        self._requires_grad = False
        self._node: Any = None
        self._output = 0
        self._version = Version() if version is None else version
        self.grad: Tensor | None = None
        if requires_grad:
            self.requires_grad_(requires_grad)

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        """The NumPy dtype."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this Tensor are recorded; can be set on leaves."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def is_leaf(self) -> bool:
        """Whether a user made it, rather than an operation that was recorded."""
        return self._node is None

    @property
    def grad_fn(self):
        """The recorded call that made it, whose edges lead to what it was made of; None for a leaf."""
        return self._node

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch recording on or off for a leaf; raises DTypeError for integer Tensors."""
        if requires_grad and not dtypes.is_float(self.dtype):
            raise DTypeError(f"only floating-point Tensors can require gradients, this one is {self.dtype}")
        if not requires_grad and not self.is_leaf:
            raise RuntimeError("you can only change requires_grad flags of leaf variables; use detach()")
        self._requires_grad = bool(requires_grad)
        self._version.tell()
        return self

    @property
    def device(self) -> str:
        """Where the values lie: "cpu", or "cuda:" and the number of the GPU."""
        return arrays.device_of(self._array)

    def numpy(self) -> np.ndarray:
        """The values without a copy; read-only where gradients or a Parameter depend on them: such writes go unseen.

        Raises TypeError for a Tensor on a GPU, which ``cpu`` copies to the memory of the host.
        """
        if type(self._array) is not np.ndarray:
            raise TypeError(f"a Tensor on {self.device} has no NumPy array; copy it to the host first: Tensor.cpu()")
        if not self._requires_grad and not self._version.guarded:
            return self._array
        view = self._array.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype=None, copy=None):
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def detach(self) -> Tensor:
        """The same memory, off the tape."""
        return Tensor(self._array, version=self._version)

    def item(self):
        """The value of a one-element Tensor as a Python number."""
        return self._array.item()

    def tolist(self):
        """The values as nested lists."""
        return self._array.tolist()

    def numel(self) -> int:
        """The number of elements."""
        return self._array.size

    def copy_(self, source) -> Tensor:
        """Overwrite all values in place, with broadcasting; raises ShapeError where the shapes do not fit."""
        return self._write(..., source)

    def zero_(self) -> Tensor:
        """Overwrite all values with zeros in place."""
        return self._write(..., 0)

    def hold_(self, array: np.ndarray) -> Tensor:
        """Show this array from now on, without a copy; what showed the same memory as before goes on showing that."""
        self._array = array
        self.bump_version()
        return self

    def __setitem__(self, index, source) -> None:
        self._write(index, source)

    @property
    def version(self) -> int:
        """How many in-place writes to the memory have been counted."""
        return self._version.count

    def bump_version(self) -> None:
        """Tell the tape that the memory was written through another door."""
        self._version.count += 1
        self._version.tell()

    if TYPE_CHECKING:  # bound by autograd and functional, which need Tensor themselves

        def backward(self, gradient=None, *, retain_graph: bool = False) -> None: ...
        def reshape(self, *shape) -> Tensor: ...
        def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor: ...
        def sum(self, axis=None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis=None, keepdims: bool = False) -> Tensor: ...
        def argmax(self, axis=None) -> Tensor: ...
        def relu(self) -> Tensor: ...
        def permute(self, *dims) -> Tensor: ...
        def transpose(self, dim0: int, dim1: int) -> Tensor: ...
        @property
        def T(self) -> Tensor: ...
        def to(self, target, dtype=None) -> Tensor: ...
        def cuda(self, device: int | str | None = None) -> Tensor: ...
        def cpu(self) -> Tensor: ...
        def __getitem__(self, index) -> Tensor: ...
        def __add__(self, other) -> Tensor: ...
        def __radd__(self, other) -> Tensor: ...
        def __sub__(self, other) -> Tensor: ...
        def __rsub__(self, other) -> Tensor: ...
        def __mul__(self, other) -> Tensor: ...
        def __rmul__(self, other) -> Tensor: ...
        def __truediv__(self, other) -> Tensor: ...
        def __rtruediv__(self, other) -> Tensor: ...
        def __matmul__(self, other) -> Tensor: ...
        def __rmatmul__(self, other) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pow__(self, exponent) -> Tensor: ...
        def __lt__(self, other) -> Tensor: ...
        def __le__(self, other) -> Tensor: ...
        def __gt__(self, other) -> Tensor: ...
        def __ge__(self, other) -> Tensor: ...

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Tensor without axes")
        return self.shape[0]

    def __iter__(self):
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._array)

    def __float__(self) -> float:
        return float(self._array)

    def __int__(self) -> int:
        return int(self._array)

    def __index__(self) -> int:
        return self._array.__index__()

    def __format__(self, specification: str) -> str:
        return (
            format(self.item(), specification) if specification and not self.shape else format(str(self), specification)
        )

    def __hash__(self) -> int:
        return id(self)

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("only Tensors that are leaves of the tape can be copied deeply; use detach()")
        copied = memo[id(self)] = Tensor(self._array.copy(order="K"), self._requires_grad)
        return copied

    def __reduce__(self):
        raise TypeError("Tensors are not pickled; save their .numpy() or a state_dict with fastconv.weights")

    def __repr__(self) -> str:
        values = np.array2string(arrays.moved(self._array, arrays.HOST), separator=", ", prefix="tensor(")
        suffix = f", node={self._node}" if self._node else ", requires_grad=True" if self._requires_grad else ""
        place = "" if self.device == arrays.HOST else f", device={self.device!r}"
        return f"tensor({values}, dtype={self.dtype}{place}{suffix})"

    def _write(self, index, source) -> Tensor:
        if self._requires_grad and is_grad_enabled():
            kind = "a leaf" if self.is_leaf else "a recorded"
            raise RuntimeError(
                f"{kind} Tensor that requires grad is being used in an in-place operation; use no_grad()"
            )
        is_number = isinstance(source, (bool, int, float, np.generic))
        source = np.array(source) if isinstance(source, list) else unwrap(source)
        values = source
        if not is_number:
            values = arrays.moved(arrays.as_array(source, "source", anywhere=True), self.device)
        if isinstance(values, np.complexfloating) or (not is_number and values.dtype.kind == "c"):
            raise DTypeError(f"complex values cannot be written to a Tensor of {self.dtype}")
        try:
            with device_arrays.beside(self._array):
                self._array[unwrap(index)] = values
        except ValueError as error:
            raise ShapeError(
                f"cannot write values of shape {np.shape(values)} to shape {self.shape}: {error}"
            ) from None
        self.bump_version()
        return self


def tensor(data, dtype=None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of the data; lists and numbers become float32 unless ``dtype`` says otherwise.

    >>> tensor([[1, 2], [3, 4]]).dtype
    dtype('float32')
    """
    if isinstance(data, (list, tuple, int, float)) and not isinstance(data, bool):
        items = [unwrap(item) for item in data] if isinstance(data, (list, tuple)) else data
        array = arrays.as_array(np.array(items), "data")
        if array.dtype.kind == "c":
            raise DTypeError(dtypes.unsupported(array.dtype, "data", _OTHERS))
        # From the items again: NumPy refuses numbers that do not fit, where a cast would wrap them around.
        array = np.array(items, dtype=np.float32 if dtype is None else dtype)
    else:
        array = arrays.as_array(unwrap(data), "data", anywhere=True)
    wanted = array.dtype if dtype is None else dtypes.named(dtype)
    if wanted.kind not in "biu" and not dtypes.is_supported(wanted, halves=arrays.device_of(array) != arrays.HOST):
        raise DTypeError(dtypes.unsupported(wanted, "data", _OTHERS))
    return Tensor(arrays.copied(array, wanted), requires_grad)


def unwrap(value):
    """The array of a Tensor; anything else as it is."""
    if isinstance(value, Tensor):
        return value._array
    return tuple(map(unwrap, value)) if isinstance(value, tuple) else value
