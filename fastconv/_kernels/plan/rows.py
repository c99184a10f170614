"""The plans of pointwise convolutions of few pixels, whose weights are read in rows, as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from fastconv._kernels.plan import blocks
from fastconv._kernels.plan.blocks import VectorUnit
from fastconv._kernels.plan.sums import SumPlan, sum_plan
from fastconv.arrays import CHANNELS_LAST
from fastconv.geometry import Conv2dGeometry

_PLANS = 256
# Pixels up to which a weight is used in less time than packing it takes, where it is transposed; and up to which whole
# rows, as they are, are read in so much less time than pieces of them that adding to all pixels again pays.
_TRANSPOSED_PIXELS = 8
_SWEPT_PIXELS = 48
# Rows of weights that are swept over together: so many streams a processor foresees. Of more than a few pixels twice as
# many, since their gradients are added to once for all rows.
_ROWS = 8
_FEWEST_PIXELS = 2


def rows_reason(g: Conv2dGeometry, formats: tuple[str, str]) -> str | None:
    """Why weights that are used once should be packed; None where reading them in rows, as they are, is faster."""
    return _reason(g, formats, _TRANSPOSED_PIXELS)


def _reason(g, formats, most):
    if not blocks.is_pointwise(g) or g.groups > 1:
        return "the kernel is not 1 x 1 with stride 1, no padding and one group"
    if formats != (CHANNELS_LAST, CHANNELS_LAST) and g.rows.size * g.cols.size > 1:
        return "channels of a pixel lie apart"
    return f"weights are used for {_pixels(g)} pixels" if _pixels(g) > most else None


@lru_cache(maxsize=_PLANS)
def row_plan(g: Conv2dGeometry, formats: tuple[str, str], unit: VectorUnit, threads: int) -> SumPlan:
    """The plan of a forward pass that transposes rows of weights while it reads them: tiles have one vector."""
    made = sum_plan(g, False, formats, replace(unit, vectors=1), threads, dots=False)
    return replace(made, packed_weight=0, holds=False, repacks=False, far_weights=False)


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The plan of a grad_input that adds ``rows`` rows of weights at a time, of which an item has ``width`` vectors.

    Blocks of terms, after which sums go to the result, are a multiple of the rows.
    """

    pixels: int
    rows: int
    width: int
    items: int


@lru_cache(maxsize=_PLANS)
def sweep_plan(g: Conv2dGeometry, formats: tuple[str, str], unit: VectorUnit, threads: int) -> SweepPlan | str:
    """The plan for ``threads`` threads, on whose number no result depends, or why there is none."""
    reason = _reason(g, formats, _SWEPT_PIXELS)
    if reason is not None:
        return reason
    if g.C % unit.lanes:
        return f"{g.C} input channels are no whole number of vectors"
    vectors, pixels = g.C // unit.lanes, _pixels(g)
    # Each thread reads rows as long as they can be, of which it gets two parts, should another one be late.
    width = blocks.even(vectors, max(1, vectors // (2 * threads)), unit.vectors)
    return SweepPlan(pixels, _ROWS if pixels <= _FEWEST_PIXELS else 2 * _ROWS, width, -(-vectors // width))


def _pixels(g: Conv2dGeometry) -> int:
    return g.N * g.rows.size * g.cols.size
