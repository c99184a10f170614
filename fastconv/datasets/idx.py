"""The IDX format: a magic number, big-endian dimensions, then the values; plain or gzip-compressed."""

import gzip
import math
import os
import struct
import zlib
from io import BufferedIOBase

import numpy as np

from fastconv.errors import FormatError, UnsafeFileError

MAX_BYTES = 1 << 30
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RANK = 8
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DEFLATE_RATIO = 1032


def read_idx(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The array in an IDX file, in native byte order; gzip is recognised by its first bytes, not by the name.

    Raises FormatError for a foreign, truncated or overlong file and UnsafeFileError for an array of more than
    `max_bytes`; nothing is allocated before the header agrees with the length of the file.
    """
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        compressed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        if not compressed:
            return _read(file, path, length, max_bytes)
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                return _read(unpacked, path, length * _MAX_DEFLATE_RATIO, max_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FormatError(f"{path}: damaged gzip stream ({error})") from error


def _read(file: BufferedIOBase, path: str | os.PathLike, most: int, max_bytes: int) -> np.ndarray:
    dtype, shape = _read_header(file, path)
    stored = math.prod(shape) * dtype.itemsize
    if math.prod(max(extent, 1) for extent in shape) * dtype.itemsize > max_bytes:
        raise UnsafeFileError(
            f"{path}: the header declares an array of shape {shape} ({stored} bytes), above the limit of {max_bytes} "
            "bytes; if you trust the file, pass a larger max_bytes= to read_idx"
        )
    if stored > most:
        raise FormatError(f"{path}: truncated: shape {shape} needs {stored} bytes, the file holds at most {most}")
    out = np.empty(shape, dtype)
    filled = _fill(file, out.reshape(-1).view(np.uint8).data)
    if filled < stored:
        raise FormatError(f"{path}: truncated: shape {shape} needs {stored} bytes, the file holds {filled}")
    if file.read(1):
        raise FormatError(f"{path}: trailing bytes after the {stored} bytes of shape {shape}")
    return out.astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: BufferedIOBase, path: str | os.PathLike) -> tuple[np.dtype, tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise FormatError(f"{path}: not an IDX file: it begins with {magic.hex(' ') or 'nothing'}, not with 00 00")
    code, rank = magic[2], magic[3]
    if code not in DTYPES:
        known = ", ".join(f"0x{known:02x}" for known in DTYPES)
        raise FormatError(f"{path}: unknown IDX type 0x{code:02x}; known are {known}")
    if not 1 <= rank <= _MAX_RANK:
        raise FormatError(f"{path}: IDX rank must lie in 1..{_MAX_RANK}, got {rank}")
    extents = file.read(4 * rank)
    if len(extents) < 4 * rank:
        raise FormatError(f"{path}: truncated inside the {rank} dimensions of the IDX header")
    return np.dtype(DTYPES[code]), struct.unpack(f">{rank}I", extents)


def _fill(file: BufferedIOBase, view: memoryview) -> int:
    filled = 0
    while filled < len(view):
        count = file.readinto(view[filled:])
        if not count:
            break
        filled += count
    return filled
