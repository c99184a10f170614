"""Reading HDF5 files of somebody else: the groups, texts and arrays of numbers that Keras writes, and nothing more.

Written here, because the HDF5 library crashes or never ends on some damaged files. All that is read lies within the
file; links elsewhere, data in other files and filters that would have to be loaded are refused. Checksums of structures
are not compared.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from fastconv.errors import FormatError
from fastconv.weights.hdf5 import arrays, headers, heaps, links, types
from fastconv.weights.hdf5.arrays import Limits
from fastconv.weights.hdf5.cursor import UNDEFINED, Source
from fastconv.weights.hdf5.headers import SIGNATURE

__all__ = ["SIGNATURE", "Limits", "Node", "root"]

_MAX_PARTS = 10_000


def root(content: np.ndarray, path: str | os.PathLike, limits: Limits) -> Node:
    """The root of a file, given as mapped bytes.

    Raises, here and later, FormatError for what is damaged or of a kind that Keras does not write, UnsafeFileError for
    links elsewhere, data in other files, structure in circles, and what unpacks to more than the limits.
    """
    source = Source(content, path)
    return Node(source, headers.root(source), limits)


class Node:
    """A group or an array."""

    def __init__(self, source: Source, address: int, limits: Limits):
        self._source, self._limits = source, limits
        self._messages = headers.messages(source, address)
        self.is_group = links.is_group(self._messages)
        self._links: dict[str, int] | None = None
        self._texts: dict[str, list[str] | None] | None = None

    @property
    def names(self) -> list[str]:
        """What a group contains; an array contains nothing."""
        if self._links is None:
            self._links = links.of(self._source, self._messages)
        return list(self._links)

    def child(self, name: str) -> Node:
        """The group or array of a name right below."""
        if name not in self.names or self._links is None:
            raise FormatError(f"{self._source.path}: a group lacks {name!r:.100}")
        return Node(self._source, self._links[name], self._limits)

    def array(self) -> np.ndarray:
        """The numbers, in the machine's byte order: a view of the mapped file where they lie in one piece."""
        return arrays.read(self._source, self._messages, self._limits)

    def texts(self, name: str) -> list[str] | None:
        """The texts of an attribute, in parts (name0, name1, ...) where it is long; None where there is none."""
        attributes = self._attributes()
        if name in attributes:
            return attributes[name]
        parts: list[str] = []
        number = 0
        while number < _MAX_PARTS and (part := attributes.get(f"{name}{number}")) is not None:
            parts += part
            number += 1
        return parts if number else None

    def _attributes(self) -> dict[str, list[str] | None]:
        if self._texts is None:
            self._texts = {}
            for message in self._messages:
                if message.kind == headers.ATTRIBUTE:
                    self._texts |= [types.attribute(self._source, headers.body(self._source, message))]
                elif message.kind == headers.ATTRIBUTE_INFO:
                    self._texts |= dict(self._dense(headers.body(self._source, message)))
        return self._texts

    def _dense(self, cursor) -> Iterator[tuple[str, list[str] | None]]:
        """The attributes of an object of many, which lie in a heap."""
        cursor.skip(1)
        cursor.skip(2 * (cursor.uint(1) & 1))
        heap_address, index = cursor.uints(2, 8)
        if heap_address != UNDEFINED:
            heap = heaps.FractalHeap(self._source, heap_address)
            for record in heaps.records(self._source, index):
                yield types.attribute(self._source, heap.get(record))
