"""Reading HDF5 files of somebody else: plain groups and plain arrays of numbers, everything else is refused."""

import contextlib
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv.errors import FormatError, UnsafeFileError
from fastconv.files import zip_archive

_MAX_DEPTH = 16
_MAX_OBJECTS = 100_000
_MAX_ATTRIBUTE_BYTES = 1 << 24
_MAX_PARTS = 10_000
# Deflate, shuffle, Fletcher's checksum, n-bit and scale-offset: what HDF5 brings along.
_FILTERS = frozenset({1, 2, 3, 5, 6})
_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, AttributeError, IndexError)


class Reader:
    """The groups, attributes and arrays of one open file, within limits."""

    def __init__(self, file: Any, path: str | os.PathLike, max_bytes: int, max_ratio: float):
        import h5py

        self._h5py, self._file, self.path = h5py, file, path
        self._max_bytes, self._max_ratio = max_bytes, max_ratio
        self._total = self._objects = 0

    @classmethod
    @contextlib.contextmanager
    def opened(cls, source: Any, path: str | os.PathLike, max_bytes: int, max_ratio: float) -> Iterator["Reader"]:
        """A reader of an open file, for the length of the block; whatever HDF5 says in it becomes a FormatError."""
        import h5py

        try:
            with h5py.File(source, "r") as file:
                yield cls(file, path, max_bytes, max_ratio)
        except FormatError:
            raise
        except _ERRORS as error:
            raise FormatError(f"{path}: a damaged HDF5 file ({error!s:.200})") from error

    def group(self, name: str) -> Any:
        """The root, ``"/"``."""
        return self._file[name]

    def names(self, group: Any) -> list[str]:
        """What a group has, in the order of its index."""
        if not isinstance(group, self._h5py.Group):
            raise FormatError(f"{self.path}: {group.name!r:.100} is not a group")
        if len(group) > _MAX_OBJECTS:
            raise UnsafeFileError(f"{self.path}: {group.name!r:.100} has more than {_MAX_OBJECTS} members")
        return list(group)

    def child(self, group: Any, name: str) -> Any:
        """The group or array of a name right below; raises UnsafeFileError for a link elsewhere."""
        self._objects += 1
        if self._objects > _MAX_OBJECTS:
            raise UnsafeFileError(f"{self.path}: more than {_MAX_OBJECTS} groups and arrays, or some in a circle")
        link = None if name in ("", ".", "..") or "/" in name else group.get(name, getlink=True)
        if link is None:
            raise FormatError(f"{self.path}: {group.name!r:.100} lacks {name!r:.100}")
        if type(link) is not self._h5py.HardLink:
            raise UnsafeFileError(f"{self.path}: {name!r:.100} in {group.name!r:.100} is a soft or external link")
        return group[name]

    def is_group(self, group: Any, name: str) -> bool:
        """Whether the child of that name is a group."""
        return isinstance(self.child(group, name), self._h5py.Group)

    def deeper(self, depth: int) -> int:
        """One more than ``depth``; raises UnsafeFileError where groups lie too deep in each other."""
        if depth >= _MAX_DEPTH:
            raise UnsafeFileError(f"{self.path}: groups lie more than {_MAX_DEPTH} deep in each other")
        return depth + 1

    def text(self, group: Any, name: str) -> str | None:
        """An attribute that is one text, or None where there is none."""
        value = self._attribute(group, name)
        return None if value is None else self._decoded(value, name)

    def texts(self, group: Any, name: str) -> list[str] | None:
        """An attribute that lists texts, in parts (name0, name1, ...) where it is long; None where there is none."""
        values = self._attribute(group, name)
        if values is None:
            parts: list[np.ndarray] = []
            while len(parts) < _MAX_PARTS and (part := self._attribute(group, f"{name}{len(parts)}")) is not None:
                parts.append(np.ravel(part))
            if not parts:
                return None
            values = np.concatenate(parts)
        return [self._decoded(value, name) for value in np.ravel(values)]

    def array(self, dataset: Any) -> np.ndarray:
        """A copy of the numbers, in the machine's byte order; raises for anything else, before memory is taken."""
        where = f"{self.path}: {getattr(dataset, 'name', '')!r:.100}"
        if not isinstance(dataset, self._h5py.Dataset) or dataset.shape is None:
            raise FormatError(f"{where} is not an array")
        creation = dataset.id.get_create_plist()
        if dataset.is_virtual or creation.get_external_count():
            raise UnsafeFileError(f"{where} has its data in other files")
        filters = {creation.get_filter(position)[0] for position in range(creation.get_nfilters())}
        if not filters <= _FILTERS:
            raise UnsafeFileError(f"{where} needs the filters {sorted(filters - _FILTERS)}, which are not used")
        if dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 8:
            raise FormatError(f"{where}: dtype {dataset.dtype!s:.50} is not one of floats, integers and bool")
        self._charge(math.prod(dataset.shape) * dataset.dtype.itemsize, creation, where)
        return np.asarray(dataset[()], dataset.dtype.newbyteorder("="))

    def _charge(self, size: int, creation: Any, where: str) -> None:
        """Count bytes that are about to be read, and those of the pieces in which they are unpacked."""
        pieces = creation.get_chunk() if creation.get_layout() == self._h5py.h5d.CHUNKED else ()
        self._total += size
        if max(self._total, 8 * math.prod(pieces)) > self._max_bytes:
            raise UnsafeFileError(
                f"{where} makes it more than the limit of {self._max_bytes} bytes; "
                "if you trust the file, pass a larger max_bytes="
            )
        zip_archive.check_expansion(max(self._total, 8 * math.prod(pieces)), self.path, self._max_ratio)

    def _attribute(self, group: Any, name: str) -> Any:
        if name not in group.attrs:
            return None
        stored = group.attrs.get_id(name)
        if math.prod(stored.shape) * stored.dtype.itemsize > _MAX_ATTRIBUTE_BYTES:
            raise UnsafeFileError(f"{self.path}: the attribute {name!r} is longer than {_MAX_ATTRIBUTE_BYTES} bytes")
        return group.attrs[name]

    def _decoded(self, value: Any, name: str) -> str:
        if isinstance(value, bytes):
            value = value.decode()
        if not isinstance(value, str):
            raise FormatError(f"{self.path}: the attribute {name!r} is no text")
        return value
