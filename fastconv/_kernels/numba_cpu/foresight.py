"""What a tile asks for while it sums, emitted.

A burst of prefetches would be waited for; between products of several vectors there is time for two.
"""

from __future__ import annotations

from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, shifted

_LINE = 64
# The flag of a panel's ending that its fields ``ahead`` and ``ahead_step`` are set.
FORESEES = 64


class Foresight:
    """Lines of ``ahead_step`` bytes with each product, two at most; where nothing is foreseen, one that is there."""

    def __init__(self, tile):
        self._tile, self._b = tile, tile.b
        b, foresees = tile.b, tile.asked(FORESEES)
        self.step = b.select(foresees, tile.field("ahead_step"), WORD(0))
        self._second = b.select(b.icmp_signed(">", self.step, WORD(_LINE)), WORD(_LINE), WORD(0))
        self._first = b.select(foresees, b.inttoptr(tile.field("ahead"), BYTES), tile.w)

    def of_entry(self, entry, count):
        """Where an entry of so many products begins: those before it have asked for their part."""
        b = self._b
        number = b.ashr(b.sub(b.ptrtoint(entry, WORD), self._tile.field("entries")), WORD(4))
        return shifted(b, self._first, b.mul(number, b.mul(count, self.step)))

    def ask(self, place):
        """Ask for the part of one product."""
        for distance in (WORD(0), self._second):
            self._tile.v.prefetch(self._b, shifted(self._b, place, distance))
