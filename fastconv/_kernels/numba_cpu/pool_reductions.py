"""Pooling of neighbours, emitted: for every width of vectors, so that there is one that a few lanes fill."""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.pool_apart import SharesApart, WonApart
from fastconv._kernels.numba_cpu.pool_arguments import (
    ALL,
    APART,
    LARGEST,
    LARGEST_AT,
    PAIRED,
    PLAIN,
    RUN,
    SPREAD,
    TERMS,
    WIDTHS,
    WON,
)
from fastconv._kernels.numba_cpu.pool_lanes import Lanes
from fastconv._kernels.numba_cpu.pool_runs import Run
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, Vectors, carried, load, smaller, where


def lanes_module(dtype: str, kind: str, offset_bytes: int) -> ir.Module:
    """Code of ``void (number, job)``; the number of form f of vectors of 2 ** w lanes is f * WIDTHS + w."""
    module = ir.Module(f"pool_{kind}")
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 2), "entry")
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    job = builder.inttoptr(entry.args[1], BYTES)
    never = entry.append_basic_block("never")
    switch = builder.switch(entry.args[0], never)
    ir.IRBuilder(never).unreachable()
    for form, make in _KINDS[kind].items():
        for width in range(WIDTHS):
            v = Vectors(module, dtype, VECTOR_BYTES)
            if 1 << width > v.lanes:
                continue
            v = Vectors(module, dtype, v.size << width)
            function = make(v, f"{kind}_{form}_{v.lanes}", form, offset_bytes).emit()
            block = entry.append_basic_block(function.name)
            switch.add_case(WORD(form * WIDTHS + width), block)
            builder.position_at_end(block)
            builder.call(function, [job], tail=True)
            builder.ret_void()
    return module


class _Largest(Lanes):
    """The largest source, and its tap where that is wanted."""

    wants = False

    def emit_vectors(self, at, vectors):
        b = self.b
        if self.is_whole:
            *found, unordered = self.compared(at, vectors, is_careful=False)
            bits = b.bitcast(unordered, ir.IntType(self.v.lanes))
            has_nan = b.icmp_unsigned("!=", bits, bits.type(0))
            found = where(b, has_nan, found, lambda _: self.compared(at, vectors, is_careful=True))
        else:
            found = self.compared(at, vectors, is_careful=True)
        for value, element in zip(found[:vectors], self.ahead(at, vectors), strict=True):
            self.put(value, element)
        for winner, element in zip(found[vectors:], self.ahead(at, vectors), strict=False):
            kind = ir.VectorType(ir.IntType(8 * self.offset_bytes), self.v.lanes)
            narrow = winner if winner.type == kind else b.trunc(winner, kind)
            place = self.place(self.offsets, element, self.offset_bytes)
            b.store(narrow, b.bitcast(place, kind.as_pointer()), align=self.offset_bytes)

    def compared(self, at, vectors, *, is_careful):
        """The best of every lane, then the taps, then, unless that ``is_careful``, where a NaN was lost."""
        b, v = self.b, self.v
        infinities = ir.Constant(v.kind, [ir.Constant(v.scalar, float("-inf"))] * v.lanes)
        values = [infinities] * vectors
        values += [self.splat(self.first_winner, 8 * v.size)] * (vectors if self.wants else 0)
        values += [] if is_careful else [ir.Constant(v.masks, None)]

        def tap(element, number, _, now):
            found = [v.load(b, self.place(self.source, place)) for place in self.ahead(b.add(element, at), vectors)]
            wins = [b.fcmp_ordered(">", value, old) for value, old in zip(found, now, strict=False)]
            if is_careful:
                wins = [
                    b.or_(won, b.fcmp_unordered("uno", value, value)) for won, value in zip(wins, found, strict=True)
                ]
            best = [b.select(*one) for one in zip(wins, found, now[:vectors], strict=True)]
            if self.wants:
                number = self.splat(number, 8 * v.size)
                best += [b.select(won, number, old) for won, old in zip(wins, now[vectors:], strict=False)]
            if is_careful:
                return best
            unordered = now[-1]
            for one, other in zip(found[::2], found[1::2] or found, strict=True):
                unordered = b.or_(unordered, b.fcmp_unordered("uno", one, other))
            return [*best, unordered]

        begin, count = self.bounds[0], b.sub(self.bounds[1], self.bounds[0])
        return self.each_row(
            values, lambda element, number, _, now: self.each_column((element, number), begin, count, now, tap)
        )


class _LargestAt(_Largest):
    wants = True


