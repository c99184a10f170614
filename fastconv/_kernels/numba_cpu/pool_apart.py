"""Gradients under windows that have no element in common, emitted: all targets of a row."""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.pool_lanes import Lanes
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, counted, load, smaller


class _Apart(Lanes):
    """Every target gets what one source gives, or zero where there is none."""

    def emit(self) -> ir.Function:
        b = self.b
        self.load_job()
        row, end = (self.listed(self.rows, WORD(i)) for i in range(2))
        with b.if_else(b.icmp_signed("==", row, end)) as (is_empty, is_not):
            with is_empty, counted(b, self.targets, 1) as col:
                self.each_vector(col, lambda _: self.v.zero)
            with is_not:
                self.emit_row(row)
        b.ret_void()
        return self.function

    def emit_row(self, row):
        b = self.b
        source = self.listed(self.row_sources, row)
        element, tap = b.mul(source, self.row_step), b.mul(self.listed(self.row_taps, row), self.tap_cols)
        with counted(b, self.targets, 1) as col:
            entry, end = (self.listed(self.cols, b.add(col, WORD(i))) for i in range(2))
            with b.if_else(b.icmp_signed("==", entry, end)) as (is_empty, is_not):
                with is_empty:
                    self.each_vector(col, lambda _: self.v.zero)
                with is_not:
                    column = self.listed(self.col_sources, entry)
                    place = b.add(element, b.mul(column, self.col_step))
                    self.each_vector(
                        col, self.giver(place, b.add(tap, self.listed(self.col_taps, entry)), source, column)
                    )

    def each_vector(self, col, value):
        """Write ``value(lane)`` for the vectors of a target; the last one overlaps the one before it."""
        b, lanes = self.b, WORD(self.v.lanes)
        target, last = b.mul(col, self.count), b.sub(self.count, lanes)
        with counted(b, self.count, self.v.lanes) as at:
            lane = smaller(b, at, last)
            self.put(value(lane), b.add(target, lane))


class WonApart(_Apart):
    """Lanes whose source won with the tap under which the target lies."""

    def giver(self, place, tap, _row, _column):
        """The vector that begins at a lane of a target."""
        b, v = self.b, self.v
        kind, tap = ir.VectorType(ir.IntType(8 * self.offset_bytes), v.lanes), self.splat(tap, 8 * self.offset_bytes)

        def given(lane):
            element = b.add(place, lane)
            value = b.fadd(v.zero, v.load(b, self.place(self.source, element)))
            winner = load(b, self.place(self.winners, element, self.offset_bytes), kind, self.offset_bytes)
            return b.select(b.icmp_signed("==", winner, tap), value, v.zero)

        return given


class SharesApart(_Apart):
    """Shares of the source."""

    def giver(self, place, _tap, row, column):
        """The vector that begins at a lane of a target."""
        b, v = self.b, self.v
        factors = ((self.row_counts, row), (self.col_counts, column))
        count = b.fmul(*(v.broadcast(b, self.place(b.inttoptr(counts, BYTES), index)) for counts, index in factors))

        def given(lane):
            value = v.load(b, self.place(self.source, b.add(place, lane)))
            return b.fadd(v.zero, b.fdiv(value, count))

        return given
