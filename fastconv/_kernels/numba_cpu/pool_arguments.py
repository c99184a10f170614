"""What the pooling kernels and their driver agree on."""

from __future__ import annotations

from fastconv._kernels.numba_cpu.arguments import planned, strided, structure
from fastconv._kernels.numba_cpu.ranges import SCRATCH
from fastconv._kernels.plan.pools import RUN_TAPS

# What becomes of the sources under a window: the largest is taken, with or without its tap; those that won are summed;
# all are.
LARGEST, LARGEST_AT, WON, ALL = KINDS = ("largest", "largest_at", "won", "all")
# Forms of a kind: targets side by side; those of two phases in turn; sources that are divided before they are added;
# gradients of a row of targets that have one source at most; a run of targets whose taps are alike.
PLAIN, PAIRED, SPREAD, APART, RUN = FORMS = range(5)
# Functions of a form: of vectors of 1, 2, 4, .. lanes.
WIDTHS = 5
# Terms that are summed before their sum is added to the others'.
TERMS = 32

# Lane i of target 0 has the sources source[source(r, e) + i] for rows[0] <= r < rows[1], cols[0] <= e < cols[1], where
# source(r, e) = (row_sources[r] - row_base) * row_step + col_sources[e] * col_step. In pairs those are of target 2 * i;
# of target 2 * i + 1 they have cols[1] <= e < cols[2]. Sums are divided by row_count[0] * col_count[0], or by
# row_count[0] * col_count[i] ``per_lane``; 0: they are not. Spread sources are divided by
# row_counts[row_sources[r]] * col_counts[col_sources[e]]. Targets apart are so many, one after the other, and cols are
# those of the first one. Steps are elements.
JOB = structure(
    "source", "winners", "target", "offsets", "rows", "cols", "row_sources", "row_taps", "col_sources", "col_taps",
    "row_base", "row_step", "col_step", "tap_cols", "first_winner", "count", "row_count", "col_count", "per_lane",
    "row_counts", "col_counts", "streams", "targets",
    "run_taps", "run_rows", "run_cols", "source_step",
)  # fmt: skip
JOB_BYTES = JOB.itemsize
# How many elements further a tap of a run lies than its target's source, and its number.
RUN_TAP = structure("place", "number")
RUN_BYTES = RUN_TAPS * RUN_TAP.itemsize
# Square windows that slide over a plane of H rows of W columns, and of ``width`` targets, from ``row_low`` rows above
# it on. ``views`` are its vectors of columns. While they slide down a block of rows, what is ``ahead`` is asked for. Of
# the target rows only the first ``whole_rows`` have a vector's lanes to their right or below them. ``mend`` is set
# where a target is minus infinity. Of a gradient the plane is the target's of rows of ``width``, and W columns and
# ``window_rows`` rows are those of windows. All are elements.
SLIDE = structure(
    "source", "target", "offsets", "views", "view_count", "H", "W", "width", "row_low", "ahead", "whole_rows",
    "streams", "row_counts", "col_counts", "mend", "window_rows",
)  # fmt: skip
SLIDE_BYTES = SLIDE.itemsize
# What a vector of columns reads of each row, four times (of stride two the pair of vectors at a column, then that two
# columns further), and its targets: element and, as bits, lanes that are inside. Of a gradient what it reads for every
# tap, then its targets, of stride two those of a pair of vectors.
PARTS = 5
VIEW = structure(*(f"{field}{part}" for part in range(PARTS) for field in ("at", "lanes")))
VIEW_BYTES = VIEW.itemsize
# A SLIDE and its views of so many bytes lie on the stack; those of wider planes are scratch.
SLIDE_LOCAL_BYTES = SLIDE_BYTES + 8 * VIEW_BYTES
# A plan.pools.Lines.
LINES = (
    "row_blocks", "block_count", "first_tap", "taps", "places", "won", "won_count", "height", "pitch", "first", "count",
    "step", "even_at", "odd_at", "phases",
)  # fmt: skip
# A plan.pools.Windows; ``pitch``, which LINES have, too, is that of a row of sums.
WINDOWS = (
    "window_rows", "window_cols", "window_taps", "row_groups", "col_groups", "window_row_count", "window_col_count",
    "tap_count", "row_group_count", "col_group_count", "regular",
)  # fmt: skip
# ``run`` is the address of the functions of a kind, ``lanes`` are all channels or one; see fc_pool_args.
POOL = structure(
    *strided("source"), *strided("target"), *planned("rows"), *planned("cols"), *LINES, *WINDOWS, *SCRATCH, "winners",
    "offsets", "row_counts", "col_counts", "N", "C", "tap_cols", "spreads", "streams", "lanes", "run", "move", "H",
    "stride", "row_low", "col_low", "block", "blocks", "ahead", "apart", "runs",
)  # fmt: skip


def lines_values(lines) -> dict[str, int]:
    """Values of LINES for a plan.pools.Lines, which the kernel must keep alive."""
    arrays = {"row_blocks": lines.row_blocks, "first_tap": lines.first_tap, "taps": lines.taps, "places": lines.places}
    values = {name: array.ctypes.data for name, array in arrays.items()}
    values |= {"won": lines.winners.ctypes.data, "won_count": len(lines.winners), "block_count": len(lines.row_blocks)}
    names = ("height", "pitch", "first", "count", "step", "even_at", "odd_at", "phases")
    return values | {name: getattr(lines, name) for name in names}


def windows_values(windows) -> dict[str, int]:
    """Values of WINDOWS for a plan.pools.Windows, which the kernel must keep alive."""
    arrays = (windows.rows, windows.cols, windows.taps, windows.row_groups, windows.col_groups)
    values = (*(array.ctypes.data for array in arrays), *map(len, arrays), windows.regular)
    return dict(zip(WINDOWS, values, strict=True))
