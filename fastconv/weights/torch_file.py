"""PyTorch's state dicts: a zip archive of one pickle, which is interpreted and never executed, and of storages.

Storages lie uncompressed in the archive and are mapped, not copied. The checksum of the pickle is compared; those of
mapped storages are not, which would read the whole file: `unzip -t` does.
"""

import math
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection
from typing import Literal

import numpy as np

from fastconv.errors import FormatError, UnsafeFileError
from fastconv.files import zip_archive
from fastconv.files.zip_archive import MAX_BYTES, MAX_RATIO
from fastconv.weights import torch_pickle
from fastconv.weights.entries import bool_error, check_is_file, name_error, shape_error, widened
from fastconv.weights.torch_pickle import BFLOAT16, DTYPES, TensorRecord

MAX_PICKLE_BYTES = 1 << 22
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_PICKLE = "data.pkl"
_ORDERS: dict[bytes, Literal["<", ">"]] = {b"little": "<", b"big": ">"}


def load(
    path: str | os.PathLike,
    max_bytes: int = MAX_BYTES,
    max_ratio: float = MAX_RATIO,
    max_pickle_bytes: int = MAX_PICKLE_BYTES,
    writable: bool = False,
) -> dict[str, np.ndarray]:
    """The tensors as views of the mapped file, with their strides; read-only unless ``writable``.

    Copied are bfloat16, widened to float32, compressed storages, those of another byte order, and, with ``writable``,
    tensors that share memory. Writes stay in this process. The views stay valid when the file is replaced or deleted,
    but not when another program shortens it in place.

    Raises FormatError when the file is damaged, of the format before torch 1.6, a TorchScript program or holds complex,
    quantised or 8-bit floats; UnsafeFileError above a limit (the archive's as for `.npz`, ``max_pickle_bytes`` of
    structure) and when the pickle asks for more than tensors and plain values; OSError from the file system.
    """
    with _opened(path, max_bytes, max_ratio) as archive:
        source = _Source(archive, path, writable)
        records, _ = torch_pickle.read(source.pickle(max_pickle_bytes), path)
        _check_records(records, path, max_ratio)
        users = Counter(record.storage.key for record in records.values())
        return {name: source.tensor(name, record, users) for name, record in records.items()}


def load_metadata(
    path: str | os.PathLike,
    max_bytes: int = MAX_BYTES,
    max_ratio: float = MAX_RATIO,
    max_pickle_bytes: int = MAX_PICKLE_BYTES,
) -> dict[str, str]:
    """Plain numbers and texts that lie beside the tensors, as texts; raises what `load` raises for the structure."""
    with _opened(path, max_bytes, max_ratio) as archive:
        return torch_pickle.read(_Source(archive, path, False).pickle(max_pickle_bytes), path)[1]


def _opened(path, max_bytes: int, max_ratio: float):
    check_is_file(path)
    with open(path, "rb") as file:
        if file.read(len(_LEGACY)) == _LEGACY:
            raise FormatError(
                f"{path}: written in torch's format before 1.6, which is not read: load it with torch and write it "
                "again with torch.save(state_dict, path), or as .safetensors"
            )
    return zip_archive.opened(path, max_bytes, max_ratio)


def _check_records(records: dict[str, TensorRecord], path: str | os.PathLike, max_ratio: float) -> None:
    """Refuse tensors by what the pickle says of them."""
    for name, record in records.items():
        dtype = DTYPES.get(record.dtype)
        reason = name_error(name)
        if dtype is None:
            reason = reason or f"dtype {record.dtype} is not one of {', '.join(DTYPES)}"
        elif not reason:
            reason = shape_error(record.shape, dtype)
        if reason:
            raise FormatError(f"{path}: tensor {name!r:.100}: {reason}")
    sizes = (math.prod(record.shape) * DTYPES[record.dtype].itemsize for record in records.values())
    zip_archive.check_expansion(sum(sizes), path, max_ratio)


