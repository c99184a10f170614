"""The bytes of a file, read from a place onwards and never beyond the end, and how much of that is allowed."""

import os

import numpy as np

from fastconv.errors import FormatError, UnsafeFileError

UNDEFINED = 2**64 - 1
# Parts of structure, far above those of any network; a file whose parts point at each other in circles ends here.
_MAX_PARTS = 200_000


class Source:
    """The mapped file, or the part of it that is HDF5."""

    def __init__(self, content: np.ndarray, path: str | os.PathLike):
        self.content, self.path = content, path
        self.collections: dict[int, dict[int, tuple[int, int]]] = {}
        self._parts = self._used = 0

    def at(self, position: int, signature: bytes = b"") -> "Cursor":
        """A cursor behind the signature that must stand there; one more part of structure counts as read."""
        self.count()
        cursor = Cursor(self, position, self.content.size)
        if signature and cursor.take(len(signature)) != signature:
            raise self.damaged(f"no {signature.decode('latin-1')!r} at byte {position}")
        return cursor

    def count(self) -> None:
        """Count a part of structure: a block, a message, an object; raises UnsafeFileError where there are too many."""
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise UnsafeFileError(f"{self.path}: more than {_MAX_PARTS} parts of structure, or parts in a circle")

    def once(self, position: int, size: int) -> bytes:
        """Bytes of a chunk or a text, each of which has its own: all together are no more than the file has."""
        self._used += size
        if self._used > self.content.size:
            raise self.damaged("chunks or texts overlap")
        return self.at(position).take(size)

    def damaged(self, reason: str) -> FormatError:
        """The error to raise."""
        return FormatError(f"{self.path}: a damaged HDF5 file: {reason}")

    def unknown(self, what: str) -> FormatError:
        """The error to raise for what HDF5 has and Keras does not write."""
        return FormatError(f"{self.path}: HDF5 with {what}, which is not read")


class Cursor:
    """A position within some bytes; reading beyond their end is a FormatError."""

    def __init__(self, source: Source, position: int, end: int):
        self.source, self.position, self.end = source, position, end

    def take(self, count: int) -> bytes:
        """The next bytes."""
        start = self.position
        self.skip(count)
        return self.source.content[start : self.position].tobytes()

    def uint(self, count: int) -> int:
        """The next unsigned integer of so many bytes."""
        return int.from_bytes(self.take(count), "little")

    def uints(self, count: int, size: int) -> tuple[int, ...]:
        """Several of them."""
        return tuple(self.uint(size) for _ in range(count))

    def skip(self, count: int) -> None:
        """Pass over bytes, which must be there."""
        if not 0 <= self.position <= self.position + count <= self.end:
            raise self.source.damaged(f"bytes {self.position} to {self.position + count} of {self.end}")
        self.position += count

    def part(self, count: int) -> "Cursor":
        """A cursor on the next bytes alone, which this one passes over."""
        start = self.position
        self.skip(count)
        return Cursor(self.source, start, self.position)

    @property
    def left(self) -> int:
        """The bytes that follow."""
        return self.end - self.position
