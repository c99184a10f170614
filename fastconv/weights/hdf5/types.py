"""Shapes, dtypes and attributes."""

import math
from dataclasses import dataclass

import numpy as np

from fastconv.errors import UnsafeFileError
from fastconv.weights.entries import shape_error
from fastconv.weights.hdf5 import heaps
from fastconv.weights.hdf5.cursor import Cursor, Source

_INTEGER, _FLOAT, _STRING, _VARIABLE = 0, 1, 3, 9
# Of a float: bits, where the exponent begins, its bits, those of the mantissa, the bias.
_IEEE = {(16, 10, 5, 10, 15): "f2", (32, 23, 8, 23, 127): "f4", (64, 52, 11, 52, 1023): "f8"}
# The place of a text in a collection, and its length.
_REFERENCE_BYTES = 16
_MAX_TEXTS = 100_000


@dataclass(frozen=True)
class Stored:
    """How elements lie in the file: numbers of a dtype, or texts of ``size`` bytes, or (``varies``) references."""

    size: int
    dtype: np.dtype | None = None
    varies: bool = False


def shape(source: Source, cursor: Cursor) -> tuple[int, ...]:
    """The extents of a dataspace; one without elements is refused."""
    version, rank, flags = cursor.uints(3, 1)
    if version == 1:
        cursor.skip(5)
    elif version != 2 or cursor.uint(1) > 1 or flags > 1:
        raise source.unknown("an array without a shape")
    extents = cursor.uints(rank, 8)
    if reason := shape_error(extents, np.dtype(np.float64)):
        raise source.damaged(reason)
    return extents


def stored(source: Source, cursor: Cursor) -> Stored:
    """A datatype: numbers and texts; everything else is refused."""
    kind, bits, size = cursor.uint(1) & 15, cursor.uint(3), cursor.uint(4)
    order = ">" if bits & 1 else "<"
    if kind == _INTEGER and size in (1, 2, 4, 8):
        if cursor.uints(2, 2) == (0, 8 * size):
            return Stored(size, np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"))
    elif kind == _FLOAT:
        offset, precision, start, exponent, _, mantissa, bias = *cursor.uints(2, 2), *cursor.uints(4, 1), cursor.uint(4)
        name = _IEEE.get((precision, start, exponent, mantissa, bias))
        if name and offset == 0 and 8 * size == precision and not bits & 0x40:
            return Stored(size, np.dtype(f"{order}{name}"))
    elif kind == _STRING and size:
        return Stored(size)
    elif kind == _VARIABLE and bits & 15 == 1 and size == _REFERENCE_BYTES:
        return Stored(size, varies=True)
    raise source.unknown(f"a datatype (class {kind}, {size} bytes) other than plain numbers and texts")


def attribute(source: Source, cursor: Cursor) -> tuple[str, list[str] | None]:
    """Its name, and its texts where it is made of texts."""
    version, _, *sizes = cursor.uint(1), cursor.uint(1), *cursor.uints(3, 2)
    if version not in (1, 2, 3):
        raise source.unknown(f"an attribute of version {version}")
    cursor.skip(version == 3)
    parts = [cursor.part(size + (-size % 8 if version == 1 else 0)) for size in sizes]
    name = heaps.text(source, parts[0].take(parts[0].left).partition(b"\0")[0])
    if not name.startswith(("layer_names", "weight_names", "name", "keras_version")):
        return name, None
    kind, count = stored(source, parts[1]), math.prod(shape(source, parts[2]))
    if kind.dtype is not None:
        return name, [] if not count else None
    if count > _MAX_TEXTS:
        raise UnsafeFileError(f"{source.path}: the attribute {name!r} lists more than {_MAX_TEXTS} texts")
    return name, [_text(source, cursor.part(kind.size), kind) for _ in range(count)]


def _text(source: Source, cursor: Cursor, kind: Stored) -> str:
    content = source.once(cursor.position, kind.size)
    if kind.varies:
        size, address, index = (int.from_bytes(content[a:b], "little") for a, b in ((0, 4), (4, 12), (12, 16)))
        content = heaps.global_object(source, address, index, size)
    return heaps.text(source, content.partition(b"\0")[0].rstrip(b" "))
