"""What a group contains: names and the addresses of headers, in each of the ways that HDF5 has for it."""

from fastconv.errors import UnsafeFileError
from fastconv.weights.hdf5 import headers, heaps
from fastconv.weights.hdf5.cursor import UNDEFINED, Cursor, Source
from fastconv.weights.hdf5.headers import Message

_SYMBOLIC = 2


def is_group(messages: list[Message]) -> bool:
    """Whether an object with these messages is a group."""
    return any(message.kind in (headers.SYMBOL_TABLE, headers.LINK_INFO) for message in messages)


def of(source: Source, messages: list[Message]) -> dict[str, int]:
    """Names to addresses; raises UnsafeFileError for a link to elsewhere."""
    found: dict[str, int] = {}
    for message in messages:
        if message.kind == headers.SYMBOL_TABLE:
            tree, heap = headers.body(source, message).uints(2, 8)
            _from_symbols(source, tree, heap, found, None)
        elif message.kind == headers.LINK:
            _add(source, headers.body(source, message), found)
        elif message.kind == headers.LINK_INFO:
            _from_index(source, headers.body(source, message), found)
    return found


def _from_symbols(source: Source, address: int, heap: int, found: dict[str, int], above: int | None) -> None:
    """The leaves of a B-tree of version 1, whose levels count down."""
    cursor = source.at(address, b"TREE\0")
    level, count = cursor.uint(1), cursor.uint(2)
    if above is not None and level >= above:
        raise source.damaged("the levels of a tree do not fall")
    cursor.skip(16)
    for _ in range(count):
        cursor.skip(8)
        child = cursor.uint(8)
        if level:
            _from_symbols(source, child, heap, found, level)
        else:
            _from_node(source, child, heap, found)


def _from_node(source: Source, address: int, heap: int, found: dict[str, int]) -> None:
    cursor = source.at(address, b"SNOD\1")
    cursor.skip(1)
    for _ in range(cursor.uint(2)):
        offset, header, kind = cursor.uint(8), cursor.uint(8), cursor.uint(4)
        cursor.skip(20)
        name = heaps.local_text(source, heap, offset)
        if kind == _SYMBOLIC:
            raise _elsewhere(source, name)
        _put(source, found, name, header)


def _from_index(source: Source, cursor: Cursor, found: dict[str, int]) -> None:
    """The links of a group of many, which lie in a heap."""
    cursor.skip(1)
    cursor.skip(8 * (cursor.uint(1) & 1))
    heap_address, index = cursor.uints(2, 8)
    if heap_address == UNDEFINED:
        return
    heap = heaps.FractalHeap(source, heap_address)
    for record in heaps.records(source, index):
        record.skip(4)
        _add(source, heap.get(record), found)


def _add(source: Source, cursor: Cursor, found: dict[str, int]) -> None:
    """One link message."""
    version, flags = cursor.uint(1), cursor.uint(1)
    if version != 1:
        raise source.unknown(f"a link of version {version}")
    kind = cursor.uint(1) if flags & 0x08 else 0
    cursor.skip(8 * bool(flags & 0x04) + bool(flags & 0x10))
    name = heaps.text(source, cursor.take(cursor.uint(1 << (flags & 3))))
    if kind:
        raise _elsewhere(source, name)
    _put(source, found, name, cursor.uint(8))


def _put(source: Source, found: dict[str, int], name: str, address: int) -> None:
    if name in found:
        raise source.damaged(f"{name!r:.100} occurs twice in a group")
    found[name] = address


def _elsewhere(source: Source, name: str) -> UnsafeFileError:
    return UnsafeFileError(f"{source.path}: {name!r:.100} is a soft or external link")
