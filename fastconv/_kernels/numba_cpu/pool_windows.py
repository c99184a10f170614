"""Gradients of planes: one window after the other gives what is its."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, pointer, word
from fastconv._kernels.numba_cpu.depthwise_arguments import COPY
from fastconv._kernels.numba_cpu.pool_arguments import POOL, WON
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial


def windows_kernel(dtype: str, kind: str, offset_bytes: int):
    """One item per plane."""
    size = np.dtype(dtype).itemsize
    give = _give_won(dtype, offset_bytes) if kind == WON else _give_shares(dtype)

    def windows(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        for plane in range(lo, hi):
            element = plane * a.source_c
            source, winners = a.source + element * size, a.winners + element * offset_bytes
            give(a, source, winners, a.target + plane * a.target_c * size, slot)

    return windows


def _give_won(dtype, offset_bytes):
    real, size, offset = getattr(numba, dtype), np.dtype(dtype).itemsize, getattr(numba, f"uint{8 * offset_bytes}")

    @serial
    def give_won(a, source, winners, target, _slot):
        """Every window's gradient goes to its winner; an offset that leads outside leads nowhere."""
        taps, tap_count, regular = a.window_taps, a.tap_count, a.regular != 0
        clear_bytes(target, a.target_c * size)
        for row in range(a.window_row_count):
            begin, low, extent = _triple(a.window_rows, row)
            top = target + begin * a.target_h * size
            for col in range(a.window_col_count):
                winner = np.int64(carray(pointer(winners + col * offset_bytes), 1, offset)[0])
                if winner >= tap_count:
                    continue
                left, first, columns = _triple(a.window_cols, col)
                down, right, place = _triple(taps, winner)
                if not regular and not (0 <= down - low < extent and 0 <= right - first < columns):
                    continue
                found = carray(pointer(top + (left + place) * size), 1, real)
                found[0] += carray(pointer(source + col * size), 1, real)[0]
            source += a.source_h * size
            winners += a.source_h * offset_bytes

    return give_won


def _give_shares(dtype):
    real, size = getattr(numba, dtype), np.dtype(dtype).itemsize
    lanes = VECTOR_BYTES // size

    @serial
    def share_row(a, source, row, shares, line):
        """The shares of a row of windows. What is stored beyond a group is stored again, or is no column."""
        x, share = carray(pointer(source), a.source_h, real), carray(pointer(shares), a.source_h, real)
        counts = carray(pointer(a.col_counts), a.source_h, real)
        count = carray(pointer(a.row_counts + row * size), 1, real)[0]
        for col in range(a.source_h):
            share[col] = x[col] / (count * counts[col])
        for group in range(a.col_groups, a.col_groups + 32 * a.col_group_count, 32):
            own = carray(pointer(shares + word(group, 2) * size), word(group, 3), real)
            total = real(0)
            for value in own:
                total += value
            place = line + word(group, 0) * size
            for at in range(place, place + word(group, 1) * size, VECTOR_BYTES):
                to = carray(pointer(at), lanes, real)
                for lane in range(lanes):
                    to[lane] = total

    @serial
    def give_shares(a, source, _winners, target, slot):
        lines, step, width = a.scratch + slot * a.scratch_step, a.pitch * size, a.target_h
        extra = lines + a.window_row_count * step
        for row in range(a.window_row_count):
            share_row(a, source + row * a.source_h * size, row, extra + step, lines + row * step)
        for group in range(a.row_groups, a.row_groups + 32 * a.row_group_count, 32):
            line = lines + word(group, 2) * step
            if word(group, 3) != 1:
                total = carray(pointer(extra), a.pitch, real)
                total[:] = 0
                for row in range(word(group, 3)):
                    total += carray(pointer(line + row * step), a.pitch, real)
                line = extra
            place = target + word(group, 0) * width * size
            call(a.move, COPY, line, 0, place, place, width * size, width, word(group, 1))

    return give_shares


@serial
def _triple(table, row):
    """A row of a plan's table of three columns."""
    return word(table, 3 * row), word(table, 3 * row + 1), word(table, 3 * row + 2)
