"""What the max-pooling kernels and their driver agree on."""

from __future__ import annotations

from fastconv._kernels.numba_cpu.arguments import planned, strided, structure
from fastconv._kernels.numba_cpu.ranges import SCRATCH

POOL_LANES = 64
# The best value of every lane, and which tap it is.
POOL_SCRATCH_BYTES = POOL_LANES * (8 + 4)
# In channels_last one item of grad_input is a cache line of channels.
UNPOOL_CHANNELS = 16

POOL = structure(
    *strided("x"), *strided("out"), *planned("rows"), *planned("cols"), "offsets", "N", "C", "tap_cols",
    "channels_last", *SCRATCH,
)  # fmt: skip
UNPOOL = structure(
    *strided("out"), *strided("x"), "offsets", "tap_rows", "tap_cols", "N", "C", "H", "W", "OH", "OW", "taps",
    "row_stride", "col_stride", "row_low", "col_low", "channels",
)  # fmt: skip
