"""Pooling of a run of targets whose taps are alike, emitted.

Where a target has fewer lanes than a vector, the others belong to the next one: they are read for nothing, and written
again.
"""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.pool_arguments import RUN_TAP
from fastconv._kernels.numba_cpu.vectors import WORD, carried, counted, shifted, smaller


class Run:
    """Goes before a class of Lanes, and has it walk over the targets, and over the taps of the run.

    ``known`` are the (place, number) of its taps where it has two by two of them.
    """

    def emit(self) -> ir.Function:
        b = self.b
        self.load_job()
        self.bounds, self.first_row, self.last_row = [WORD(0), self.run_cols], WORD(0), self.run_rows
        is_known = b.and_(*(b.icmp_signed("==", extent, WORD(2)) for extent in (self.run_rows, self.run_cols)))
        with b.if_else(is_known) as (known, others):
            with known:
                self.known = [self.tap(WORD(entry)) for entry in range(4)]
                self.emit_targets()
            with others:
                self.known = None
                self.emit_targets()
        b.ret_void()
        return self.function

    def emit_targets(self):
        """All targets of the run."""
        b, size = self.b, self.v.size
        origin = source, target, offsets, counts = self.source, self.target, self.offsets, self.col_count
        room = b.sub(self.count, WORD(self.v.lanes))
        last = b.select(b.icmp_signed(">", room, WORD(0)), room, WORD(0))
        with counted(b, self.targets, 1) as number:
            element = b.mul(number, self.count)
            self.source = shifted(b, source, b.mul(number, b.mul(self.source_step, WORD(size))))
            self.target = shifted(b, target, b.mul(element, WORD(size)))
            self.offsets = shifted(b, offsets, b.mul(element, WORD(self.offset_bytes)))
            self.col_count = b.add(counts, b.mul(number, WORD(size)))
            with counted(b, self.count, self.v.lanes) as at:
                self.emit_vectors(smaller(b, at, last), 1)
        self.source, self.target, self.offsets, self.col_count = origin

    def tap(self, entry):
        """(place, number) of a tap."""
        at = self.b.mul(entry, WORD(len(RUN_TAP.names)))
        return tuple(self.listed(self.run_taps, self.b.add(at, WORD(i))) for i in range(len(RUN_TAP.names)))

    def each_row(self, values, body, first=None, count=None):
        """``body(row, None, row, values) -> values``."""
        if self.known is None:
            return carried(self.b, self.run_rows, values, lambda row, now: body(row, None, row, now))
        for row in range(2):
            values = body(row, None, None, values)
        return values

    def each_column(self, row, begin, count, values, body):
        """``body(element, number, None, values) -> values`` for the taps of a row."""
        if self.known is not None:
            for place, number in self.known[2 * row[0] : 2 * row[0] + 2]:
                values = body(place, number, None, values)
            return values
        first = self.b.mul(row[0], self.run_cols)
        return carried(
            self.b, self.run_cols, values, lambda index, now: body(*self.tap(self.b.add(first, index)), None, now)
        )

    def each_block(self, first, end, values, body):
        """A run has few taps."""
        return body(first, self.b.sub(end, first), values)
