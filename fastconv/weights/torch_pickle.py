"""What the pickle in a file of `torch.save` says: which tensors there are, and where in which storage they lie."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np

from fastconv.errors import FormatError
from fastconv.files.pickle_machine import Buildable, Constructor, Dialect, Machine, interpret

BFLOAT16 = "bfloat16"
# The dtypes that are read, by torch's names.
DTYPES = {
    **{name: np.dtype(name) for name in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "bool")},
    **{name: np.dtype(name) for name in ("uint64", "uint32", "uint16", "uint8")},
    BFLOAT16: np.dtype(np.uint16),
}
_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": BFLOAT16,
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    **{f"Q{name}": f"q{name.lower()}" for name in ("Int8", "UInt8", "Int32", "UInt4x2", "UInt2x4")},
}
_UNREADABLE = (
    *("complex32", "complex64", "complex128", "qint8", "quint8", "qint32", "quint4x2", "quint2x4"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
)
# Where a checkpoint keeps the state dict among other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class Storage:
    """Bytes that tensors are views of; ``dtype`` is a name, or None where each tensor has its own."""

    key: str
    dtype: str | None
    length: int


@dataclass(frozen=True)
class TensorRecord:
    """Where the elements of a tensor lie: offset and strides count elements."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple
    strides: tuple


class _Dictionary(dict, Buildable):
    """An OrderedDict; what a module hangs on it as attributes is of no use here."""


@dataclass(frozen=True)
class _Dtype:
    name: str | None


def _storage(reference: Any) -> Storage:
    match reference:
        case ("storage", _Dtype() as dtype, str() as key, _, int() as length) if type(length) is int and length >= 0:
            return Storage(key, dtype.name, length)
    raise FormatError("a reference is not to a storage of numbers")


def _tensor(machine: Machine, arguments: tuple) -> TensorRecord:
    return _record(arguments, None)


def _typed_tensor(machine: Machine, arguments: tuple) -> TensorRecord:
    if len(arguments) < 7 or type(arguments[6]) is not _Dtype:
        raise FormatError("a tensor is described by something else than storage, offset, size, strides and dtype")
    return _record(arguments, arguments[6].name)


def _record(arguments: tuple, dtype: str | None) -> TensorRecord:
    match arguments:
        case (Storage() as storage, int() as offset, tuple() as shape, tuple() as strides, *_):
            numbers = (offset, *shape, *strides)
            fits = len(shape) == len(strides) and all(type(number) is int and number >= 0 for number in numbers)
            given = dtype or storage.dtype
            if fits and given and None in (dtype, storage.dtype):
                return TensorRecord(storage, given, offset, shape, strides)
    raise FormatError("a tensor is described by something else than storage, offset, size and strides")


def _parameter(machine: Machine, arguments: tuple) -> Any:
    if not arguments:
        raise FormatError("a parameter has no values")
    return arguments[0]


def _ordered_dict(machine: Machine, arguments: tuple) -> _Dictionary:
    if arguments:
        raise FormatError("an OrderedDict is made with arguments")
    return _Dictionary()


def _size(machine: Machine, arguments: tuple) -> tuple:
    match arguments:
        case (tuple() as extents,):
            return extents
    raise FormatError("a size is not made of one tuple")


_STATE_DICT = Dialect(
    "a state dict",
    {
        "collections OrderedDict": Constructor(_ordered_dict),
        "torch Size": Constructor(_size),
        **{f"torch._utils {name}": Constructor(_tensor) for name in ("_rebuild_tensor", "_rebuild_tensor_v2")},
        "torch._utils _rebuild_tensor_v3": Constructor(_typed_tensor),
        "torch._utils _rebuild_parameter": Constructor(_parameter),
        "torch._utils _rebuild_parameter_with_state": Constructor(_parameter),
        **{f"torch {name}Storage": _Dtype(dtype) for name, dtype in _STORAGES.items()},
        "torch UntypedStorage": _Dtype(None),
        "torch.storage UntypedStorage": _Dtype(None),
        **{f"torch {name}": _Dtype(name) for name in (*DTYPES, *_UNREADABLE)},
    },
    keys=(str, bytes, int, float, bool, NoneType),
    persistent=_storage,
    remedy=": a state dict alone can be read, as torch.save(model.state_dict(), path) writes it",
)


def read(program: bytes, where: str | os.PathLike) -> tuple[dict[str, TensorRecord], dict[str, str]]:
    """The tensors of a state dict by name, and what else the file says in plain numbers and texts.

    A state dict may lie in a checkpoint under "state_dict", "model_state_dict" or "model"; the prefixes that
    DataParallel and torch.compile put before all names are taken away.

    Raises UnsafeFileError when the pickle asks for anything but tensors and plain values, of which nothing is
    executed, and FormatError when it is damaged or holds no tensors by name.
    """
    root = interpret(program, _STATE_DICT, where)
    if not isinstance(root, dict):
        raise FormatError(f"{where}: holds a {_kind(root)}, not a state dict: a dict from names to tensors")
    wrapped = (root[key] for key in _WRAPPERS if isinstance(root.get(key), dict))
    state = next((candidate for candidate in (root, *wrapped) if _tensors(candidate)), None)
    if state is None and root:
        raise FormatError(f"{where}: holds no tensors by name, nor a state dict under {', '.join(_WRAPPERS)}")
    return _without_prefixes(_tensors(state or {})), _texts(root) | _texts(state or {})


def _tensors(state: Mapping[Any, Any]) -> dict[str, TensorRecord]:
    return {name: value for name, value in state.items() if type(name) is str and type(value) is TensorRecord}


def _without_prefixes(tensors: dict[str, TensorRecord]) -> dict[str, TensorRecord]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): record for name, record in tensors.items()}
    return tensors


def _texts(state: Mapping[Any, Any]) -> dict[str, str]:
    plain = (str, bool, int, float)
    return {name: str(value) for name, value in state.items() if type(name) is str and type(value) in plain}


def _kind(value: Any) -> str:
    return "tensor" if type(value) is TensorRecord else type(value).__name__
