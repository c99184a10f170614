"""The microkernel for few output channels, emitted: sums along the lanes instead of one sum per lane.

    out[o][p] = sum over lanes of acc[o][p]
    acc[o][p] += w[e + t * vector + o * w_shift] * x[e + t * vector + p * x_shift]

for whole vectors of w and x. With a vector of output channels most lanes would be empty.
"""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.panel import BIAS_LANES, Tile, tiles_module
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, shifted


def dots_module(dtype: str, channels: int) -> ir.Module:
    """Code of ``void (columns, panel, x, w, sums, target)``: the tile of so many columns.

    ``sums`` is scratch for the elements of the tile in whole vectors. Of the bias, one for each output channel, two
    whole vectors are read.
    """
    return tiles_module(Dots, dtype, channels)


class Dots(Tile):
    """As in a panel lists of sums go column by column; ``vectors`` counts output channels."""

    name, foresees = "dots", False

    def emit(self) -> ir.Function:
        entries = self.b.inttoptr(self.field("entries"), BYTES)
        acc = self._sum_entries(entries, self.field("entry_count"), self._steps())
        self._store_sums(acc)
        return self.function

    def _store_sums(self, acc):
        """The sums of the lanes, with bias and activation."""
        lanes = self.v.lanes
        sums = [self._lane_sums(acc[begin : begin + lanes]) for begin in range(0, len(acc), lanes)]
        sums = self._where(self.asked(BIAS_LANES), sums, self._add_bias)
        self._store(self._activated(sums))

    def _product_steps(self):
        step, shift = WORD(VECTOR_BYTES), self.field("w_shift")
        return step, step, [self.b.mul(shift, WORD(o)) for o in range(self.vectors)]

    def _factor(self, place):
        return self.v.load(self.b, place)

    def _lane_sums(self, values):
        """Lane i of the result is the sum of all lanes of values[i].

        Halves are interleaved and added until one vector is left; beyond the values, zeros would stand in for them.
        """
        half = self.v.lanes // 2
        while half:
            pairs = zip(values[:half], [*values[half:], *[self.v.zero] * half], strict=False)
            values = [self.b.fadd(*self.v.interleave(self.b, *pair)) for pair in pairs]
            half //= 2
        return values[0]

    def _add_bias(self, number, value):
        place = self.b.inttoptr(self.field("bias"), BYTES)
        bias = (self.v.load(self.b, shifted(self.b, place, WORD(distance))) for distance in (0, VECTOR_BYTES))
        order = [(number * self.v.lanes + lane) % self.vectors for lane in range(self.v.lanes)]
        return self.b.fadd(value, self.v.shuffle(self.b, *bias, order))

    def _store(self, sums):
        """Lane after lane: in the result neither columns nor channels need be neighbours."""
        b, v, columns, shift = self.b, self.v, self._target_columns(), self.field("target_shift")
        shifts = [b.mul(shift, WORD(o)) for o in range(self.vectors)]
        for number, value in enumerate(sums):
            v.store(b, value, self._sum_place(number))
        for number, (p, o) in enumerate(self.places):
            v.copy_element(b, shifted(b, self.sums, WORD(number * v.size)), shifted(b, columns[p], shifts[o]))
        b.ret_void()
