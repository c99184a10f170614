"""The microkernel of grad_input of few pixels, emitted: a few rows of weights are read from one end to the other.

    sums[p][lane] += sum over t of w[t * w_step + lane] * broadcast(x[t + p * x_shift])

for all vectors of the rows and every pixel p. Pixels of the sums lie ``w_shift`` apart, those of the target, to which
the sums of a block of rows go, ``target_step``.
"""

from __future__ import annotations

import itertools

from llvmlite import ir

from fastconv._kernels.numba_cpu.panel import ADDS, Tile, tiles_module
from fastconv._kernels.numba_cpu.settings import MAX_VECTORS, SWEEP_PIXELS, VECTOR_BYTES
from fastconv._kernels.numba_cpu.vectors import WORD, carried, counted, shifted, where


def sweep_module(dtype: str) -> ir.Module:
    """Code of ``void (pixels, panel, x, w, sums, target)``.

    Of the panel it reads ``count`` (rows), ``channels`` (whole vectors of them), steps and shifts, whether the rows are
    the ``first`` or ``last`` of a block, and whether their sum ADDS to what the target holds.
    """
    return tiles_module(_Sweep, dtype, 1)


class _Sweep(Tile):
    """As many vectors at a time as a tile has at most, then one by one."""

    name, widest, foresees = "sweep", (SWEEP_PIXELS,), False

    def emit(self) -> ir.Function:
        b, widest = self.b, MAX_VECTORS * VECTOR_BYTES
        self.rows, self.w_step = self.field("count"), self.field("w_step")
        self.first, self.last, self.adds = self._flag("first"), self._flag("last"), self.asked(ADDS)
        self.pixels, self.kept, self.targets = (
            [shifted(b, place, b.mul(self.field(step), WORD(p))) for p in range(self.columns)]
            for place, step in ((self.x, "x_shift"), (self.sums, "w_shift"), (self.target, "target_step"))
        )
        size = b.mul(self.field("channels"), WORD(self.v.size))
        whole = b.mul(b.sdiv(size, WORD(widest)), WORD(widest))
        for vectors, begin, end in ((MAX_VECTORS, WORD(0), whole), (1, whole, size)):
            length = b.sub(end, begin)
            with (
                b.if_then(b.icmp_signed(">", length, WORD(0))),
                counted(b, length, vectors * VECTOR_BYTES) as byte,
            ):
                self._sweep(vectors, b.add(begin, byte))
        b.ret_void()
        return self.function

    def _sweep(self, vectors, at):
        """Some vectors of all rows, from some byte on."""
        b, v = self.b, self.v
        offsets = [WORD(o * VECTOR_BYTES) for o in range(vectors)]
        weight = shifted(b, self.w, at)
        kept, targets = (
            [shifted(b, shifted(b, pixel, at), offset) for pixel in pixels for offset in offsets]
            for pixels in (self.kept, self.targets)
        )

        def add_row(index, sums):
            row = shifted(b, weight, b.mul(index, self.w_step))
            weights = [v.load(b, shifted(b, row, offset)) for offset in offsets]
            # Meanwhile as much is asked for of the rows that come next.
            following = shifted(b, row, b.mul(self.rows, self.w_step))
            for offset in offsets:
                v.prefetch(b, shifted(b, following, offset))
            factors = (v.broadcast(b, shifted(b, pixel, b.mul(index, WORD(v.size)))) for pixel in self.pixels)
            products = itertools.product(factors, weights)
            return [v.multiply_add(b, w, x, old) for (x, w), old in zip(products, sums, strict=True)]

        def added(values, places):
            return [b.fadd(value, v.load(b, place)) for value, place in zip(values, places, strict=True)]

        sums = carried(b, self.rows, [v.zero] * len(kept), add_row)
        sums = where(b, b.not_(self.first), sums, lambda values: added(values, kept))
        with b.if_else(self.last) as (last, more):
            with last:
                ended = where(b, self.adds, sums, lambda values: added(values, targets))
                for value, place in zip(ended, targets, strict=True):
                    v.store(b, value, place)
            with more:
                for value, place in zip(sums, kept, strict=True):
                    v.store(b, value, place)
