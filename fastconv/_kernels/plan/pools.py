"""Geometry -> the integers that drive the pooling kernels, in six forms beside the general one.

*whole*: planes that are one window each. *sliding*: planes and small windows, straight from memory, lanes along
columns. *rows*: other planes, through a buffer of some rows with their padding, lanes along columns. *windows*: of
gradients, planes to which one window after the other gives what is its. *strips*: planes brought together, lanes along
channels. *channels*: channels_last, lanes along channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv._kernels.plan import axes, blocks
from fastconv._kernels.plan.depthwise import lattice
from fastconv.arrays import CHANNELS_LAST, CONTIGUOUS
from fastconv.geometry import AdaptiveAxis, Pool2dGeometry

_PLANS = 256
_LINE = 64
# A buffer should stay in the first cache beside the rows that it is made of and the results.
_BUFFER_BYTES = 1 << 14
# Input of a block of rows down which windows slide; fewer rows would not share enough between windows.
_SLIDING_BYTES = 1 << 14
_LEAST_ROWS = 8
_ALIGNMENT = 16
# Channels that are worth while to bring together.
_FEWEST_CHANNELS = 8
# Strides of the columns of a buffer: neighbours as they are, or taken apart into two.
_MOST_STEPS = 2
# Bytes that a thread should get in one go: some microseconds.
_CHUNK_BYTES = 1 << 17
# Windows above one element whose shares are added one by one: rounding errors of longer sums would grow.
_MOST_SHARES = 32
# Elements per window that are worth while to take alike where they are.
_FEWEST_ELEMENTS = 8
# Taps that runs of windows have in common at most.
RUN_TAPS = 16
# Comparisons or additions that take as long as a byte of memory.
_FLOPS_PER_BYTE = 2
# Of a window that gives its gradient to its elements, however many it has.
_WINDOW_FLOPS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """See fc_pool_lines; ``rows`` and ``cols`` are the entries of every target."""

    rows: axes.AxisPlan
    cols: axes.AxisPlan
    row_blocks: np.ndarray
    first_tap: np.ndarray
    taps: np.ndarray
    places: np.ndarray
    winners: np.ndarray
    height: int
    pitch: int
    first: int
    count: int
    step: int
    even_at: int
    odd_at: int
    phases: int


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """See fc_pool_windows."""

    rows: np.ndarray
    cols: np.ndarray
    taps: np.ndarray
    row_groups: np.ndarray
    col_groups: np.ndarray
    regular: bool


def is_adaptive(g: Pool2dGeometry) -> bool:
    """Whether an axis has windows that are unlike."""
    return isinstance(g.rows, AdaptiveAxis) or isinstance(g.cols, AdaptiveAxis)


def axis_plans(g: Pool2dGeometry, transposed: bool) -> tuple[axes.AxisPlan, axes.AxisPlan]:
    """The entries of every target row and column: of the output, or of the input where ``transposed``."""
    make = axes.grad_input_axis if transposed else axes.forward_axis
    return make(g.rows), make(g.cols)


def are_apart(g: Pool2dGeometry) -> bool:
    """Whether no two windows have an element in common."""
    return all((np.diff(plan.first) <= 1).all() for plan in axis_plans(g, transposed=True))


def has_runs(g: Pool2dGeometry) -> bool:
    """Whether neighbouring windows have their few taps in common."""
    return not is_adaptive(g) and g.taps <= RUN_TAPS


def whole_reason(g: Pool2dGeometry, formats: tuple[str, ...]) -> str | None:
    """Why planes are not reduced as they lie in memory; None where they are."""
    if reason := _format_reason(formats, CONTIGUOUS):
        return reason
    for axis in (g.rows, g.cols):
        if isinstance(axis, AdaptiveAxis) or (axis.out, axis.kernel, axis.dilation) != (1, axis.size, 1) or axis.low:
            return "a plane has more windows than one, or one that is not the plane"
    return None


def sliding_reason(g: Pool2dGeometry, formats: tuple[str, ...]) -> str | None:
    """Why windows do not slide down the planes; None where they do."""
    if is_adaptive(g) or g.rows.kernel != g.cols.kernel or g.rows.stride != g.cols.stride:
        return "windows or their steps are not square"
    if g.rows.kernel not in (2, 3) or g.rows.stride > _MOST_STEPS or max(g.rows.dilation, g.cols.dilation) > 1:
        return "windows are not of 2 or 3 neighbours, 1 or 2 apart"
    return _format_reason(formats, CONTIGUOUS)


def rows_reason(g: Pool2dGeometry, formats: tuple[str, ...]) -> str | None:
    """Why lanes are not columns; None where they are."""
    if isinstance(g.cols, AdaptiveAxis):
        return "windows of neighbouring columns are unlike"
    if g.cols.stride > _MOST_STEPS:
        return f"columns of stride {g.cols.stride} lie too far apart"
    return _format_reason(formats, CONTIGUOUS)


def winners_reason(g: Pool2dGeometry, formats: tuple[str, ...]) -> str | None:
    """Why windows do not give their gradients to winners, one after the other; None where they do."""
    return _format_reason(formats, CONTIGUOUS)


def shares_reason(g: Pool2dGeometry, formats: tuple[str, ...]) -> str | None:
    """Why windows do not share their gradients out, one after the other; None where they do."""
    for axis in (g.rows, g.cols):
        if not isinstance(axis, AdaptiveAxis) and axis.kernel > _MOST_SHARES * axis.stride:
            return f"more than {_MOST_SHARES} windows lie above a row or column"
    if g.rows.size * g.cols.size < _FEWEST_ELEMENTS * g.rows.out * g.cols.out:
        return f"there are more windows than one for {_FEWEST_ELEMENTS} elements"
    return _format_reason(formats, CONTIGUOUS)


# Why the form "windows" does not take a gradient.
WINDOWS_REASONS = {"max_pool2d_grad_input": winners_reason, "avg_pool2d_grad_input": shares_reason}


def strips_reason(g: Pool2dGeometry, formats: tuple[str, ...]) -> str | None:
    """Why planes are not brought together; None where they are."""
    if g.C < _FEWEST_CHANNELS:
        return f"{g.C} channels fill no vector"
    return _format_reason(formats, CONTIGUOUS)


def channels_reason(g: Pool2dGeometry, formats: tuple[str, ...]) -> str | None:
    """Why lanes are not channels; None where they are."""
    return _format_reason(formats, CHANNELS_LAST)


def direct_reason(g: Pool2dGeometry, formats: tuple[str, ...]) -> None:
    """The general variant takes everything."""


def _format_reason(formats, wanted):
    given = dict.fromkeys(formats)
    return None if list(given) == [wanted] else f"the memory format is {' and '.join(given)}"


@lru_cache(maxsize=_PLANS)
def lines(g: Pool2dGeometry, transposed: bool, itemsize: int) -> Lines:
    """The buffer for the output's rows, or for those of the input where ``transposed``."""
    rows, cols = axis_plans(g, transposed)
    across = lattice(g.cols, "zeros", transposed)
    step = across.step
    width = -(-len(across.sources) // step)
    pitch = -(-step * width // _ALIGNMENT) * _ALIGNMENT
    row_blocks = _row_blocks(rows, pitch * itemsize, _BUFFER_BYTES)
    inside = np.flatnonzero(across.sources >= 0)
    begin = int(inside[0]) if len(inside) else 0
    return Lines(
        rows=rows,
        cols=cols,
        row_blocks=row_blocks,
        first_tap=across.first,
        taps=across.taps,
        places=across.places % step * width + across.places // step,
        winners=np.zeros((0, 2), np.int64) if transposed else _winners(cols, across.taps),
        height=max(1, int((row_blocks[:, 3] - row_blocks[:, 2]).max())),
        pitch=pitch,
        first=max(0, int(across.sources[begin])),
        count=len(inside),
        step=step,
        even_at=begin % step * width + begin // step,
        odd_at=(begin + 1) % step * width + (begin + 1) // step,
        phases=across.phases,
    )


def sliding_blocks(g: Pool2dGeometry, itemsize: int) -> tuple[int, int, int]:
    """Target rows of a block, blocks of a plane, and how many elements further the next one reads."""
    row_bytes = g.rows.stride * g.cols.size * itemsize
    blocks_wanted = -(-g.rows.out // max(_LEAST_ROWS, _SLIDING_BYTES // row_bytes))
    block = -(-g.rows.out // blocks_wanted)
    count = -(-g.rows.out // block)
    ahead = block * g.rows.stride * g.cols.size if count > 1 else g.rows.size * g.cols.size
    return block, count, ahead


@lru_cache(maxsize=_PLANS)
def windows(g: Pool2dGeometry) -> Windows:
    """What every window has, and which elements have the same ones."""
    rows, cols = axis_plans(g, transposed=True)
    down, right = axes.tap_positions(g.rows, g.cols)
    taps = np.ascontiguousarray(np.stack([down, right, down * g.cols.size + right], axis=1))
    extents = _extents(g.rows), _extents(g.cols)
    regular = all((extent[:, 1] == 0).all() and (extent[:, 2] > taps[-1, i]).all() for i, extent in enumerate(extents))
    return Windows(*extents, taps, _groups(rows), _groups(cols), regular)


def windows_pitch(g: Pool2dGeometry, lanes: int) -> int:
    """Elements from row to row of sums: a vector that begins in a row ends before the next one."""
    return -(-(g.cols.size + lanes - 1) // lanes) * lanes


def _extents(axis):
    """(position of tap 0, how much further the first position inside lies, positions from there to the end)."""
    outputs = np.arange(axis.out)
    if isinstance(axis, AdaptiveAxis):
        begin, end = axis.begin(outputs), axis.end(outputs)
    else:
        begin = outputs * axis.stride - axis.low
        end = np.minimum(begin + axis.dilation * (axis.kernel - 1) + 1, axis.size)
    low = np.maximum(0, -begin)
    return np.ascontiguousarray(np.stack([begin, low, np.maximum(0, end - begin - low)], axis=1), np.int64)


def _groups(plan):
    """(first position, positions, first window, windows) of neighbours under the same windows."""
    counts = np.diff(plan.first)
    first = np.where(counts > 0, np.append(plan.sources, 0)[plan.first[:-1]], 0)
    starts = np.flatnonzero(np.concatenate(([True], (np.diff(first) != 0) | (np.diff(counts) != 0))))
    lengths = np.diff(np.append(starts, len(counts)))
    return np.ascontiguousarray(np.stack([starts, lengths, first[starts], counts[starts]], axis=1), np.int64)


def _row_blocks(rows, row_bytes, most):
    """As few as there can be of one height with at most so many bytes of source rows."""
    height = len(rows.first) - 1
    while True:
        table = blocks.row_blocks(rows, height)
        if height == 1 or int((table[:, 3] - table[:, 2]).max()) * row_bytes <= most:
            return table
        height = -(-height // 2)


def _winners(cols, taps):
    """(column, its first tap, -1 where it has none) of those that lack the first tap of all."""
    counts = np.diff(cols.first)
    first = np.full(len(counts), -1)
    first[counts > 0] = cols.taps[cols.first[:-1][counts > 0]]
    columns = np.flatnonzero(first != taps[0])
    return np.ascontiguousarray(np.stack([columns, first[columns]], axis=1), np.int64)


def streams(g: Pool2dGeometry, transposed: bool, formats: tuple[str, ...], itemsize: int) -> bool:
    """Whether a target in one format goes past the caches: see blocks.streams."""
    N, C, H, W = g.x_shape if transposed else g.out_shape
    run = C if set(formats) == {CHANNELS_LAST} else W
    return N * C * H * W * itemsize >= blocks.STREAMED_BYTES and run * itemsize % _LINE == 0


def window_flops(g: Pool2dGeometry) -> int:
    """What the windows of a gradient cost that come one after the other."""
    return g.N * g.C * g.rows.out * g.cols.out * _WINDOW_FLOPS


def grain(g: Pool2dGeometry, itemsize: int, items: int, flops: int) -> int:
    """Items per chunk, so that chunks are equal."""
    N, C, H, W = g.x_shape
    work = itemsize * N * C * (H * W + g.rows.out * g.cols.out) + flops // _FLOPS_PER_BYTE
    return -(-items // -(-work // _CHUNK_BYTES))
