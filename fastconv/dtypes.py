"""The one table of dtypes that kernels compute in: storage, accumulator, rounding.

Half types are storage alone: of arrays on a GPU, which some kernels widen to float32 on their way in. NumPy has no
bfloat16; that of ``ml_dtypes`` is meant, which nothing here imports before it is asked for by name.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from fastconv.errors import DTypeError, missing_extra


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
# Half types, with their unit roundoff.
HALVES = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
_BY_STORAGE = {entry.storage: entry for entry in FLOAT_TYPES.values()}
NATIVE = frozenset(_BY_STORAGE)
SUPPORTED = " and ".join(FLOAT_TYPES)
_HALVES_ARE_FOR = f"{' and '.join(HALVES)} are for convolution, max-pooling and rectifiers on a GPU"


def named(dtype) -> np.dtype:
    """The dtype that a user asks for; raises TypeError for what names none, and what it lacks for bfloat16."""
    try:
        return np.dtype(dtype)
    except TypeError:
        if not (isinstance(dtype, str) and dtype in HALVES):
            raise
    try:
        import ml_dtypes  # noqa: F401 - NumPy knows the name from then on
    except ImportError:
        raise missing_extra("ml_dtypes", "cuda13", f"dtype {dtype!r}") from None
    return np.dtype(dtype)


def is_half(dtype: np.dtype) -> bool:
    """Whether this (native byte order) dtype is a half type."""
    return dtype.itemsize == 2 and dtype.isnative and dtype.name in HALVES


def is_float(dtype: np.dtype) -> bool:
    """Whether values have gradients; of bfloat16 NumPy only knows that it is none of its own."""
    return dtype.kind == "f" or is_half(dtype)


def is_supported(dtype: np.dtype, halves: bool = False) -> bool:
    """Whether kernels compute in this (native byte order) dtype; those that take them in ``halves``, too."""
    return dtype in _BY_STORAGE or (halves and is_half(dtype))


def float_type(dtype: np.dtype, name: str, halves: bool = False) -> FloatType:
    """The table's row for a dtype; raises DTypeError that names the argument and what is supported.

    ``halves`` are supported, too, by some operations on a GPU.
    """
    found = _BY_STORAGE.get(dtype)
    if found is None:
        if halves and is_half(dtype):
            return _half_type(dtype)
        raise DTypeError(unsupported(dtype, name))
    return found


def unsupported(dtype: np.dtype, name: str, others: str = "") -> str:
    """What the DTypeError of an argument says, which may be of ``others``, too."""
    text = f"{name} has dtype {dtype}; supported are {SUPPORTED}{others}"
    return f"{text}; {_HALVES_ARE_FOR}" if is_half(dtype) else text


def common_float_type(halves: bool = False, /, **arrays: np.ndarray) -> FloatType:
    """The one dtype that all named arrays share; raises DTypeError where they differ or are unsupported."""
    (first_name, first), *others = arrays.items()
    expected = float_type(first.dtype, first_name, halves)
    for name, array in others:
        if array.dtype != expected.storage:
            float_type(array.dtype, name, halves)
            raise DTypeError(
                f"mixed dtypes: {first_name} is {expected.name} but {name} is {array.dtype}; "
                f"convert one of them, as in {name}.astype({expected.name!r})"
            )
    return expected


@cache
def _half_type(dtype: np.dtype) -> FloatType:
    return FloatType(dtype.name, dtype, np.dtype(np.float32), HALVES[dtype.name])
