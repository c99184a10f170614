"""Opening a zip archive of somebody else: the whole directory is checked before any member is opened."""

import contextlib
import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from fastconv.errors import FormatError, UnsafeFileError

MAX_BYTES = 1 << 33
MAX_RATIO = 100.0
_RATIO_MATTERS_FROM = 1 << 26
_LOCAL_HEADER = struct.Struct("<4s22xHH")
ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
    RuntimeError,
    OverflowError,
)


@contextlib.contextmanager
def opened(
    path: str | os.PathLike,
    max_bytes: int = MAX_BYTES,
    max_ratio: float = MAX_RATIO,
    check_name: Callable[[str], None] = lambda name: None,
) -> Iterator[zipfile.ZipFile]:
    """The archive, stored or deflated, for the length of the block; ``check_name`` refuses a member by its name.

    Raises, here and for errors of reading inside the block, FormatError when the archive is damaged, UnsafeFileError
    when it unpacks to more than ``max_bytes``, or to more than 64 MiB and ``max_ratio`` times its own size, or when a
    member is a link or a path out of the folder; OSError from the file system.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            for info in infos:
                check_name(info.filename)
                _check_member(info, path)
            _check_directory(infos, os.path.getsize(path), path, max_bytes)
            check_expansion(sum(info.file_size for info in infos), path, max_ratio)
            yield archive
    except FormatError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise FormatError(f"{path}: a damaged zip archive: it points outside of itself") from error
    except ERRORS as error:
        raise FormatError(f"{path}: not a zip archive, or a damaged one ({error!s:.200})") from error


def check_expansion(total: int, path: str | os.PathLike, max_ratio: float) -> None:
    """Raise UnsafeFileError where a file becomes ``total`` bytes, more than 64 MiB and ``max_ratio`` times its size."""
    size = os.path.getsize(path)
    if total > _RATIO_MATTERS_FROM and total > max_ratio * size:
        raise UnsafeFileError(
            f"{path}: unpacks to {total} bytes, {total / size:.0f} times its size and above the limit of "
            f"{max_ratio:g} times; if you trust the file, pass a larger max_ratio="
        )


def place(file: BinaryIO, info: zipfile.ZipInfo, path: str | os.PathLike) -> range:
    """Where in the file the bytes of a stored member lie; raises FormatError if that is outside of the file."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    signature, name, extra = _LOCAL_HEADER.unpack(header.ljust(_LOCAL_HEADER.size, b"\0"))
    start = info.header_offset + _LOCAL_HEADER.size + name + extra
    if signature != b"PK\3\4" or start + info.file_size > os.fstat(file.fileno()).st_size:
        raise FormatError(f"{path}: a damaged zip archive: member {info.filename!r:.100} is not where it should be")
    return range(start, start + info.file_size)


def unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str | os.PathLike) -> bytes:
    """The content of a member, in the memory that the directory says it takes; FormatError where it is shorter.

    `archive.read` would unpack all that the member holds, whatever length the directory claims.
    """
    with archive.open(info) as member:
        content = member.read(info.file_size)
    if len(content) < info.file_size:
        raise FormatError(f"{path}: a damaged zip archive: member {info.filename!r:.100} is truncated")
    return content


def escapes(name: str) -> bool:
    """Whether a tool that unpacks the archive could write this member elsewhere."""
    return name.startswith("/") or "\\" in name or ".." in name.split("/")


def _check_directory(infos: list[zipfile.ZipInfo], size: int, path: str | os.PathLike, max_bytes: int) -> None:
    seen: set[str] = set()
    for info in infos:
        if info.filename in seen:
            raise FormatError(f"{path}: member {info.filename!r} occurs twice")
        seen.add(info.filename)
    total, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    if packed > size:
        raise UnsafeFileError(f"{path}: members overlap: {packed} packed bytes in a file of {size}")
    if total > max_bytes:
        raise UnsafeFileError(
            f"{path}: unpacks to {total} bytes, above the limit of {max_bytes}; "
            "if you trust the file, pass a larger max_bytes="
        )


def _check_member(info: zipfile.ZipInfo, path: str | os.PathLike) -> None:
    member = f"{path}: member {info.filename!r:.100}"
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UnsafeFileError(f"{member} is a link")
    if escapes(info.filename):
        raise UnsafeFileError(f"{member} is a path out of the folder")
    if info.flag_bits & 1:
        raise FormatError(f"{member} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FormatError(f"{member} is packed by an unsupported method")
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        raise FormatError(f"{member} has two different sizes")
