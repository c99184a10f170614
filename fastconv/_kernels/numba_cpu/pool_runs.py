"""Pooling of a run of targets whose taps are alike, emitted.

Where a target has fewer lanes than a vector, the others belong to the next one: they are read for nothing, and written
again.
"""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.pool_arguments import RUN_TAP
from fastconv._kernels.numba_cpu.vectors import WORD, carried, counted, shifted, smaller


class Run:
    """Goes before a class of Lanes, and has it walk over the targets, and over the taps of the run."""

    def emit(self) -> ir.Function:
        b, size = self.b, self.v.size
        self.load_job()
        self.bounds, self.first_row, self.last_row = [WORD(0), self.run_cols], WORD(0), self.run_rows
        source, target, offsets, counts = self.source, self.target, self.offsets, self.col_count
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
        b.ret_void()
        return self.function

    def each_row(self, values, body, first=None, count=None):
        """``body(first tap, None, row, values) -> values``."""
        b = self.b
        return carried(b, self.run_rows, values, lambda row, now: body(b.mul(row, self.run_cols), None, row, now))

    def each_column(self, row, begin, count, values, body):
        """``body(element, tap, column, values) -> values`` for the taps of a row."""
        b, words = self.b, len(RUN_TAP.names)

        def column(index, now):
            entry = b.mul(b.add(row[0], index), WORD(words))
            place, number = (self.listed(self.run_taps, b.add(entry, WORD(i))) for i in range(words))
            return body(place, number, index, now)

        return carried(b, self.run_cols, values, column)

    def each_block(self, first, end, values, body):
        """A run has few taps."""
        return body(first, self.b.sub(end, first), values)
