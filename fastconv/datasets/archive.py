"""Reading named files out of a `.tar.gz` in memory: nothing is unpacked to disk, every size is limited."""

import gzip
import os
import zlib
from collections.abc import Collection
from io import BufferedIOBase

from fastconv.errors import FormatError, UnsafeFileError

MAX_BYTES = 1 << 29
_BLOCK = 512
_CHUNK = 1 << 20
_REGULAR = (b"0", b"\0", b"7")
_DIRECTORY = b"5"
_ANNOTATIONS = (b"x", b"g", b"L", b"K")


def read_members(path: str | os.PathLike, names: Collection[str], max_bytes: int = MAX_BYTES) -> dict[str, bytes]:
    """The contents of the regular files `names` in a gzip-compressed tar archive.

    Raises FormatError when the archive is damaged, foreign or lacks a name, and UnsafeFileError when it holds links
    or devices, or unpacks to more than `max_bytes`.
    """
    wanted, found = frozenset(names), {}
    with open(path, "rb") as file, gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
        stream = _Stream(unpacked, path, max_bytes)
        while header := _next_header(stream, path):
            name, kind, size = _parse(header, path)
            if kind not in (*_REGULAR, _DIRECTORY, *_ANNOTATIONS):
                raise UnsafeFileError(
                    f"{path}: member {name!r} is a link, device or other special file (type {kind!r})"
                )
            content = stream.take(size, keep=kind in _REGULAR and name in wanted)
            stream.take(-size % _BLOCK)
            if content is not None:
                if name in found:
                    raise UnsafeFileError(f"{path}: member {name!r} occurs twice")
                found[name] = content
        stream.drain()
    if missing := wanted - found.keys():
        raise FormatError(f"{path}: the archive lacks {', '.join(sorted(missing))}")
    return found


class _Stream:
    """The unpacked bytes of an archive, counted against the limit as they are read."""

    def __init__(self, unpacked: BufferedIOBase, path: str | os.PathLike, max_bytes: int):
        self._unpacked, self._path, self._max_bytes, self._left = unpacked, path, max_bytes, max_bytes

    def take(self, size: int, keep: bool = False) -> bytes | None:
        """Exactly `size` bytes if they are to be kept; otherwise they are passed over."""
        self._charge(size)
        kept = bytearray()
        while size:
            chunk = self._read(min(size, _CHUNK))
            if not chunk:
                raise FormatError(f"{self._path}: truncated: the archive ends inside a member")
            size -= len(chunk)
            if keep:
                kept += chunk
        return bytes(kept) if keep else None

    def block(self) -> bytes:
        """The next block, or an empty one at the end of the stream."""
        self._charge(_BLOCK)
        block = self._read(_BLOCK)
        if block and len(block) < _BLOCK:
            raise FormatError(f"{self._path}: truncated: the archive ends inside a header")
        return block

    def drain(self) -> None:
        """Read to the end, so that gzip's own checksum is compared."""
        while chunk := self._read(_CHUNK):
            self._charge(len(chunk))

    def _charge(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise UnsafeFileError(
                f"{self._path}: unpacks to more than the limit of {self._max_bytes} bytes; "
                "if you trust the file, pass a larger max_bytes="
            )

    def _read(self, size: int) -> bytes:
        try:
            return self._unpacked.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FormatError(f"{self._path}: damaged gzip stream ({error})") from error


def _next_header(stream: _Stream, path: str | os.PathLike) -> bytes:
    """The next header block; empty at the end of the archive, which is a block of zeros."""
    header = stream.block()
    if not header:
        raise FormatError(f"{path}: truncated: the archive has no end mark")
    return header if any(header) else b""


def _parse(header: bytes, path: str | os.PathLike) -> tuple[str, bytes, int]:
    """Name, type and size of a member, once the checksum of its header is right."""
    checksum = _octal(header[148:156])
    if checksum is None or checksum != sum(header[:148]) + sum(header[156:]) + 8 * ord(" "):
        raise FormatError(f"{path}: not a tar archive, or a damaged one: wrong checksum of a header")
    name = header[:100].split(b"\0")[0].decode("latin-1")
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].split(b"\0")[0]):
        name = f"{prefix.decode('latin-1')}/{name}"
    size = _octal(header[124:136])
    if size is None:
        raise FormatError(f"{path}: member {name!r} has an unreadable size {header[124:136]!r}")
    return name.removeprefix("./"), header[156:157], size


def _octal(field: bytes) -> int | None:
    digits = field.split(b"\0")[0].strip()
    return int(digits, 8) if digits and not digits.strip(b"01234567") else None
