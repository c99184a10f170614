"""What the kernels of convolutions without shared weights and their driver agree on."""

from __future__ import annotations

from fastconv._kernels.numba_cpu.arguments import strided, structure
from fastconv._kernels.numba_cpu.conv2d_arguments import PANELS
from fastconv._kernels.numba_cpu.ranges import SCRATCH, SHARED

# The fields of one axis of the geometry.
AXIS = ("size", "kernel", "stride", "low", "dilation", "out")
# The parts of the scratch of plan.LocalPlan.
PARTS = ("strips_at", "mask_strip_at", "windows_at", "mask_at", "rows_at", "sums_at", "grads_at")
# Strides, and what else leads from one place to another, are in bytes; ``width`` and ``band_width`` are elements. ``x``
# is the input or its gradient, ``out`` the result or its gradient. The counts are those of plan.LocalPlan.
LOCAL = structure(
    *PANELS, *strided("x"), *strided("out"), *SCRATCH, SHARED, "weight", "bias", "transpose",
    *(f"rows_{field}" for field in AXIS), *(f"cols_{field}" for field in AXIS),
    "N", "images", "C", "K", "groups", "terms", "col_tiles", "k_blocks", "bands", "channel_blocks", "band_height",
    "width", "band_width", "window", "grads", "row", *PARTS, "panel_at", "entries_at", "bias_at", "block_terms",
    "has_bias", "ending", "streams",
)  # fmt: skip
