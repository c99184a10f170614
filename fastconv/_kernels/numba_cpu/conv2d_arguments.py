"""What the convolution kernels and their driver agree on: arguments, blocks of output channels, scratch."""

from __future__ import annotations

from fastconv._kernels.numba_cpu.arguments import planned, strided, structure
from fastconv._kernels.numba_cpu.ranges import SCRATCH
from fastconv._kernels.numba_cpu.settings import MAX_VECTORS, VECTOR_BYTES

TILE_COLUMNS = 6
# Output columns in one block of grad_weight: what a thread packs at a time, and the terms of one block of a sum.
BLOCK_COLUMNS = 128
# The sums of a tile, and their total over blocks of terms.
SUM_SCRATCH_BYTES = 2 * TILE_COLUMNS * MAX_VECTORS * VECTOR_BYTES

SUM = structure(
    *strided("source"), *strided("target"), *planned("rows"), *planned("cols"),
    "packed", "bias", "N", "groups", "C", "K", "tap_rows", "tap_cols", *SCRATCH,
)  # fmt: skip
PACK = structure("weight", "packed", "groups", "C", "K", "taps", "group_stride", "c_stride", "k_stride")
GRAD_WEIGHT = structure(
    *strided("grad_out"), *strided("x"), *planned("rows"), "cols_first", "cols_segments", "segment_count",
    "grad_weight", "N", "groups", "C", "K", "tap_rows", "tap_cols", "out_cols", "col_step", "c_block", "row_block",
    *SCRATCH,
)  # fmt: skip
GRAD_BIAS = structure(*strided("grad_out"), "grad_bias", "N", "K", "rows", "cols")


def lanes(itemsize: int) -> int:
    """Output channels of one vector."""
    return VECTOR_BYTES // itemsize


def padded(K: int, itemsize: int) -> int:
    """Output channels rounded up to whole vectors."""
    return -(-K // lanes(itemsize)) * lanes(itemsize)


def blocks(K: int, itemsize: int) -> int:
    """Blocks of output channels."""
    return block_count(padded(K, itemsize) // lanes(itemsize))


def block_count(vectors_in_all: int) -> int:
    """Blocks of MAX_VECTORS, and of 2 and 1 as the rest needs."""
    return vectors_in_all // MAX_VECTORS + (vectors_in_all % MAX_VECTORS + 1) // 2
