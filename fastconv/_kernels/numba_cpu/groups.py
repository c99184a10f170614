"""The microkernels for groups of few channels, emitted: a vector has the channels of several.

x is a vector, too, whose lanes go where their groups are:

    groups:         acc[p] += w[e + t * w_step] * x[e + p * x_shift][orders[t]]
    group_weights:  acc[p] += w[e + t * w_step] * x[e + t * x_step][orders[p]]
"""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.panel import Tile, tiles_module
from fastconv._kernels.numba_cpu.settings import GROUP_COLUMNS, GROUP_WEIGHT_COLUMNS, VECTOR_BYTES
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, shifted


def groups_module(dtype: str, vectors: int) -> ir.Module:
    """Code of ``void (columns, panel, x, w, sums, target)``: the tile of so many columns of pixels."""
    return tiles_module(_OrderedTerms, dtype, vectors)


def group_weights_module(dtype: str, vectors: int) -> ir.Module:
    """The same of input channels, of which every group has so many."""
    return tiles_module(_OrderedColumns, dtype, vectors)


class _Ordered(Tile):
    foresees = False

    def _orders(self):
        return self.b.inttoptr(self.field("orders"), BYTES)


class _OrderedTerms(_Ordered):
    """Every pixel stays in a register while its channels are taken from it."""

    name, widest = "groups", GROUP_COLUMNS

    def _product_steps(self):
        _, *others = super()._product_steps()
        return WORD(VECTOR_BYTES), *others

    def _bases(self, x, shifts):
        places = self._places(super()._bases(x, shifts), shifts)
        self._pixels = [self.v.load(self.b, place) for place in places]
        return [self._orders()]

    def _factors(self, bases, _shifts):
        order = self.v.load_order(self.b, bases[0])
        return (self.v.permuted(self.b, pixel, order) for pixel in self._pixels)


class _OrderedColumns(_Ordered):
    """The orders stay in registers."""

    name, widest = "group_weights", GROUP_WEIGHT_COLUMNS

    def _steps(self):
        places = (shifted(self.b, self._orders(), WORD(p * VECTOR_BYTES)) for p in range(self.columns))
        self._column_orders = [self.v.load_order(self.b, place) for place in places]
        return super()._steps()

    def _bases(self, x, _shifts):
        return [x]

    def _factors(self, bases, _shifts):
        pixel = self.v.load(self.b, bases[0])
        return (self.v.permuted(self.b, pixel, order) for order in self._column_orders)
