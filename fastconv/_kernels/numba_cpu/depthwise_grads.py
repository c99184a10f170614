"""grad_weight of depthwise convolution with Numba: in channels_last, of planes of short rows, of all others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

from fastconv._kernels.contract import Problem
from fastconv._kernels.numba_cpu.depthwise_arguments import SUMS, TILE
from fastconv._kernels.numba_cpu.depthwise_forms import Pixels, Planes, grain
from fastconv._kernels.numba_cpu.depthwise_kernels import WIDTHS, kernel, tile
from fastconv._kernels.numba_cpu.microkernels import layout, transpose
from fastconv._kernels.numba_cpu.ranges import in_turn
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.plan import depthwise
from fastconv.arrays import CONTIGUOUS, element_strides


class PixelGradWeight(Pixels):
    """In channels_last."""

    _kernel = "pixel_grad"

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self._share(depthwise.pixel_shares(self._geometry, self._lanes))

    def _share(self, made: depthwise.GradShares, *strips: int) -> None:
        """Who adds which sums; ``strips`` are the bytes of what else a thread needs."""
        self._shares, sums = made, self._taps * VECTOR_BYTES
        sizes = (SUMS.itemsize, TILE.itemsize, 16 * self._taps, made.group * sums, *strips)
        _, *self._starts, self._slot_bytes = layout(*sizes)
        self._shared_bytes = made.chunks * self._vectors * sums

    def _extra(self) -> dict[str, int]:
        return {}

    @cached_property
    def _run(self) -> Callable[..., int]:
        made = self._shares
        values = {**dataclasses.asdict(made), **self._extra()}
        template = self._template("grad", VECTOR_BYTES, self._starts, **values)
        items, reduced = made.chunks * made.shares, self._taps * made.chunks * self._lanes * self._vectors
        steps = [
            (kernel(self._kernel, self._dtype), items, grain(self._geometry.flops, items)),
            (kernel("pixel_reduce", self._dtype), self._vectors, grain(reduced, self._vectors)),
        ]
        operands = ("target", "x", "grad_weight")
        return in_turn(steps, template, operands, self._slot_bytes, self._shared_bytes)


class StripGradWeight(PixelGradWeight):
    """Planes, whose channels are brought together."""

    _kernel = "strip_grad"

    def __init__(self, problem: Problem):
        super().__init__(problem)
        g, made = self._geometry, depthwise.strips(self._plans[0], problem.geometry, VECTOR_BYTES)
        self._strips = made
        strides = (element_strides(shape, CONTIGUOUS)[:2] for shape in (g.x_shape, g.out_shape))
        rows = ((columns * self._lanes, self._lanes) for columns in (g.cols.size, g.cols.out))
        self._strides = [planes + strip for planes, strip in zip(strides, rows, strict=True)]
        shares = depthwise.strip_shares(g, self._lanes, len(made.row_blocks))
        self._share(shares, made.x_pixels * VECTOR_BYTES, made.grad_out_pixels * VECTOR_BYTES)

    def _extra(self) -> dict[str, int]:
        made = self._strips
        return {
            "next_rows": 0,
            "transpose": transpose(self._dtype).address,
            "row_blocks": made.row_blocks.ctypes.data,
            "row_block_count": len(made.row_blocks),
        }


class PlaneGradWeight(Planes):
    """All others."""

    def __init__(self, problem: Problem):
        super().__init__(problem, problem.formats[::-1])
        padded, size = self._padded, self._itemsize
        self._shares = made = depthwise.plane_shares(self._geometry, padded.blocks)
        whole, rest = divmod(self._columns * size, self._vector)
        half = WIDTHS[0] if 0 < rest <= WIDTHS[0] < self._vector else 0
        self._half_tile = tile(self._dtype, "grad", half) if half else None
        self._whole = whole if half or not rest else whole + 1
        self._direct = self._strides[1][3] == 1 and rest in (0, half)
        sums = made.group * self._taps * self._vector
        self._starts, self._slot_bytes = self._layout(padded.block * self._result_pitch, sums)
        self._shared_bytes = made.chunks * self._geometry.C * self._taps * size

    @cached_property
    def _run(self) -> Callable[..., int]:
        g, made = self._geometry, self._shares
        values = {"half_tile": self._half_tile.address if self._half_tile else 0, "whole_vectors": self._whole}
        values |= {"tap_bytes": self._vector, "direct": self._direct, **dataclasses.asdict(made)}
        template = self._template(tile(self._dtype, "grad", self._vector), self._starts, **values)
        items = made.chunks * made.shares
        steps = [
            (kernel("plane_grad", self._dtype), items, grain(g.flops, items)),
            (kernel("plane_reduce", self._dtype), g.C, grain(g.C * self._taps * made.chunks, g.C)),
        ]
        return in_turn(steps, template, ("target", "x", "grad_weight"), self._slot_bytes, self._shared_bytes)
