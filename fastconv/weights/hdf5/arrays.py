"""The numbers of a dataset: mapped where they lie in one piece, unpacked where they lie in chunks."""

import math
import zlib
from dataclasses import dataclass

import numpy as np

from fastconv.errors import UnsafeFileError
from fastconv.files import zip_archive
from fastconv.weights.hdf5 import headers, types
from fastconv.weights.hdf5.cursor import UNDEFINED, Source
from fastconv.weights.hdf5.headers import Message

_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)
_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
_CHECKSUM_BYTES = 4


@dataclass
class Limits:
    """What may still be unpacked."""

    max_bytes: int
    max_ratio: float
    total: int = 0

    def charge(self, source: Source, size: int) -> None:
        """Count bytes that are about to take memory; raises UnsafeFileError where they are too many."""
        self.total += size
        if self.total > self.max_bytes:
            raise UnsafeFileError(
                f"{source.path}: unpacks to more than the limit of {self.max_bytes} bytes; "
                "if you trust the file, pass a larger max_bytes="
            )
        zip_archive.check_expansion(self.total, source.path, self.max_ratio)


@dataclass(frozen=True)
class _Chunks:
    """Where the chunks of an array are found, and how they are packed."""

    tree: int
    shape: tuple[int, ...]
    filters: tuple[int, ...]
    dtype: np.dtype

    def most(self, shape: tuple[int, ...]) -> int:
        """How many chunks fit into an array; those at its borders unpack to more than the array takes of them."""
        return math.prod(-(-extent // chunk) for extent, chunk in zip(shape, self.shape, strict=True))


def read(source: Source, messages: list[Message], limits: Limits) -> np.ndarray:
    """The array of a dataset with these messages."""
    found = {message.kind: message for message in messages}
    if headers.EXTERNAL in found:
        raise UnsafeFileError(f"{source.path}: an array has its data in other files")
    if not found.keys() >= {headers.DATASPACE, headers.DATATYPE, headers.LAYOUT}:
        raise source.damaged("an object is neither a group nor an array")
    shape = types.shape(source, headers.body(source, found[headers.DATASPACE]))
    dtype = types.stored(source, headers.body(source, found[headers.DATATYPE])).dtype
    if dtype is None:
        raise source.unknown("an array of texts for weights")
    limits.charge(source, math.prod(shape) * dtype.itemsize)
    layout = headers.body(source, found[headers.LAYOUT])
    version, kind = layout.uint(1), layout.uint(1)
    if kind == _VIRTUAL:
        raise UnsafeFileError(f"{source.path}: an array has its data in other files")
    if version not in (3, 4) or kind > _CHUNKED or (version, kind) == (4, _CHUNKED):
        raise source.unknown(f"an array laid out by version {version}, class {kind}")
    filters = _filters(source, found)
    if kind != _CHUNKED:
        if filters:
            raise source.damaged("an array in one piece is packed")
        size = layout.uint(2) if kind == _COMPACT else 0
        start = layout.position if kind == _COMPACT else layout.uint(8)
        return _whole(source, start, size or layout.uint(8), shape, dtype)
    rank, tree = layout.uint(1), layout.uint(8)
    *extents, itemsize = layout.uints(rank, 4) or (0,)
    if len(extents) != len(shape) or itemsize != dtype.itemsize or 0 in extents:
        raise source.damaged("chunks do not fit their array")
    chunks = _Chunks(tree, tuple(extents), filters, dtype)
    chunk, whole = math.prod(extents) * itemsize, math.prod(shape) * itemsize
    limits.charge(source, chunk + chunks.most(shape) * chunk - whole)
    values = np.zeros(shape, dtype)
    if tree != UNDEFINED:
        _unpack(source, chunks, values)
    return _native(values)


def _whole(source: Source, start: int, size: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    needed = math.prod(shape) * dtype.itemsize
    if start == UNDEFINED or not needed:  # never written
        return np.zeros(shape, dtype.newbyteorder("="))
    if size < needed:
        raise source.damaged(f"an array of {needed} bytes has {size}")
    source.at(start).skip(needed)
    return _native(source.content[start : start + needed].view(dtype).reshape(shape))


def _native(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, values.dtype.newbyteorder("="))


def _filters(source: Source, found: dict[int, Message]) -> tuple[int, ...]:
    """The numbers of the filters, in the order of packing."""
    if headers.FILTERS not in found:
        return ()
    cursor = headers.body(source, found[headers.FILTERS])
    version, count = cursor.uint(1), cursor.uint(1)
    cursor.skip(6 * (version == 1))
    filters = []
    for _ in range(count):
        number = cursor.uint(2)
        length = cursor.uint(2) if version == 1 or number >= 256 else 0
        cursor.skip(2)
        values = cursor.uint(2)
        cursor.skip(length + 4 * values + 4 * (version == 1 and values % 2))
        if number not in (_DEFLATE, _SHUFFLE, _CHECKSUM):
            raise source.unknown(f"an array packed by filter {number}")
        if number in filters:
            raise source.damaged("a filter occurs twice")
        filters.append(number)
    return tuple(filters)


def _unpack(source: Source, chunks: _Chunks, values: np.ndarray) -> None:
    """Put every chunk in its place."""
    todo: list[tuple[int, int | None]] = [(chunks.tree, None)]
    rank, seen = values.ndim, 0
    most = chunks.most(values.shape)
    while todo:
        address, above = todo.pop()
        node = source.at(address, b"TREE\1")
        level, count = node.uint(1), node.uint(2)
        if above is not None and level >= above:
            raise source.damaged("the levels of a tree do not fall")
        node.skip(16)
        for _ in range(count):
            size, mask, *offsets = node.uint(4), node.uint(4), *node.uints(rank + 1, 8)
            child = node.uint(8)
            if level:
                source.count()
                todo.append((child, level))
                continue
            seen += 1
            if seen > most:
                raise source.damaged("an array has more chunks than fit into it")
            _place(values, offsets[:rank], _chunk(source, chunks, child, size, mask))


def _place(values: np.ndarray, offsets: list[int], chunk: np.ndarray) -> None:
    window = tuple(slice(offset, offset + extent) for offset, extent in zip(offsets, chunk.shape, strict=True))
    target = values[window]
    target[...] = chunk[tuple(slice(extent) for extent in target.shape)]


def _chunk(source: Source, chunks: _Chunks, address: int, size: int, mask: int) -> np.ndarray:
    content = source.once(address, size)
    needed = math.prod(chunks.shape) * chunks.dtype.itemsize
    for position, number in reversed(list(enumerate(chunks.filters))):
        if mask >> position & 1:
            continue
        if number == _DEFLATE:
            content = _inflated(source, content, needed + _CHECKSUM_BYTES * chunks.filters.count(_CHECKSUM))
        elif number == _SHUFFLE:
            columns = np.frombuffer(content, np.uint8, len(content) // chunks.dtype.itemsize * chunks.dtype.itemsize)
            content = columns.reshape(chunks.dtype.itemsize, -1).T.tobytes()
        else:
            content = content[:-_CHECKSUM_BYTES]
    if len(content) != needed:
        raise source.damaged(f"a chunk of {needed} bytes unpacks to {len(content)}")
    return np.frombuffer(content, chunks.dtype).reshape(chunks.shape)


def _inflated(source: Source, content: bytes, largest: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        return unpacker.decompress(content, largest)
    except zlib.error as error:
        raise source.damaged(f"a chunk cannot be unpacked ({error})") from error
