"""The npz format: a zip archive of `.npy` members, written and read without pickle.

The directory of the archive is checked before any member is opened, and each `.npy` header before memory is taken.
"""

import json
import math
import os
import tokenize
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

from fastconv.errors import FormatError, UnsafeFileError
from fastconv.files import zip_archive
from fastconv.files.zip_archive import MAX_BYTES, MAX_RATIO, escapes
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
)

_MAX_NPY_HEADER = 4096
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_HEADER_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError, OverflowError)


def save(state: Mapping[str, Any], path: str | os.PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write the named arrays to an uncompressed npz file; see `fastconv.weights.save` for the errors.

    Metadata becomes a member `__metadata__`: a uint8 array that holds JSON.
    """
    arrays, texts = as_arrays(state), as_texts(metadata)
    if escaping := [name for name in arrays if escapes(name)]:
        raise ValueError(f"cannot save: the tensor name {escaping[0]!r:.100} looks like a path out of the folder")
    if texts:
        arrays[METADATA_NAME] = np.frombuffer(json.dumps(texts).encode(), np.uint8)
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load(
    path: str | os.PathLike, max_bytes: int = MAX_BYTES, max_ratio: float = MAX_RATIO, writable: bool = True
) -> dict[str, np.ndarray]:
    """The arrays of an npz file, stored or deflated, as C-contiguous arrays in native byte order.

    They are copies, which can be written to whatever ``writable`` says.

    Raises FormatError when the archive or a member is damaged or is not a plain array, UnsafeFileError when it unpacks
    to more than `max_bytes`, or to more than 64 MiB and `max_ratio` times its own size, or when a member is a pickle,
    a link or a path out of the folder; OSError from the file system.
    """
    arrays = dict(_members(path, max_bytes, max_ratio))
    arrays.pop(METADATA_NAME, None)
    return arrays


def load_metadata(path: str | os.PathLike, max_bytes: int = MAX_BYTES, max_ratio: float = MAX_RATIO) -> dict[str, str]:
    """The texts that `save` stored; raises what `load` raises, and FormatError if they are no texts."""
    content = dict(_members(path, max_bytes, max_ratio, only=METADATA_NAME)).get(METADATA_NAME)
    try:
        texts = {} if content is None else json.loads(content.tobytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: the metadata is not valid JSON ({error!s:.200})") from error
    if not isinstance(texts, dict) or any(type(text) is not str for text in texts.values()):
        raise FormatError(f"{path}: the metadata does not map texts to texts")
    return texts


def _members(
    path: str | os.PathLike, max_bytes: int, max_ratio: float, only: str | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and array of the members, after the whole directory has been checked."""
    check_is_file(path)
    with zip_archive.opened(path, max_bytes, max_ratio, lambda name: _check_name(name, path)) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if only in (None, name):
                with archive.open(info) as member:
                    yield name, _read_array(member, info.file_size, f"{path}: member {info.filename!r}")


def _check_name(member: str, path: str | os.PathLike) -> None:
    name = member.removesuffix(".npy")
    if name == member:
        raise FormatError(f"{path}: member {member!r:.100} is not an array: its name does not end in .npy")
    if name != METADATA_NAME and (reason := name_error(name)):
        raise FormatError(f"{path}: {reason}")


def _read_array(member: IO[bytes], size: int, where: str) -> np.ndarray:
    """The array in one `.npy` member of `size` bytes."""
    shape, fortran, dtype = _read_header(member, where)
    little = dtype.newbyteorder("<")
    if dtype.hasobject:
        raise UnsafeFileError(f"{where}: holds Python objects, which only a pickle could restore; it is not read")
    if little not in DTYPES.values():
        raise FormatError(f"{where}: dtype {dtype!s:.50} is not one of {', '.join(d.name for d in DTYPES.values())}")
    if reason := shape_error(shape, dtype):
        raise FormatError(f"{where}: {reason}")
    stored = math.prod(shape) * dtype.itemsize
    if stored != size - member.tell():
        raise FormatError(
            f"{where}: truncated or overlong: shape {shape} needs {stored} bytes, {size - member.tell()} follow"
        )
    raw = np.empty(stored, np.uint8)
    filled = 0
    while filled < stored and (count := member.readinto(raw.data[filled:])):  # type: ignore[attr-defined]
        filled += count
    if filled < stored or member.read(1):
        raise FormatError(f"{where}: truncated: {filled} of {stored} bytes could be read")
    if reason := bool_error(raw, dtype):
        raise FormatError(f"{where}: {reason}")
    values = raw.view(dtype).reshape(shape[::-1] if fortran else shape)
    return np.asarray(values.T if fortran else values, dtype.newbyteorder("="), order="C")


def _read_header(member: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(member)
        if version not in _HEADER_READERS:
            raise ValueError(f"npy version {version} is not supported")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _HEADER_READERS[version](member, max_header_size=_MAX_NPY_HEADER)
    except (*_HEADER_ERRORS, *zip_archive.ERRORS) as error:
        raise FormatError(f"{where}: damaged npy header ({error!s:.200})") from error
