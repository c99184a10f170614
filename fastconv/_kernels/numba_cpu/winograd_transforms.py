"""The transforms of Winograd's minimal filtering along one axis, emitted, for tiles of 2 and of 4 outputs of 3 taps.

    out = A' [(G weight) * (B' source)]

and, as the adjoint of that as a function of the weight,

    grad_weight = G' [(A grad_out) * (B' source)]

F(2, 3) has the points 0, 1, -1 and infinity; F(4, 3) has 0, a, -a, b, -b and infinity with a = 5/8 and b = 3/2, whose
products are exact and for which errors were measured to be smallest (B. Barabasz et al., "Error analysis and improving
the accuracy of Winograd convolution for deep neural networks", 2020, on the choice of points).
"""

from __future__ import annotations

import numpy as np

from fastconv._kernels.numba_cpu.vectors import Vectors

_A, _B = 0.625, 1.5
_A2, _B2 = _A * _A, _B * _B


class Transforms:
    """Instructions that transform lists of vectors, put where a builder stands."""

    def __init__(self, v: Vectors, builder, size: int):
        self._v, self._b, self._size = v, builder, size

    def source(self, d: list) -> list:
        """B': from the source under a tile to what is multiplied."""
        b, fused = self._b, self._fused
        if self._size == 2:
            return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[1], d[3])]
        first, *pairs, last = (
            fused(_A2 * _B2, d[0], fused(-(_A2 + _B2), d[2], d[4])),
            (_A, fused(-_B2, d[2], d[4]), fused(-_B2, d[1], d[3])),
            (_B, fused(-_A2, d[2], d[4]), fused(-_A2, d[1], d[3])),
            fused(_A2 * _B2, d[1], fused(-(_A2 + _B2), d[3], d[5])),
        )
        inner = (fused(point, value, even) for point, even, odd in pairs for value in (odd, b.fneg(odd)))
        return [first, *inner, last]

    def weight(self, g: list) -> list:
        """G: from three taps to what is multiplied."""
        b, real = self._b, np.float64 if self._v.size == 8 else np.float32
        if self._size == 2:
            inner = self._even_and_odd(0.5, b.fadd(g[0], g[2]), self._times(0.5, g[1]))
            return [g[0], *inner, g[2]]
        inner = []
        for point, square, other in ((_A, _A2, _B2), (_B, _B2, _A2)):
            scale = real(1) / real(2 * square * (square - other))
            inner += self._even_and_odd(scale, self._fused(square, g[2], g[0]), self._times(scale * real(point), g[1]))
        return [self._times(real(1) / real(_A2 * _B2), g[0]), *inner, g[2]]

    def target(self, m: list) -> list:
        """A': from products to a tile."""
        b, fused, times = self._b, self._fused, self._times
        if self._size == 2:
            return [b.fadd(b.fadd(m[0], m[1]), m[2]), b.fsub(b.fsub(m[1], m[2]), m[3])]
        even_a, odd_a = b.fadd(m[1], m[2]), b.fsub(m[1], m[2])
        even_b, odd_b = b.fadd(m[3], m[4]), b.fsub(m[3], m[4])
        return [
            b.fadd(b.fadd(m[0], even_a), even_b),
            fused(_A, odd_a, times(_B, odd_b)),
            fused(_A2, even_a, times(_B2, even_b)),
            fused(_A2 * _A, odd_a, fused(_B2 * _B, odd_b, m[5])),
        ]

    def gradient(self, y: list) -> list:
        """A: from the gradients of a tile to what is multiplied."""
        b, fused = self._b, self._fused
        if self._size == 2:
            return [y[0], b.fadd(y[0], y[1]), b.fsub(y[0], y[1]), b.fneg(y[1])]
        inner = []
        for point, square in ((_A, _A2), (_B, _B2)):
            even, odd = fused(square, y[2], y[0]), fused(square, y[3], y[1])
            inner += [fused(point, odd, even), fused(point, b.fneg(odd), even)]
        return [y[0], *inner, y[3]]

    def taps(self, u: list) -> list:
        """G': from sums of products to three taps."""
        b, fused, times, real = self._b, self._fused, self._times, np.float64 if self._v.size == 8 else np.float32
        if self._size == 2:
            even = b.fadd(u[1], u[2])
            return [fused(0.5, even, u[0]), times(0.5, b.fsub(u[1], u[2])), fused(0.5, even, u[3])]
        scale_a, scale_b = real(1) / real(2 * _A2 * (_A2 - _B2)), real(1) / real(2 * _B2 * (_B2 - _A2))
        even_a, odd_a = times(scale_a, b.fadd(u[1], u[2])), times(scale_a, b.fsub(u[1], u[2]))
        even_b, odd_b = times(scale_b, b.fadd(u[3], u[4])), times(scale_b, b.fsub(u[3], u[4]))
        return [
            fused(real(1) / real(_A2 * _B2), u[0], b.fadd(even_a, even_b)),
            fused(_A, odd_a, times(_B, odd_b)),
            fused(_A2, even_a, fused(_B2, even_b, u[5])),
        ]

    def _even_and_odd(self, scale, even, odd):
        """scale * even + odd, scale * even - odd."""
        return [self._fused(scale, even, odd), self._fused(scale, even, self._b.fneg(odd))]

    def _fused(self, factor, value, addend):
        return self._v.multiply_add(self._b, self._v.constant(float(factor)), value, addend)

    def _times(self, factor, value):
        return self._b.fmul(self._v.constant(float(factor)), value)


def transformed_rows(transform, across: int, load):
    """The rows of a square of values ``load(row, column)``, transformed along its columns and then along its rows.

    Values are loaded, and rows made, when they are needed: there are more of them than registers.
    """
    columns = [transform([load(row, column) for row in range(across)]) for column in range(across)]
    for row in zip(*columns, strict=True):
        yield transform(list(row))
