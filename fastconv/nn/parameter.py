"""Parameter: a Tensor that a Module owns and an optimiser changes."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, dtypes
from fastconv.autograd import Tensor, Version, tensor, unwrap
from fastconv.nn import init


class Parameter(Tensor):
    """A leaf Tensor with its own copy of the data, found by ``Module.parameters`` once it is a module's attribute.

    NumPy only ever sees its memory read-only, whether or not it requires gradients; writes go through ``copy_``, item
    assignment (both inside ``no_grad``), the optimiser and loading, so that each of them is counted. Raises DTypeError
    for integers that are to require gradients.

    >>> weight = Parameter([[1.0, 2.0]])
    >>> weight.requires_grad, weight.numpy().flags.writeable
    (True, False)
    """

    __slots__ = ()

    def __init__(self, data, requires_grad: bool = True):
        super().__init__(unwrap(tensor(data)), requires_grad, version=Version(guarded=True))

    @classmethod
    def undrawn(cls, shape: tuple[int, ...], storage: np.dtype) -> Parameter:
        """A parameter whose values are to be written next; within ``init.skipped()`` it holds no memory for them."""
        made = cls.__new__(cls)
        values = np.broadcast_to(storage.type(), shape) if init.is_skipped() else arrays.empty(shape, storage)
        Tensor.__init__(made, values, True, version=Version(guarded=True))
        return made

    def cast_(self, dtype: np.dtype) -> Parameter:
        """Change the dtype of the values and of the gradient, in this very object."""
        self._array = arrays.copied(self._array, dtype)
        self.bump_version()
        if self.grad is not None:
            self.grad = self.grad.detach().to(dtype)
        return self

    def place_(self, values: Tensor, grad: Tensor | None) -> Parameter:
        """Hold these values and this gradient from now on, copies of its own on some device, in this very object."""
        self.grad = grad
        self.hold_(unwrap(values))
        return self

    def __deepcopy__(self, memo: dict) -> Parameter:
        copied = memo[id(self)] = Parameter(self, self.requires_grad)
        return copied

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def float_storage(dtype, halves: bool = False) -> np.dtype:
    """The dtype to create parameters in, float32 for None; raises DTypeError where kernels do not compute in it.

    ``halves`` are for parameters on a GPU.
    """
    return dtypes.float_type(dtypes.named(np.float32 if dtype is None else dtype), "the parameter", halves).storage
