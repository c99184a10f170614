"""Pooling of neighbours, emitted: what all kinds of it share."""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.pool_arguments import JOB, PAIRED
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, carried, counted, internal_function, load, shifted, smaller

# Vectors side by side: their taps and places are looked up once.
_VECTORS = 4


class Lanes:
    """One function while it is emitted."""

    def __init__(self, v, name, form, offset_bytes):
        self.v, self.form, self.offset_bytes = v, form, offset_bytes
        self.function, self.b = internal_function(v.module, name, [BYTES])
        self.is_whole = v.lanes * v.size == VECTOR_BYTES

    def emit(self) -> ir.Function:
        b, lanes = self.b, self.v.lanes
        self.load_job()
        self.first_row, self.last_row = (self.listed(self.rows, WORD(i)) for i in range(2))
        self.bounds = [self.listed(self.cols, WORD(i)) for i in range(3 if self.form == PAIRED else 2)]
        done = WORD(0)
        if self.form != PAIRED:
            done = b.and_(self.count, WORD(-_VECTORS * lanes))
            with b.if_then(b.icmp_signed(">", done, WORD(0))), counted(b, done, _VECTORS * lanes) as at:
                self.emit_vectors(at, _VECTORS)
        with b.if_then(b.icmp_signed("<", done, self.count)):
            last = b.sub(self.count, WORD(lanes))
            with counted(b, b.sub(self.count, done), lanes) as at:
                self.emit_vectors(smaller(b, b.add(done, at), last), 1)
        b.ret_void()
        return self.function

    def load_job(self):
        """All fields, as attributes."""
        b, (job,) = self.b, self.function.args
        for name in JOB.names:
            setattr(self, name, load(b, shifted(b, job, WORD(8 * JOB.names.index(name))), WORD, 8))
        self.source, self.winners, self.target, self.offsets = (
            b.inttoptr(place, BYTES) for place in (self.source, self.winners, self.target, self.offsets)
        )

    def listed(self, address, index):
        """An integer of a table."""
        b = self.b
        return load(b, b.inttoptr(b.add(address, b.mul(index, WORD(8))), BYTES), WORD, 8)

    def each_row(self, values, body, first=None, count=None):
        """``body(element of row 0, number of column 0's tap, entry of the row, values) -> values`` for some rows."""
        b, first = self.b, first or self.first_row

        def row(index, now):
            entry = b.add(first, index)
            element = b.mul(b.sub(self.listed(self.row_sources, entry), self.row_base), self.row_step)
            return body(element, b.mul(self.listed(self.row_taps, entry), self.tap_cols), entry, now)

        return carried(b, count or b.sub(self.last_row, first), values, row)

    def each_column(self, row, begin, count, values, body):
        """``body(element, tap, entry of the column, values) -> values`` for some columns of a row."""
        b, (element, tap) = self.b, row

        def column(index, now):
            entry = b.add(begin, index)
            place = b.add(element, b.mul(self.listed(self.col_sources, entry), self.col_step))
            return body(place, b.add(tap, self.listed(self.col_taps, entry)), entry, now)

        return carried(b, count, values, column)

    def place(self, origin, element, size=None):
        """An element's place."""
        return shifted(self.b, origin, self.b.mul(element, WORD(size or self.v.size)))

    def splat(self, value, bits):
        """A vector of one integer, cut to so many bits."""
        b, kind = self.b, ir.VectorType(ir.IntType(bits), self.v.lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        value = b.trunc(value, kind.element) if bits < WORD.width else value
        index = ir.IntType(32)
        single = b.insert_element(undefined, value, index(0))
        return b.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(index, kind.count), None))

    def put(self, value, element):
        """Write a whole vector of targets."""
        b, v, place = self.b, self.v, self.place(self.target, element)
        if not self.is_whole:
            v.store(b, value, place)
            return
        with b.if_else(b.icmp_signed("!=", self.streams, WORD(0))) as (past, into):
            with past:
                v.stream(b, value, place)
            with into:
                v.store(b, value, place)

    def ahead(self, element, vectors):
        """The elements where so many vectors begin."""
        return [self.b.add(element, WORD(i * self.v.lanes)) for i in range(vectors)]