class _Source:
    """The members of one archive, all in one folder; storages become arrays of bytes when they are first asked for."""

    def __init__(self, archive: zipfile.ZipFile, path: str | os.PathLike, writable: bool):
        self._archive, self._path, self._writable = archive, path, writable
        names = archive.namelist()
        pickles = [name for name in names if name == _PICKLE or name.endswith(f"/{_PICKLE}")]
        if len(pickles) != 1:
            raise FormatError(f"{path}: a zip archive, but not of torch.save: it has {len(pickles)} members {_PICKLE}")
        self._folder = pickles[0].removesuffix(_PICKLE)
        if f"{self._folder}constants.pkl" in names:
            raise FormatError(f"{path}: a TorchScript program, not a state dict: save module.state_dict() instead")
        with open(path, "rb") as file:
            self._content = np.memmap(file, np.uint8, "c" if writable else "r").view(np.ndarray)
            stored = [info for info in archive.infolist() if info.compress_type == zipfile.ZIP_STORED]
            self._places = {info.filename: zip_archive.place(file, info, path) for info in stored}
        _check_apart(self._places.values(), path)
        self._order = self._byte_order(names)
        self._storages: dict[str, np.ndarray] = {}

    def pickle(self, max_bytes: int) -> bytes:
        """The program that describes the tensors."""
        info = self._archive.getinfo(self._folder + _PICKLE)
        if info.file_size > max_bytes:
            raise UnsafeFileError(
                f"{self._path}: the pickle has {info.file_size} bytes, above the limit of {max_bytes}; "
                "if you trust the file, pass a larger max_pickle_bytes="
            )
        program = self._member(info.filename).tobytes()
        if info.CRC and zlib.crc32(program) != info.CRC:  # torch can be told to compute none
            raise FormatError(f"{self._path}: damaged: the checksum (CRC-32) of {info.filename} is wrong")
        return program

    def tensor(self, name: str, record: TensorRecord, users: Counter) -> np.ndarray:
        """The values that a record describes, in the machine's byte order."""
        where = f"{self._path}: tensor {name!r:.100}"
        raw, dtype = self._storage(record, where), DTYPES[record.dtype].newbyteorder(self._order)
        strides = [stride if extent > 1 else 1 for extent, stride in zip(record.shape, record.strides, strict=True)]
        reach = sum((extent - 1) * stride for extent, stride in zip(record.shape, strides, strict=True))
        if 0 in record.shape:
            return np.empty(record.shape, dtype.newbyteorder("="))
        if (record.offset + reach + 1) * dtype.itemsize > raw.size:
            raise FormatError(f"{where}: shape and strides reach beyond the storage of {raw.size} bytes")
        steps = [stride * dtype.itemsize for stride in strides]
        values: np.ndarray = np.ndarray(record.shape, dtype, raw, record.offset * dtype.itemsize, steps)
        if dtype.kind == "b" and (reason := bool_error(values.view(np.uint8), dtype)):
            raise FormatError(f"{where}: {reason}")
        if record.dtype == BFLOAT16:
            return widened(values)
        shared = self._writable and (users[record.storage.key] > 1 or 0 in steps)
        return values.copy() if shared else np.asarray(values, dtype.newbyteorder("="))

    def _storage(self, record: TensorRecord, where: str) -> np.ndarray:
        storage = record.storage
        raw = self._storages.get(storage.key)
        if raw is None:
            raw = self._storages[storage.key] = self._member(f"{self._folder}data/{storage.key}")
        if raw.size != storage.length * (DTYPES[storage.dtype].itemsize if storage.dtype else 1):
            raise FormatError(f"{where}: its storage has {raw.size} bytes, not {storage.length} elements")
        return raw

    def _member(self, name: str) -> np.ndarray:
        if place := self._places.get(name):
            return self._content[place.start : place.stop]
        if name in self._places:
            return np.empty(0, np.uint8)
        if name not in self._archive.NameToInfo:
            raise FormatError(f"{self._path}: the archive lacks {name!r:.100}")
        content = np.frombuffer(zip_archive.unpacked(self._archive, self._archive.getinfo(name), self._path), np.uint8)
        return content.copy() if self._writable else content

    def _byte_order(self, names: list[str]) -> Literal["<", ">"]:
        name = f"{self._folder}byteorder"
        order = self._member(name)[:10].tobytes() if name in names else b"little"
        if order not in _ORDERS:
            raise FormatError(f"{self._path}: the byte order is {order!r}, neither little nor big")
        return _ORDERS[order]


def _check_apart(places: Collection[range], path: str | os.PathLike) -> None:
    starts, stops = sorted(place.start for place in places), sorted(place.stop for place in places)
    if any(start < stop for start, stop in zip(starts[1:], stops, strict=False)):
        raise UnsafeFileError(f"{path}: members overlap")
