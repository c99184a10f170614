"""A part of a file that reads as a file of its own."""

import io
from typing import BinaryIO


class Region(io.RawIOBase):
    """The bytes ``place`` of an open file, for reading; the file stays its owner's to close.

    >>> Region(io.BytesIO(b"0123456789"), range(3, 6)).read()
    b'345'
    """

    def __init__(self, file: BinaryIO, place: range):
        self._file, self._place, self._position = file, place, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move within the region, or beyond its end, where nothing is read."""
        base = (0, self._position, len(self._place))[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        """The position within the region."""
        return self._position

    def readinto(self, buffer) -> int:
        """Fill the buffer as far as the region reaches."""
        wanted = memoryview(buffer).cast("B")[: max(len(self._place) - self._position, 0)]
        self._file.seek(self._place.start + self._position)
        count = self._file.readinto(wanted)  # type: ignore[attr-defined]
        self._position += count
        return count
