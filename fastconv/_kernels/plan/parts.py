"""Rows that become parts of longer rows, cut into items."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv.geometry import PartGeometry

# Bytes of an item: some microseconds; and items that a thread should get in one go.
_ITEM_BYTES = 1 << 15
PART_CHUNK = 8


@dataclass(frozen=True, slots=True)
class PartPlan:
    """An item is one of ``blocks`` of a row, of ``block`` bytes each, or so many whole ``rows``."""

    rows: int
    blocks: int
    block: int
    items: int


def part_plan(g: PartGeometry, itemsize: int) -> PartPlan:
    """The items of a copy."""
    width = g.width * itemsize
    blocks = -(-width // _ITEM_BYTES)
    rows = max(1, _ITEM_BYTES // width) if blocks == 1 else 1
    return PartPlan(rows, blocks, min(width, _ITEM_BYTES), -(-g.rows // rows) * blocks)
