"""The safetensors format: a JSON header that says where each tensor lies, then the bytes.

Writing goes through the package `safetensors`. Reading needs nothing but NumPy: the header is checked here, more
strictly than the package does, and the tensors are views of the mapped file.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from fastconv.errors import FormatError, UnsafeFileError, missing_extra
from fastconv.weights.atomic import atomic_write
from fastconv.weights.entries import (
    DTYPES,
    METADATA_NAME,
    as_arrays,
    as_texts,
    bool_error,
    check_is_file,
    name_error,
    shape_error,
    widened,
)

MAX_HEADER_BYTES = 1 << 24
_BFLOAT16 = "BF16"
_STORED = {**DTYPES, _BFLOAT16: np.dtype("<u2")}
_ENTRY_KEYS = {"dtype", "shape", "data_offsets"}


def save(state: Mapping[str, Any], path: str | os.PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write the named arrays to a safetensors file; see `fastconv.weights.save` for the errors."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise missing_extra("safetensors", "weights", "writing a .safetensors file") from error
    arrays, texts = as_arrays(state), as_texts(metadata)
    with atomic_write(path) as file:
        file.write(safetensors.numpy.save(arrays, texts or None))


def load(
    path: str | os.PathLike, max_header_bytes: int = MAX_HEADER_BYTES, writable: bool = False
) -> dict[str, np.ndarray]:
    """The tensors as views of the mapped file, read-only unless ``writable``; bfloat16 is copied, widened to float32.

    Writes stay in this process: a page of the file is copied when it is first written to.

    The views stay valid when the file is replaced or deleted, as `save` does, but not when another program shortens
    it in place.

    Raises FormatError when the header or a tensor is damaged, UnsafeFileError when the header is longer than
    `max_header_bytes`, OSError from the file system.
    """
    check_is_file(path)
    with open(path, "rb") as file:
        header, start = _read_header(file, path, max_header_bytes)
        content = np.memmap(file, np.uint8, "c" if writable else "r").view(np.ndarray)[start:]
    tensors = {}
    for name, entry in _checked_entries(header, content.size, path).items():
        begin, end = entry["data_offsets"]
        dtype, raw = _STORED[entry["dtype"]], content[begin:end]
        if reason := bool_error(raw, dtype):
            raise FormatError(f"{path}: tensor {name!r}: {reason}")
        values = raw.view(dtype).reshape(entry["shape"])
        tensors[name] = widened(values) if entry["dtype"] == _BFLOAT16 else values
    return tensors


def load_metadata(path: str | os.PathLike, max_header_bytes: int = MAX_HEADER_BYTES) -> dict[str, str]:
    """The texts under `__metadata__`; raises what `load` raises for a damaged header."""
    check_is_file(path)
    with open(path, "rb") as file:
        return _metadata_of(_read_header(file, path, max_header_bytes)[0], path)


def _read_header(file: BinaryIO, path: str | os.PathLike, max_header_bytes: int) -> tuple[dict[str, Any], int]:
    """The parsed header and the offset of the first tensor byte."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    if len(prefix) < 8:
        raise FormatError(f"{path}: truncated: {size} bytes hold no safetensors header")
    length = int.from_bytes(prefix, "little")
    if length > size - 8:
        raise FormatError(f"{path}: truncated or foreign: a header of {length} bytes in a file of {size}")
    if length > max_header_bytes:
        raise UnsafeFileError(
            f"{path}: the header has {length} bytes, above the limit of {max_header_bytes}; "
            "if you trust the file, pass a larger max_header_bytes="
        )
    text = file.read(length)
    if not text.startswith(b"{"):
        raise FormatError(f"{path}: not a safetensors file: the header does not begin with '{{'")
    return _parse(text, path), 8 + length


def _parse(text: bytes, path: str | os.PathLike) -> dict[str, Any]:
    try:
        header = json.loads(text.decode(), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: the header is not valid JSON ({error!s:.200})") from error
    _metadata_of(header, path)
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the key {name!r:.100} occurs twice")
        members[name] = value
    return members


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _metadata_of(header: dict[str, Any], path: str | os.PathLike) -> dict[str, str]:
    metadata = header.get(METADATA_NAME, {})
    if not isinstance(metadata, dict) or any(type(text) is not str for text in metadata.values()):
        raise FormatError(f"{path}: {METADATA_NAME} does not map texts to texts")
    return metadata


def _checked_entries(header: dict[str, Any], size: int, path: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """The entries of all tensors, once they are known to cover the `size` bytes of content without gap or overlap."""
    entries = {name: entry for name, entry in header.items() if name != METADATA_NAME}
    for name, entry in entries.items():
        if reason := name_error(name) or _entry_error(entry):
            raise FormatError(f"{path}: tensor {name!r:.100}: {reason}")
    expected = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        if begin != expected or end > size:
            raise FormatError(
                f"{path}: tensor {name!r:.100} lies at {begin}..{end}; expected was a start at {expected} "
                f"and an end within {size} bytes"
            )
        expected = end
    if expected != size:
        raise FormatError(f"{path}: the tensors cover {expected} of {size} bytes of content")
    return entries


def _entry_error(entry: Any) -> str:
    """Why an entry of the header is wrong in itself, or an empty string."""
    if not isinstance(entry, dict) or entry.keys() != _ENTRY_KEYS:
        return "the entry is not an object with dtype, shape and data_offsets"
    dtype = _STORED.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        given = entry["dtype"] if isinstance(entry["dtype"], str) else type(entry["dtype"]).__name__
        return f"dtype {given!r:.50} is not one of {', '.join(_STORED)}"
    if reason := shape_error(entry["shape"], dtype):
        return reason
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or any(type(offset) is not int for offset in offsets):
        return "data_offsets is not a pair of integers"
    needed = dtype.itemsize
    for extent in entry["shape"]:
        needed *= extent
    if offsets[0] < 0 or offsets[1] - offsets[0] != needed:
        return f"data_offsets {offsets[0]}..{offsets[1]} do not enclose the {needed} bytes of the shape"
    return ""