class _Sums(Lanes):
    """Sums of one phase, or of two in turn."""

    def emit_vectors(self, at, vectors):
        b, v = self.b, self.v
        phases = [self.divided(self.summed(at, phase, vectors), at, vectors) for phase in range(len(self.bounds) - 1)]
        if self.form == PAIRED:
            at, phases = b.add(at, at), [v.interleave(b, *(phase[0] for phase in phases))]
        for value, element in zip(phases[0], self.ahead(at, len(phases[0])), strict=True):
            self.put(value, element)

    def divided(self, sums, at, vectors):
        return sums


class _Won(_Sums):
    """The sum of the sources that won with the tap under which the target lies, in ascending order."""

    def summed(self, at, phase, vectors):
        b, v = self.b, self.v
        kind = ir.VectorType(ir.IntType(8 * self.offset_bytes), v.lanes)

        def tap(element, number, _, now):
            number, sums = self.splat(number, 8 * self.offset_bytes), []
            for place, old in zip(self.ahead(b.add(element, at), vectors), now, strict=True):
                value = v.load(b, self.place(self.source, place))
                winner = load(b, self.place(self.winners, place, self.offset_bytes), kind, self.offset_bytes)
                sums.append(b.select(b.icmp_signed("==", winner, number), b.fadd(old, value), old))
            return sums

        begin, count = self.bounds[phase], b.sub(self.bounds[phase + 1], self.bounds[phase])
        return self.each_row(
            [v.zero] * vectors,
            lambda element, number, _, now: self.each_column((element, number), begin, count, now, tap),
        )


class _All(_Sums):
    """The sum of all sources, by blocks of rows of the window, and of columns, so that rounding errors stay small."""

    def summed(self, at, phase, vectors):
        zeros = [self.v.zero] * vectors

        def row(element, number, entry, now):
            def columns(first, terms, sums):
                add = self.adder(at, vectors, entry)
                return self.added(sums, self.each_column((element, number), first, terms, zeros, add))

            return self.each_block(self.bounds[phase], self.bounds[phase + 1], now, columns)

        def rows(first, terms, totals):
            return self.added(totals, self.each_row(zeros, row, first, terms))

        return self.each_block(self.first_row, self.last_row, zeros, rows)

    def each_block(self, first, end, values, body):
        """``body(first term, terms, values) -> values`` for every block."""
        b, most = self.b, WORD(TERMS)

        def block(index, now):
            begin = b.add(first, b.mul(index, most))
            return body(begin, smaller(b, b.sub(end, begin), most), now)

        return carried(b, b.sdiv(b.add(b.sub(end, first), WORD(TERMS - 1)), most), values, block)

    def added(self, totals, sums):
        return [self.b.fadd(total, value) for total, value in zip(totals, sums, strict=True)]

    def adder(self, at, vectors, row):
        b, v = self.b, self.v

        def tap(element, _, column, now):
            places = self.ahead(b.add(element, at), vectors)
            values = [v.load(b, self.place(self.source, place)) for place in places]
            if self.form == SPREAD:
                factors = ((self.row_counts, self.row_sources, row), (self.col_counts, self.col_sources, column))
                count = b.fmul(
                    *(self.factor(counts, self.listed(sources, entry)) for counts, sources, entry in factors)
                )
                values = [b.fdiv(value, count) for value in values]
            return [b.fadd(old, value) for old, value in zip(now, values, strict=True)]

        return tap

    def factor(self, counts, index):
        return self.v.broadcast(self.b, self.place(self.b.inttoptr(counts, BYTES), index))

    def divided(self, sums, at, vectors):
        """By the counts of the targets, where there are any."""
        b, v = self.b, self.v
        is_per_lane = b.icmp_signed("!=", self.per_lane, WORD(0))
        counts = b.inttoptr(self.col_count, BYTES)

        def quotients(now):
            row, found = v.broadcast(b, b.inttoptr(self.row_count, BYTES)), []
            for value, element in zip(now, self.ahead(at, vectors), strict=True):
                place = self.place(counts, element)
                common = [v.broadcast(b, counts)]
                (count,) = where(b, is_per_lane, common, lambda _, place=place: [v.load(b, place)])
                found.append(b.fdiv(value, b.fmul(row, count)))
            return found

        return where(b, b.icmp_signed("!=", self.row_count, WORD(0)), sums, quotients)


class _RunLargest(Run, _Largest):
    pass


class _RunLargestAt(Run, _LargestAt):
    pass


class _RunSums(Run, _All):
    pass


_KINDS = {
    LARGEST: {PLAIN: _Largest, RUN: _RunLargest},
    LARGEST_AT: {PLAIN: _LargestAt, RUN: _RunLargestAt},
    WON: {PLAIN: _Won, PAIRED: _Won, APART: WonApart},
    ALL: {PLAIN: _All, PAIRED: _All, SPREAD: _All, APART: SharesApart, RUN: _RunSums},
}
