"""Where HDF5 keeps what has no fixed place: names, texts, and the links of large groups."""

import bisect
from collections.abc import Iterator

from fastconv.weights.hdf5.cursor import UNDEFINED, Cursor, Source


def local_text(source: Source, heap: int, offset: int) -> str:
    """The name at an offset of the heap of a small group."""
    cursor = source.at(heap, b"HEAP\0")
    cursor.skip(3)
    size, _, address = cursor.uints(3, 8)
    if offset >= size:
        raise source.damaged("a name outside of its heap")
    content = source.at(address + offset).part(min(size - offset, 1024, source.content.size - address - offset))
    return text(source, content.take(content.left).partition(b"\0")[0])


def global_object(source: Source, address: int, index: int, size: int) -> bytes:
    """The bytes of one object of a collection."""
    objects = source.collections.get(address)
    if objects is None:
        objects = source.collections[address] = _objects(source, address)
    if index not in objects:
        raise source.damaged("a text that its collection lacks")
    start, length = objects[index]
    return source.once(start, min(size, length))


def _objects(source: Source, address: int) -> dict[int, tuple[int, int]]:
    """Where the objects of a collection lie, and how long they are, by their numbers."""
    cursor = source.at(address, b"GCOL\1")
    cursor.skip(3)
    collection = source.at(address + 16).part(max(cursor.uint(8) - 16, 0))
    objects: dict[int, tuple[int, int]] = {}
    while collection.left >= 16:
        source.count()
        index = collection.uint(2)
        collection.skip(6)
        length = collection.uint(8)
        if not index:  # the space that is left
            break
        objects[index] = (collection.position, length)
        collection.skip(min(length + -length % 8, collection.left))
    return objects


def text(source: Source, content: bytes) -> str:
    """The decoded bytes."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise source.damaged(f"a text is not UTF-8 ({error})") from error


def records(source: Source, address: int) -> Iterator[Cursor]:
    """The records of a B-tree of version 2, in no order, of at most two levels."""
    cursor = source.at(address, b"BTHD\0")
    cursor.skip(1)
    node_size, record_size, depth = cursor.uint(4), cursor.uint(2), cursor.uint(2)
    cursor.skip(2)
    root, count = cursor.uint(8), cursor.uint(2)
    if depth > 1 or not record_size:
        raise source.unknown("an index of more than two levels")
    if root == UNDEFINED:
        return
    leaves = [(root, count)]
    if depth:
        internal = source.at(root, b"BTIN\0")
        internal.skip(1)
        for _ in range(count):
            yield internal.part(record_size)
        width = _width(max((node_size - 10) // record_size, 1))
        leaves = [(internal.uint(8), internal.uint(width)) for _ in range(count + 1)]
    for leaf, entries in leaves:
        node = source.at(leaf, b"BTLF\0")
        node.skip(1)
        for _ in range(entries):
            yield node.part(record_size)


class FractalHeap:
    """The heap of a large group: blocks whose sizes double from row to row."""

    def __init__(self, source: Source, address: int):
        self._source = source
        cursor = source.at(address, b"FRHP\0")
        cursor.skip(2)
        if cursor.uint(2):
            raise source.unknown("a compressed heap")
        cursor.skip(1)
        largest = cursor.uint(4)
        cursor.skip(12 * 8)
        columns, first, maximum, bits = cursor.uint(2), cursor.uint(8), cursor.uint(8), cursor.uint(2)
        cursor.skip(2)
        root, rows = cursor.uint(8), cursor.uint(2)
        self._offset_size = (bits + 7) // 8
        self._length_size = min((maximum.bit_length() + 6) // 8, _width(largest))
        self._blocks = [(0, first, root)] if not rows else self._table(root, rows, columns, first, maximum)
        if not self._blocks:
            raise source.damaged("a heap without blocks")
        self._starts = [start for start, _, _ in self._blocks]

    def get(self, identifier: Cursor) -> Cursor:
        """The bytes of an object by its identifier."""
        if identifier.uint(1):
            raise self._source.unknown("objects that do not fit into the heap of a group")
        offset, length = identifier.uint(self._offset_size), identifier.uint(self._length_size)
        start, size, address = self._blocks[bisect.bisect_right(self._starts, offset) - 1]
        if offset >= start + size or address == UNDEFINED:
            raise self._source.damaged("an object outside of its heap")
        return self._source.at(address + offset - start).part(length)

    def _table(self, root: int, rows: int, columns: int, first: int, maximum: int) -> list[tuple[int, int, int]]:
        """Offset, size and address of every block in the table at the root."""
        cursor = self._source.at(root, b"FHIB\0")
        cursor.skip(8 + self._offset_size)
        blocks, offset = [], 0
        for row in range(min(rows, 64)):
            size = first << max(row - 1, 0)
            if size > maximum:
                raise self._source.unknown("a group of more links than a network has layers")
            for _ in range(columns):
                self._source.count()
                blocks.append((offset, size, cursor.uint(8)))
                offset += size
        return blocks


def _width(largest: int) -> int:
    """How many bytes hold numbers up to the largest."""
    return max(largest.bit_length() - 1, 0) // 8 + 1
