"""How the passes of batch normalisation are shared out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv import arrays
from fastconv._kernels.plan.blocks import streams
from fastconv.geometry import ChannelsGeometry

# Rows of one item of a sum, unless that makes more items than so many; how the items are cut decides the rounding, so
# that it depends on the geometry alone.
_SUM_ROWS, _SUM_ITEMS = 128, 64
# Values of one item of what writes as many as it reads.
_PASS_VALUES = 4096


@dataclass(frozen=True, slots=True)
class NormPlan:
    """Where pixels of a channel are together, it is ``planar``: sums go over channels, and passes over planes.

    Else both go over items of rows of C values: ``sum_items`` of ``sum_rows``, and ``pass_items`` of ``pass_rows``.
    ``streams``: a pass writes whole vectors, if the target begins with one, and better past the caches.
    """

    planar: bool
    sum_items: int
    sum_rows: int
    pass_items: int
    pass_rows: int
    streams: bool


def norm_plan(g: ChannelsGeometry, wanted: str, itemsize: int) -> NormPlan:
    """The plan for arrays in one memory format."""
    run = g.pixels if (planar := wanted == arrays.CONTIGUOUS and g.pixels > 1) else g.C
    past_caches = streams(g.x_shape, np.array([run]), itemsize)
    if planar:
        return NormPlan(True, g.C, 0, g.N * g.C, 0, past_caches)
    rows = g.N * g.pixels
    sum_rows, pass_rows = max(_SUM_ROWS, -(-rows // _SUM_ITEMS)), max(1, _PASS_VALUES // g.C)
    return NormPlan(False, -(-rows // sum_rows), sum_rows, -(-rows // pass_rows), pass_rows, past_caches)
