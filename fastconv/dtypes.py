"""The one table of dtypes that kernels compute in: storage, accumulator, rounding."""

from dataclasses import dataclass

import numpy as np

from fastconv.errors import DTypeError


@dataclass(frozen=True, slots=True)
class FloatType:
    """A dtype that kernels support.

    ``accumulator`` is the type the reference sums in; ``unit_roundoff`` is u = 2^-p, half the
    distance between 1 and the next number.
    """

    name: str
    storage: np.dtype
    accumulator: np.dtype
    unit_roundoff: float


FLOAT_TYPES = {
    "float32": FloatType("float32", np.dtype(np.float32), np.dtype(np.float64), 2.0**-24),
    "float64": FloatType("float64", np.dtype(np.float64), np.dtype(np.longdouble), 2.0**-53),
}
_BY_STORAGE = {entry.storage: entry for entry in FLOAT_TYPES.values()}
NATIVE = frozenset(_BY_STORAGE)
SUPPORTED = " and ".join(FLOAT_TYPES)


def is_supported(dtype: np.dtype) -> bool:
    """Whether kernels compute in this (native byte order) dtype."""
    return dtype in _BY_STORAGE


def float_type(dtype: np.dtype, name: str) -> FloatType:
    """The table's row for a dtype; raises DTypeError that names the argument and what is supported."""
    found = _BY_STORAGE.get(dtype)
    if found is None:
        raise DTypeError(f"{name} has dtype {dtype}; supported are {SUPPORTED}")
    return found


def common_float_type(**arrays: np.ndarray) -> FloatType:
    """The one dtype that all named arrays share; raises DTypeError where they differ or are unsupported."""
    (first_name, first), *others = arrays.items()
    expected = float_type(first.dtype, first_name)
    for name, array in others:
        if array.dtype != expected.storage:
            float_type(array.dtype, name)
            raise DTypeError(
                f"mixed dtypes: {first_name} is {expected.name} but {name} is {array.dtype}; "
                f"convert one of them, as in {name}.astype({expected.name!r})"
            )
    return expected
