"""The microkernel of rows of weights that nobody shares, emitted: sums along the lanes, whose terms lie together.

    acc[o][p] += w[e + o * w_shift] * x[e + p * x_shift]

for whole vectors of w and x, and then for the ``channels`` terms that are left and lie ``w_step`` behind the first.
"""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.dots import Dots
from fastconv._kernels.numba_cpu.panel import Tile, tiles_module
from fastconv._kernels.numba_cpu.vectors import WORD, shifted, where


def local_dots_module(dtype: str, rows: int) -> ir.Module:
    """Code of ``void (columns, panel, x, w, sums, target)``, as that of ``dots_module``."""
    return tiles_module(_LocalDots, dtype, rows)


class _LocalDots(Dots):
    """Entries are whole vectors, of which ``per_chunk`` are summed in one go, as in a panel."""

    name = "local_dots"

    def emit(self) -> ir.Function:
        return Tile.emit(self)

    def _finish(self, acc, first):
        acc = self._where(self.b.not_(first), acc, self._add_kept)
        has_tail = self.b.icmp_signed(">", self.field("channels"), WORD(0))
        self._store_sums(where(self.b, has_tail, acc, self._with_tail))

    def _with_tail(self, acc):
        """Nothing is read behind the last term, where the weights may end."""
        b, v = self.b, self.v
        *_, weight_shifts, shifts = self._steps()
        tail, mask = self.field("w_step"), v.first_lanes(b, self.field("channels"))
        w, bases = shifted(b, self.w, tail), self._bases(shifted(b, self.x, tail), shifts)
        weights = [v.load_masked(b, shifted(b, w, shift), mask) for shift in weight_shifts]
        new = []
        for p, place in enumerate(self._places(bases, shifts)):
            value, old = v.load_masked(b, place, mask), acc[p * self.vectors : (p + 1) * self.vectors]
            new += [v.multiply_add(b, weight, value, total) for weight, total in zip(weights, old, strict=True)]
        return new
