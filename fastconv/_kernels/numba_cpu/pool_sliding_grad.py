"""Gradients of small square windows that slide down planes, emitted: lanes are neighbouring columns. What a row of
windows gives to the rows under it stays in registers until the last window that has them was there."""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.pool_arguments import ALL, PARTS, SLIDE, VIEW
from fastconv._kernels.numba_cpu.pool_sliding import each_view, field_of
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, Vectors, shifted

_BYTE = ir.IntType(8)
_INDEX = ir.IntType(32)


def sliding_grad_module(dtype: str, kind: str, width: int, kernel: int, stride: int, odd: int) -> ir.Module:
    """Code of ``void (slide, first, last)``: what some rows of windows give; the last ones to the end of the plane.

    Vectors are of ``width`` bytes. ``odd``: the padding to the left is odd, and of stride two the middle tap has the
    even columns.
    """
    module = ir.Module("pool_sliding_grad")
    function = _Under(Vectors(module, dtype, width), kind == ALL, kernel, stride, odd).emit()
    each_view(module, stride < kernel, lambda b, *arguments: b.call(function, arguments))
    return module


class _Under:
    """``void (slide, view, first, last)``: one vector of columns under some rows of windows, of stride two a pair of
    vectors of which lane i has columns 2 * i and 2 * i + 1."""

    def __init__(self, v, sums, kernel, stride, odd):
        self.v, self.sums, self.kernel, self.stride, self.odd = v, sums, kernel, stride, odd
        self.function = ir.Function(v.module, ir.FunctionType(ir.VoidType(), [BYTES, BYTES, WORD, WORD]), "under")
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.bytes = ir.VectorType(_BYTE, v.lanes)
        self.phases = stride

    def emit(self) -> ir.Function:
        b, v = self.b, self.v
        slide, view, first, last = self.function.args
        for name in SLIDE.names:
            setattr(self, name, field_of(b, SLIDE, slide, name))
        self.places = [field_of(b, VIEW, view, f"at{part}") for part in range(PARTS)]
        self.lanes = [b.trunc(field_of(b, VIEW, view, f"lanes{part}"), ir.IntType(v.lanes)) for part in range(PARTS)]
        self.masks = [b.bitcast(lanes, v.masks) for lanes in self.lanes]
        if self.sums:
            ones = ir.Constant(v.kind, [ir.Constant(v.scalar, 1.0)] * v.lanes)
            counts = [self.element(self.col_counts, self.places[tap]) for tap in range(self.kernel)]
            self.counts = [v.load_masked(b, *one, ones) for one in zip(counts, self.masks, strict=False)]
        begin = b.sub(first, WORD((self.kernel - 1) // self.stride))
        begin = b.select(b.icmp_signed(">", begin, WORD(0)), begin, WORD(0))
        kept = self.each_row(begin, first, last)
        with b.if_then(b.icmp_signed("==", last, self.window_rows)):
            self.finish(b.sub(b.mul(last, WORD(self.stride)), self.row_low), kept)
        b.ret_void()
        return self.function

    def element(self, address, number):
        b = self.b
        return shifted(b, b.inttoptr(address, BYTES), b.mul(number, WORD(self.v.size)))

    def each_row(self, begin, first, last):
        """Every row of windows; what their last ones leave to the rows under the next."""
        b, count = self.b, max(0, self.kernel - self.stride) * self.phases
        before, head, done = b.block, *(b.append_basic_block(name) for name in ("row", "rows"))
        b.branch(head)
        b.position_at_end(head)
        row, *kept = (b.phi(kind) for kind in (WORD, *[self.v.kind] * count))
        under = self.under(row, kept)
        top = b.sub(b.mul(row, WORD(self.stride)), self.row_low)
        with b.if_then(b.icmp_signed(">=", row, first)):
            for i in range(self.stride):
                self.put_row(b.add(top, WORD(i)), under[i])
        later = [value for rows in under[self.stride :] for value in rows]
        following = b.add(row, WORD(1))
        for phi, initial, new in zip((row, *kept), (begin, *[self.v.zero] * count), (following, *later), strict=True):
            phi.add_incoming(initial, before)
            phi.add_incoming(new, b.block)
        b.cbranch(b.icmp_signed("<", following, last), head, done)
        b.position_at_end(done)
        return later

    def under(self, row, kept):
        """The sums of the rows under a row of windows, for every phase of the columns; sources in ascending order."""
        b, v, phases = self.b, self.v, self.phases
        start, values, places = b.mul(row, self.W), [], []
        for tap in range(self.kernel):
            at = b.add(start, self.places[tap])
            values.append(v.load_masked(b, self.element(self.source, at), self.masks[tap]))
            places.append(None if self.sums else self.load_bytes(at, self.masks[tap]))
        if self.sums:
            count = v.broadcast(b, self.element(self.row_counts, row))
            values = [b.fdiv(value, b.fmul(count, other)) for value, other in zip(values, self.counts, strict=True)]
        sums = [kept[i * phases : (i + 1) * phases] or [v.zero] * phases for i in range(self.kernel)]
        for i in range(self.kernel):
            for tap in reversed(range(self.kernel)):
                old = sums[i][tap % phases]
                new = b.fadd(old, values[tap])
                if not self.sums:
                    number = ir.Constant(self.bytes, [_BYTE(i * self.kernel + tap)] * v.lanes)
                    new = b.select(b.icmp_signed("==", places[tap], number), new, old)
                sums[i][tap % phases] = new
        return sums

    def load_bytes(self, at, mask):
        b, pointer = self.b, self.bytes.as_pointer()
        name = f"llvm.masked.load.v{self.v.lanes}i8.p0"
        signature = ir.FunctionType(self.bytes, [pointer, _INDEX, self.v.masks, self.bytes])
        function = self.v.module.globals.get(name) or ir.Function(self.v.module, signature, name)
        place = b.bitcast(shifted(b, b.inttoptr(self.offsets, BYTES), at), pointer)
        return b.call(function, [place, _INDEX(1), mask, ir.Constant(self.bytes, None)])

    def put_row(self, row, sums):
        """One row of targets, unless it lies outside of the plane."""
        b, v = self.b, self.v
        with b.if_then(b.icmp_unsigned("<", row, self.H)):
            start = b.mul(row, self.width)
            # What lies beyond some of the lanes is written later.
            is_whole = b.icmp_signed("<", row, self.whole_rows)
            if self.stride == 1:
                self.put(start, self.kernel, sums[0], is_whole)
            else:
                for part, value in enumerate(v.interleave(b, *(sums[::-1] if self.odd else sums))):
                    self.put(start, self.kernel + part, value, is_whole)

    def put(self, start, part, value, is_whole):
        """The lanes of a part that are inside."""
        b, v = self.b, self.v
        place = self.element(self.target, b.add(start, self.places[part]))
        lanes = self.lanes[part]
        has_lanes = b.icmp_unsigned("!=", lanes, lanes.type(0))
        is_whole = b.or_(b.and_(is_whole, has_lanes), b.icmp_unsigned("==", lanes, lanes.type(-1)))
        with b.if_else(is_whole) as (whole, some):
            with whole, b.if_else(b.icmp_signed("!=", self.streams, WORD(0))) as (past, into):
                with past:
                    v.stream(b, value, place)
                with into:
                    v.store(b, value, place)
            with some, b.if_then(has_lanes):
                v.store_masked(b, value, place, self.masks[part])

    def finish(self, top, kept):
        """The rows that the last windows leave, then those that no window has."""
        b, zeros = self.b, [self.v.zero] * self.phases
        rows = len(kept) // self.phases
        for i in range(rows):
            self.put_row(b.add(top, WORD(i)), kept[i * self.phases : (i + 1) * self.phases])
        begin = b.add(top, WORD(rows))
        with b.if_then(b.icmp_signed("<", begin, self.H)):
            before, head, done = b.block, *(b.append_basic_block(name) for name in ("empty", "filled"))
            b.branch(head)
            b.position_at_end(head)
            row = b.phi(WORD)
            self.put_row(row, zeros)
            following = b.add(row, WORD(1))
            row.add_incoming(begin, before)
            row.add_incoming(following, b.block)
            b.cbranch(b.icmp_signed("<", following, self.H), head, done)
            b.position_at_end(done)
