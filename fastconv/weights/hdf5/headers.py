"""Where a file begins, and the messages that make up each of its objects."""

from dataclasses import dataclass

from fastconv.weights.hdf5.cursor import UNDEFINED, Cursor, Source

SIGNATURE = b"\x89HDF\r\n\x1a\n"
DATASPACE, LINK_INFO, DATATYPE, EXTERNAL, LINK, LAYOUT = 0x01, 0x02, 0x03, 0x07, 0x06, 0x08
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE, ATTRIBUTE_INFO = 0x0B, 0x0C, 0x10, 0x11, 0x15
_SHARED = 0x02


@dataclass(frozen=True)
class Message:
    """One property of an object: its kind and where its bytes are."""

    kind: int
    start: int
    size: int
    shared: bool


def root(source: Source) -> int:
    """The address of the root's header, from the superblock of any version."""
    cursor = source.at(0, SIGNATURE)
    version = cursor.uint(1)
    if version > 3:
        raise source.unknown(f"a superblock of version {version}")
    cursor.skip(4 if version < 2 else 0)
    if cursor.take(2) != b"\x08\x08":
        raise source.unknown("addresses or lengths of other than 8 bytes")
    cursor.skip((1 if version >= 2 else 9) + 4 * (version == 1))
    base, *_ = cursor.uints(3, 8)
    if base:
        raise source.unknown("a base address other than 0")
    if version >= 2:
        return cursor.uint(8)
    if cursor.uint(8) != UNDEFINED:
        raise source.unknown("a driver of its own")
    cursor.skip(8)
    return cursor.uint(8)


def messages(source: Source, address: int) -> list[Message]:
    """The messages of the object whose header is at an address."""
    if source.at(address).take(4) == b"OHDR":
        return _new(source, address)
    return _old(source, address)


def body(source: Source, message: Message) -> Cursor:
    """The content of a message."""
    if message.shared:
        raise source.unknown("a message that objects share")
    return Cursor(source, message.start, message.start + message.size)


def _old(source: Source, address: int) -> list[Message]:
    cursor = source.at(address)
    if cursor.uint(1) != 1:
        raise source.damaged(f"no object at byte {address}")
    cursor.skip(7)
    size = cursor.uint(4)
    cursor.skip(4)
    found: list[Message] = []
    blocks = [cursor.part(size)]
    while blocks:
        block = blocks.pop(0)
        while block.left >= 8:
            kind, size, flags = block.uint(2), block.uint(2), block.uint(1)
            block.skip(3)
            blocks += _collect(source, found, kind, block.part(size), flags)
    return found


def _new(source: Source, address: int) -> list[Message]:
    cursor = source.at(address, b"OHDR")
    version, flags = cursor.uint(1), cursor.uint(1)
    if version != 2:
        raise source.unknown(f"an object of version {version}")
    cursor.skip(16 * bool(flags & 0x20) + 4 * bool(flags & 0x10))
    size = cursor.uint(1 << (flags & 3))
    ordered = 2 * bool(flags & 4)
    found: list[Message] = []
    blocks = [cursor.part(size)]
    while blocks:
        block = blocks.pop(0)
        while block.left >= 4 + ordered:
            kind, size, of_message = block.uint(1), block.uint(2), block.uint(1)
            block.skip(ordered)
            for more in _collect(source, found, kind, block.part(size), of_message):
                blocks.append(Cursor(source, more.position, more.end - 4))  # a checksum ends each block
                if blocks[-1].take(4) != b"OCHK":
                    raise source.damaged(f"no 'OCHK' at byte {more.position}")
    return found


def _collect(source: Source, found: list[Message], kind: int, content: Cursor, flags: int) -> list[Cursor]:
    """Note a message, or give the block in which the others go on."""
    source.count()
    if kind != CONTINUATION:
        found.append(Message(kind, content.position, content.left, bool(flags & _SHARED)))
        return []
    address, length = content.uints(2, 8)
    return [source.at(address).part(length)]
