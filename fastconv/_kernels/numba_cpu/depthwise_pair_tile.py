"""The microkernel of grad_input of a stride of two over a padded buffer, emitted: all four phases at once.

One tap meets the targets of one phase of rows, and of one phase of columns; two taps meet those of the other phase. All
of them read a source, its neighbours to the right and below, and the one beyond both.
"""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.depthwise_arguments import TILE
from fastconv._kernels.numba_cpu.vectors import (
    BYTES,
    WORD,
    Vectors,
    carried,
    counted,
    internal_function,
    load,
    shifted,
    smaller,
)


def pairs_module(dtype: str, width: int) -> ir.Module:
    """Code of ``void (number, tile, x, w, target)`` for vectors of ``width`` bytes.

    The number is 2 * row + col, of the phases that have one tap; ``entries`` has the taps of all phases in their order.
    """
    module = ir.Module("pairs")
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 5), "entry")
    b, v = ir.IRBuilder(entry.append_basic_block("entry")), Vectors(module, dtype, width)
    number, *arguments = entry.args
    arguments = [b.inttoptr(word, BYTES) for word in arguments]
    for row in range(2):
        for col in range(2):
            with b.if_then(b.icmp_signed("==", number, WORD(2 * row + col))):
                b.call(_Pairs(v, row, col).function, arguments)
    b.ret_void()
    return module


class _Pairs:
    """The function for one order of the phases."""

    def __init__(self, v, row, col):
        self.v, self.row, self.col = v, row, col
        self.function, self.b = internal_function(v.module, f"pairs_{row}_{col}", [BYTES] * 4)
        self.tile, x, w, target = self.function.args
        b, size = self.b, v.lanes * v.size
        self.x_step, self.target_step = self.field("x_step"), self.field("target_step")
        self.rows, self.valid, last = self.field("rows"), self.field("valid"), self.field("last")
        weights = self.weights(w)
        with counted(b, self.field("vectors"), 1) as number:
            at = smaller(b, b.mul(number, WORD(size)), last)
            self.emit_rows(weights, shifted(b, x, at), shifted(b, target, b.add(at, at)))
        b.ret_void()

    def field(self, name):
        """A field of the TILE."""
        return load(self.b, shifted(self.b, self.tile, WORD(8 * TILE.names.index(name))), WORD, 8)

    def weights(self, w):
        """(phase of rows, phase of columns) -> weights of their taps."""
        b, v, found, first = self.b, self.v, {}, 0
        entries = b.inttoptr(self.field("entries"), BYTES)
        for row in range(2):
            for col in range(2):
                count = (1 + (row != self.row)) * (1 + (col != self.col))
                places = (shifted(b, entries, WORD(16 * i + 8)) for i in range(first, first + count))
                found[row, col] = [v.broadcast(b, shifted(b, w, load(b, place, WORD, 8))) for place in places]
                first += count
        return found

    def emit_rows(self, weights, x, target):
        """One vector of columns of all rows."""
        b = self.b

        def pair_of_rows(index, upper):
            lower = self.sources(shifted(b, x, b.mul(b.add(index, WORD(1)), self.x_step)))
            place = shifted(b, target, b.mul(b.add(index, index), self.target_step))
            is_last = b.icmp_signed("==", b.add(index, WORD(1)), self.rows)
            for row in range(2):
                rows = [upper, lower] if row != self.row else [(upper, lower)[row]]
                pair = [self.total(weights[row, col], rows, col) for col in range(2)]
                self.store(self.v.interleave(b, *pair), place, is_last if row else None)
                place = shifted(b, place, self.target_step)
            return lower

        carried(b, self.rows, self.sources(x), pair_of_rows)

    def sources(self, x):
        """Those of a row, and their neighbours to the right."""
        return [self.v.load(self.b, place) for place in (x, shifted(self.b, x, WORD(self.v.size)))]

    def total(self, weights, rows, col):
        """The sums of a phase of columns in these rows."""
        columns = [0, 1] if col != self.col else [col]
        total = self.v.zero
        for weight, source in zip(weights, (row[column] for row in rows for column in columns), strict=True):
            total = self.v.multiply_add(self.b, weight, source, total)
        return total

    def store(self, vectors, place, is_last):
        """What is written beyond the end of a row, the next one overwrites; behind the last row nothing is."""
        b, v = self.b, self.v
        places = [place, shifted(b, place, WORD(v.lanes * v.size))]

        def whole():
            for value, at in zip(vectors, places, strict=True):
                v.store(b, value, at)

        if is_last is None:
            whole()
            return
        is_narrow = b.icmp_signed("<", self.valid, WORD(2 * v.lanes))
        with b.if_else(b.and_(is_last, is_narrow)) as (part, rest):
            with part:
                for i, (value, at) in enumerate(zip(vectors, places, strict=True)):
                    v.store_masked(b, value, at, v.first_lanes(b, b.sub(self.valid, WORD(i * v.lanes))))
            with rest:
                whole()
