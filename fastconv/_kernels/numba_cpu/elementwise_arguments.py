"""What the kernels of passes over whole arrays and their drivers agree on."""

from __future__ import annotations

from fastconv._kernels.contract import NORM_COEFFICIENTS
from fastconv._kernels.numba_cpu.arguments import structure
from fastconv._kernels.numba_cpu.ranges import SCRATCH, SHARED

# Elements of one item of an elementwise pass, and of one run of a normalisation.
ELEMENTS = 1024
# Rows that are added in real numbers, and then to the sums in double; lanes of a plane that are added apart.
NORM_ROWS, NORM_LANES = 16, 64
# Rows, or planes, whose sums are loaded and stored once.
NORM_TOGETHER = 4
# Values of a channel, and the share of the rows of an item, that stand for all where a variance is asked for: the
# closer their mean to that of all, the less is rounded.
NORM_ORIGIN, NORM_SHARE = 64, 8
# Channels of one item of the last sum.
NORM_CHANNELS = 64
# Rows of the coefficients.
MEAN, SCALE, SHIFT, OFFSET, SLOPE = range(len(NORM_COEFFICIENTS))
# Pixels, or classes of a single one, that are added apart.
SOFTMAX_LANES = 64
# Rows of a number for every lane.
SOFTMAX_SCRATCH_ROWS = 6

# Pixels, or channels of a single one, that a normalisation across channels computes at once.
RESPONSE_LANES = 256

ELEMENTWISE = structure("a", "b", "settings", "target", "count", "streams", *SCRATCH)
# Channels see those from so many ``before`` them to so many ``behind``; items are runs of pixels of one image, or of so
# many ``images`` where they have one pixel.
RESPONSE = structure(
    "x", "grad_out", "settings", "target", "N", "C", "pixels", "before", "behind", "images", *SCRATCH,
)  # fmt: skip
# An item is a block of one row, or some rows, of ``all_rows``; the others are bytes.
PART = structure("source", "target", "all_rows", "rows", "blocks", "block", "width", "pitch", "offset")
DROPOUT = structure("x", "settings", "out", "count")
STEP = structure("grad", "settings", "parameter", "first", "second", "largest", "count", *SCRATCH)
NORM = structure(
    "x", "grad_out", "residual", "coefficients", "target", "sums", "other_sums", "N", "C", "pixels", "items",
    "item_rows", "relu", "streams", *SCRATCH, SHARED,
)  # fmt: skip
SOFTMAX = structure(
    "x", "grad_out", "class_weight", "target", "settings", "out", "losses", "grad_input", "N", "C", "pixels", *SCRATCH,
)  # fmt: skip
