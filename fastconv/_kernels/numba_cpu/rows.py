"""The microkernel for few pixels of a pointwise forward pass, emitted: weights are read where they are.

    acc[p][lane] += w[e + t + lane * w_shift] * broadcast(x[e + t + p * x_shift])

Squares of a vector of output channels x as many input channels are transposed in registers: each weight is used so few
times that packing it would cost more than that. The terms are added in the order of a panel, so that a result has the
same bits however many pixels there are.
"""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.panel import Tile, tiles_module
from fastconv._kernels.numba_cpu.settings import ROW_COLUMNS, VECTOR_BYTES
from fastconv._kernels.numba_cpu.transpose import transposed
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, carried, counted, internal_function, shifted, smaller

_LINE = 64
# Terms of a row that are copied at once, and bytes from copy to copy: they share no sets of the first cache.
_TERMS = 160


def rows_module(dtype: str, vectors: int) -> ir.Module:
    """Code of ``void (columns, panel, x, w, sums, target)``: the tile of so many columns."""
    return tiles_module(_Rows, dtype, vectors)


class _Rows(Tile):
    """A vector of output channels."""

    name, widest, foresees = "rows", ROW_COLUMNS, False

    def __init__(self, module, dtype, vectors, columns):
        super().__init__(module, dtype, vectors, columns)
        self.step = _TERMS * self.v.size + VECTOR_BYTES
        self.copies = self._room(self.v.lanes * self.step)
        self.square = self._room(self.v.lanes * VECTOR_BYTES)
        self.copy = module.globals.get("copy") or _copy(self.v, self.step)

    def _room(self, size):
        room = self.b.alloca(ir.IntType(8), WORD(size))
        room.align = VECTOR_BYTES
        return room

    def _product_steps(self):
        """Where the lanes' rows of weights begin; the last output channel stands in for those that are not there."""
        shift, last = self.field("w_shift"), self.b.sub(self.field("channels"), WORD(1))
        lanes = (smaller(self.b, WORD(lane), last) for lane in range(self.v.lanes))
        return shift, last, [self.b.mul(lane, shift) for lane in lanes]

    def _sum_products(self, x, w, acc, steps):
        count, shift, last, lane_shifts, shifts = steps
        b, lanes, size = self.b, self.v.lanes, self.v.size
        pixels = list(self._places(self._bases(x, shifts), shifts))
        # As far behind the lanes' rows as these terms, of all lanes together, are behind the first.
        before = b.sub(b.ptrtoint(w, WORD), b.ptrtoint(self.w, WORD))
        ahead = shifted(b, self.w, b.mul(b.add(shift, before), WORD(lanes)))

        def add_terms(index, sums):
            first = b.mul(index, WORD(_TERMS))
            left, at = smaller(b, b.sub(count, first), WORD(_TERMS)), b.mul(first, WORD(size))
            rows = self._rows(shifted(b, w, at), shift, last, lane_shifts, left)
            places = [shifted(b, pixel, at) for pixel in pixels]
            return self._sum_terms(rows, places, shifted(b, ahead, b.mul(at, WORD(lanes))), left, sums)

        return carried(b, b.sdiv(b.add(count, WORD(_TERMS - 1)), WORD(_TERMS)), acc, add_terms)

    def _rows(self, w, shift, last, lane_shifts, count):
        """Some terms of every lane, in whole vectors: as they are where no vector crosses a cache line, else copied.

        A line would be gone from the first cache before the next vector reads the rest of it.
        """
        b = self.b
        places = b.or_(b.ptrtoint(w, WORD), b.or_(shift, b.mul(count, WORD(self.v.size))))
        crosses = b.icmp_signed("!=", b.and_(places, WORD(VECTOR_BYTES - 1)), WORD(0))
        with b.if_then(crosses):
            b.call(self.copy, [w, shift, last, count, self.copies])
        origin = b.select(crosses, self.copies, w)
        return [
            shifted(b, origin, b.select(crosses, WORD(lane * self.step), lane_shift))
            for lane, lane_shift in enumerate(lane_shifts)
        ]

    def _sum_terms(self, rows, pixels, ahead, count, acc):
        """Whole squares, then the columns of a last one."""
        b, lanes, size = self.b, self.v.lanes, self.v.size
        squares = b.sdiv(count, WORD(lanes))
        rest = b.sub(count, b.mul(squares, WORD(lanes)))

        def add_square(index, sums):
            at = b.mul(index, WORD(VECTOR_BYTES))
            for lane, column in enumerate(self._square(rows, ahead, at)):
                sums = self._added(sums, column, pixels, b.add(at, WORD(lane * size)))
            return sums

        def add_column(index, sums):
            column = self.v.load(b, shifted(b, self.square, b.mul(index, WORD(VECTOR_BYTES))))
            return self._added(sums, column, pixels, b.add(end, b.mul(index, WORD(size))))

        acc, end = carried(b, squares, acc, add_square), b.mul(squares, WORD(VECTOR_BYTES))
        with b.if_then(b.icmp_signed(">", rest, WORD(0))):
            for lane, column in enumerate(self._square(rows, ahead, end)):
                self.v.store(b, column, shifted(b, self.square, WORD(lane * VECTOR_BYTES)))
        return carried(b, rest, acc, add_column)

    def _square(self, rows, ahead, at):
        """Terms of every lane, from some byte of the rows on.

        As much is asked for of what follows the rows, one line after the other: no processor foresees so many at once.
        """
        square = [self.v.load(self.b, shifted(self.b, row, at)) for row in rows]
        place = shifted(self.b, ahead, self.b.mul(at, WORD(self.v.lanes)))
        for byte in range(0, self.v.lanes * VECTOR_BYTES, _LINE):
            self.v.prefetch(self.b, shifted(self.b, place, WORD(byte)))
        return transposed(self.b, self.v, square)

    def _added(self, sums, column, pixels, at):
        factors = (self.v.broadcast(self.b, shifted(self.b, pixel, at)) for pixel in pixels)
        return [self.v.multiply_add(self.b, column, factor, old) for factor, old in zip(factors, sums, strict=True)]


def _copy(v, step) -> ir.Function:
    """``void (w, shift, last, count, copies)``: some terms of every lane, ``step`` bytes apart, in whole vectors."""
    function, b = internal_function(v.module, "copy", [BYTES, WORD, WORD, WORD, BYTES])
    w, shift, last, count, copies = function.args
    with counted(b, WORD(v.lanes), 1) as lane:
        row, copy = shifted(b, w, b.mul(smaller(b, lane, last), shift)), shifted(b, copies, b.mul(lane, WORD(step)))
        with counted(b, count, v.lanes) as first:
            at = b.mul(first, WORD(v.size))
            valid = v.first_lanes(b, b.sub(count, first))
            v.store(b, v.load_masked(b, shifted(b, row, at), valid), shifted(b, copy, at))
    b.ret_void()
    return function
