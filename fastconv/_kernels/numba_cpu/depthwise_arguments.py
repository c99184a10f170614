"""What the depthwise kernels and their driver agree on."""

from __future__ import annotations

from fastconv._kernels.numba_cpu.arguments import planned, strided, structure
from fastconv._kernels.numba_cpu.ranges import SCRATCH, SHARED

# Pixels of the widest tile: their sums, the weights and one more fit in 16 registers.
PIXELS = 8
# (taps, step): neighbouring taps of an entry, and of how many sources the next pixel's are further. Step 0 is half a
# source: pixel 2 * q - 1 + k has tap k of source q.
FORMS = ((1, 1), (3, 1), (3, 2), (3, 0))
FORM_1, FORM_3, FORM_HALF = 0, 1, 3
# The number of the function that adds the lanes of sums, behind the tiles of grad_weight.
FOLD = len(FORMS) * PIXELS
# All that the tiles of one row share. ``entries`` are pairs: offset in x, offset in w. Steps lead from source to
# source, from tap to tap of w, from pixel to pixel of the target. Vector i begins at i vectors, but none after
# ``last``. ``skip_first``, ``skip_last``: the tile's outermost source is padding. ``valid`` lanes of the last pixel are
# written; ``rows`` are those of pairs. Sums of the next vector are ``sums_step`` further. While a row is summed,
# ``next_rows`` others are asked for, the first one ``next`` further, the others ``next_step``: those that only the next
# row of targets reads. That one is ``next_target`` further. Distances are bytes.
TILE = structure(
    "entries", "bias", "entry_count", "x_step", "w_step", "target_step", "vectors", "last", "skip_first", "skip_last",
    "valid", "sums_step", "rows", "next", "next_rows", "next_step", "next_target", "activation",
)  # fmt: skip
TILE_BYTES = TILE.itemsize
# Sums of grad_weight: the address of the TILE, of the sums of the current block and of those before it, their bytes,
# tiles in the block.
SUMS = structure("tile", "sums", "total", "size", "tiles")
# The tiles by their address, then the problem: ``sweep_..`` is plan.depthwise.Sweep, tap t of w is t * ``tap_bytes``
# further, ``.._at`` is where a part of the scratch begins. Strides are in bytes; grad_weight's target is grad_out. Of
# strips those of images and channels are the planes', those of rows and columns the strip's.
PIXEL = structure(
    "tile", *strided("x"), *strided("target"), *planned("rows"), *planned("cols"), *SCRATCH, SHARED, "w", "bias",
    "grad_weight", "next_rows", "sweep_start", "sweep_count", "sweep_source", "sweep_step", "sweep_phases",
    "sweep_head", "sweep_tail", "sweep_first", "sweep_direction", "N", "C", "taps", "tap_cols", "itemsize",
    "tap_bytes", "vectors", "group", "shares", "chunks", "tile_at", "entries_at", "sums_at", "transpose",
    "row_blocks", "row_block_count", "x_strip_at", "target_strip_at", "activation",
)  # fmt: skip
# What rows of planes go through; see depthwise_rows.
COPY, SPLIT, JOIN = 0, 1, 2
_LATTICE = ("phases", "step", "size", "counts", "first", "taps", "places", "sources")
_PADDED = (
    *("bulk_source", "bulk_count", "bulk_phase", "bulk_index", "bulk_top", "bulk_bottom"),
    *("block", "blocks", "height", "pitch", "width"),
)
# A plan.depthwise.Padded, whose counts are elements.
PADDED = (
    *(f"down_{name}" for name in _LATTICE), *(f"across_{name}" for name in _LATTICE), *_PADDED, "extras", "extra_count",
)  # fmt: skip
# The same of planes.
# Vectors are of ``width`` bytes. ``direct``: tiles are written to the target, else to results with rows of
# ``result_pitch`` bytes, ``result_size`` for each phase of columns; the same of rows of grad_out, whose vectors are
# ``whole_vectors`` and one for ``half_tile`` where that is not 0. ``paired``: tiles are those of pairs, of one form.
# ``far``: what the next block reads and writes is asked for.
PLANE = structure(
    "tile", "move", *strided("x"), *strided("target"), *planned("rows"), *planned("cols"), *SCRATCH, SHARED, "w",
    "bias", "activation", "grad_weight", *PADDED, "row_marks", "run_marks", "highest_mark", "N", "C", "taps",
    "tap_cols", "tap_bytes",
    "vector", "half_tile", "whole_vectors", "far", "direct", "paired", "pair_form", "result_pitch", "result_size",
    "buffer_bytes", "group", "shares", "chunks", "tile_at", "jobs_at", "entries_at", "buffer_at", "results_at",
    "sums_at",
)  # fmt: skip
# What a slot works with: addresses, the last two of the next block.
PLANE_WORK = structure("tile", "jobs", "entries", "buffer", "results", "sums", "next_x", "next_target")
# The targets of one phase of rows and of columns.
JOB = structure("entries", "entry_count", "form", "w_step")
JOB_BYTES = JOB.itemsize


def padded_values(padded) -> dict[str, int]:
    """Values of PADDED for a plan.depthwise.Padded, which the kernel must keep alive."""
    values = {name: getattr(padded, name) for name in _PADDED}
    values |= {"extras": padded.extras.ctypes.data, "extra_count": len(padded.extras)}
    for prefix, lattice in (("down", padded.rows), ("across", padded.cols)):
        values |= {f"{prefix}_{name}": getattr(lattice, name) for name in _LATTICE[:2]}
        values[f"{prefix}_size"] = len(lattice.sources)
        values |= {f"{prefix}_{name}": getattr(lattice, name).ctypes.data for name in _LATTICE[3:]}
    return values
