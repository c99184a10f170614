"""What every weight format shares: which arrays and names may be stored, and which files may be read."""

import os
import stat
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastconv import arrays as gate
from fastconv.errors import DTypeError, FormatError

METADATA_NAME = "__metadata__"
DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_MAX_NAME = 1024
_MAX_RANK = 64
_MAX_ELEMENTS = 2**63 - 1


def name_error(name: Any) -> str:
    """Why a tensor cannot have this name, or an empty string if it can."""
    if not isinstance(name, str):
        return f"a tensor name is a {type(name).__name__}, not a str"
    if not 1 <= len(name) <= _MAX_NAME:
        return f"a tensor name has {len(name)} characters, allowed are 1 to {_MAX_NAME}"
    if name == METADATA_NAME:
        return f"the tensor name {name!r} is reserved"
    if not name.isprintable():
        return f"the tensor name {name!r:.100} has characters that cannot be printed"
    return ""


def shape_error(shape: Any, dtype: np.dtype) -> str:
    """Why an array cannot have this shape, or an empty string if it can."""
    if not isinstance(shape, (list, tuple)) or any(type(extent) is not int or extent < 0 for extent in shape):
        return "the shape is not a list of integers >= 0"
    if len(shape) > _MAX_RANK:
        return f"the shape has {len(shape)} axes, at most {_MAX_RANK} are supported"
    size = dtype.itemsize
    for extent in shape:
        size *= max(extent, 1)
        if size > _MAX_ELEMENTS:
            return "the shape overflows 63 bits"
    return ""


def bool_error(raw: np.ndarray, dtype: np.dtype) -> str:
    """Why these bytes are no booleans, or an empty string if they are, or need not be."""
    if dtype.kind == "b" and raw.size and int(raw.max()) > 1:
        return f"a boolean has the value {raw.max()}"
    return ""


def widened(bits: np.ndarray) -> np.ndarray:
    """The float32 values of bfloat16 bits, which are the upper halves of float32 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def as_arrays(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The values of a state dict as dense, little-endian arrays of a supported dtype, under checked names.

    Raises TypeError for what is no mapping, ValueError for a name that no format can hold, DTypeError for a dtype
    that none can.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"cannot save: expected a mapping from names to arrays, got a {type(state).__name__}")
    arrays = {}
    for name, value in state.items():
        if reason := name_error(name):
            raise ValueError(f"cannot save: {reason}")
        array = _on_host(value, name)
        dtype = array.dtype.newbyteorder("<")
        if dtype not in DTYPES.values():
            known = ", ".join(known.name for known in DTYPES.values())
            raise DTypeError(f"cannot save {name!r}: dtype {array.dtype} is not one of {known}")
        arrays[name] = np.asarray(array, dtype, order="C")
    return arrays


def _on_host(value: Any, name: str) -> np.ndarray:
    """The values, copied where they lie on a GPU."""
    if hasattr(value, "cpu"):  # a Tensor, of this package or of torch
        value = value.cpu()
    elif hasattr(value, "__cuda_array_interface__"):
        value = gate.moved(gate.as_array(value, name, anywhere=True), gate.HOST)
    return np.asarray(value if hasattr(value, "__array__") or not hasattr(value, "numpy") else value.numpy())


def as_texts(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """The metadata as a plain dict; raises TypeError unless it maps str to str, ValueError for lone surrogates."""
    texts = dict(metadata or {})
    for item in (*texts.keys(), *texts.values()):
        if not isinstance(item, str):
            raise TypeError(f"metadata must map str to str, got a {type(item).__name__}")
        item.encode()
    return texts


def check_is_file(path: str | os.PathLike) -> None:
    """Raise IsADirectoryError for a directory, FormatError for what is no regular file, OSError if it is absent."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{os.fsdecode(path)}: is a directory, not a weight file")
    if not stat.S_ISREG(mode):
        raise FormatError(f"{os.fsdecode(path)}: not a regular file")
