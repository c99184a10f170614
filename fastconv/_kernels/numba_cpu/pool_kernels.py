"""Pooling with targets one after the other, straight from memory: lanes are the channels of channels_last, or one. And
planes that are one window each."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, fence_streams, local_bytes, pointer, put_word, word
from fastconv._kernels.numba_cpu.pool_arguments import (
    APART,
    JOB,
    JOB_BYTES,
    LARGEST,
    LARGEST_AT,
    PLAIN,
    POOL,
    RUN,
    RUN_BYTES,
    SPREAD,
    WIDTHS,
    WON,
)
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial

_LINE = 64


@serial
def open_job(a, j):
    """What all targets share."""
    j.row_sources, j.row_taps = a.rows_sources, a.rows_taps
    j.col_sources, j.col_taps = a.cols_sources, a.cols_taps
    j.row_base, j.row_step, j.col_step, j.tap_cols = 0, a.source_h, a.source_w, a.tap_cols
    j.row_count, j.col_count, j.per_lane, j.row_counts, j.col_counts = 0, 0, 0, a.row_counts, a.col_counts
    j.streams = a.streams != 0 and a.target % _LINE == 0


@serial
def first_winner(j):
    """The tap that stays where nothing is larger than minus infinity: the first one, or 0 of a window without input."""
    row, col = word(j.rows, 0), word(j.cols, 0)
    if row == word(j.rows, 1) or col == word(j.cols, 1):
        return 0
    return word(j.row_taps, row) * j.tap_cols + word(j.col_taps, col)


def width_of(size: int):
    """The function that finds the widest vectors, as a power of two, that so many lanes fill."""
    most = (VECTOR_BYTES // size).bit_length() - 1

    @serial
    def width(count):
        found = 0
        while found < most and 2 << found <= count:
            found += 1
        return found

    return width


def targets_kernel(dtype: str, kind: str, offset_bytes: int):
    """One item per (image, target row)."""
    size = np.dtype(dtype).itemsize
    width, is_largest, is_won = width_of(size), kind in (LARGEST, LARGEST_AT), kind == WON
    has_offsets, has_runs, run_row = kind == LARGEST_AT, kind != WON, _row_of_runs(size, offset_bytes)

    def targets(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        job = local_bytes(JOB_BYTES)
        j = carray(pointer(job), 1, JOB)[0]
        open_job(a, j)
        j.count = a.lanes
        number = (SPREAD if a.spreads else PLAIN) * WIDTHS + width(a.lanes)
        averages = a.row_counts != 0 and a.spreads == 0
        for item in range(lo, hi):
            row, n = item % a.rows_targets, item // a.rows_targets
            j.rows = a.rows_first + 8 * row
            for c in range(0, a.C, a.lanes):
                source = n * a.source_n + c * a.source_c
                target = n * a.target_n + c * a.target_c + row * a.target_h
                j.source = a.source + source * size
                if is_won:
                    j.winners = a.winners + source * offset_bytes
                if has_runs and a.runs:
                    j.target, j.offsets = a.target + target * size, a.offsets + target * offset_bytes
                    run_row(a, j, job, row)
                    continue
                if a.apart:
                    j.target, j.cols, j.targets = a.target + target * size, a.cols_first, a.cols_targets
                    call(a.run, APART * WIDTHS + width(a.lanes), job)
                    continue
                for col in range(a.cols_targets):
                    place = target + col * a.target_w
                    j.target = a.target + place * size
                    if has_offsets:
                        j.offsets = a.offsets + place * offset_bytes
                    j.cols = a.cols_first + 8 * col
                    if is_largest:
                        j.first_winner = first_winner(j)
                    if averages:
                        j.row_count, j.col_count = a.row_counts + row * size, a.col_counts + col * size
                    call(a.run, number, job)
        fence_streams()

    return targets


def _row_of_runs(size, offset_bytes):
    """The function for a row of targets with all their channels, run by run."""
    width, most = width_of(size), VECTOR_BYTES // size

    @serial
    def put_taps(j):
        at = 0
        for row in range(word(j.rows, 0), word(j.rows, 1)):
            for col in range(word(j.cols, 0), word(j.cols, 1)):
                place = word(j.row_sources, row) * j.row_step + word(j.col_sources, col) * j.col_step
                put_word(j.run_taps, at, place)
                put_word(j.run_taps, at + 1, word(j.row_taps, row) * j.tap_cols + word(j.col_taps, col))
                at += 2

    @serial
    def row_of_runs(a, j, job, row):
        narrow = width(a.lanes)
        # Vectors that have more lanes than there are channels are filled with those of the next target.
        wide = narrow + 1 if a.lanes < most and a.lanes != 1 << narrow else narrow
        j.run_taps = local_bytes(RUN_BYTES)
        source, target, offsets = j.source, j.target, j.offsets
        for run in range(a.cols_runs, a.cols_runs + 32 * a.cols_run_count, 32):
            first, targets = word(run, 0), word(run, 1)
            j.cols, j.source_step = a.cols_first + 8 * first, word(run, 3) * a.source_w
            j.run_rows, j.run_cols = word(j.rows, 1) - word(j.rows, 0), word(j.cols, 1) - word(j.cols, 0)
            j.first_winner = first_winner(j)
            put_taps(j)
            whole = targets - 1 if wide > narrow else targets
            for begin, count, number in ((0, whole, wide), (whole, targets - whole, narrow)):
                col = first + begin
                j.source, j.targets = source + begin * j.source_step * size, count
                j.target = target + col * a.lanes * size
                j.offsets = offsets + col * a.lanes * offset_bytes
                j.row_count, j.col_count = a.row_counts + row * size, a.col_counts + col * size
                if count > 0:
                    call(a.run, RUN * WIDTHS + number, job)

    return row_of_runs


def strips_kernel(dtype: str, kind: str, offset_bytes: int):
    """One item per (image, strip of as many channels as a vector has lanes): they are brought together and apart."""
    size = np.dtype(dtype).itemsize
    lanes = VECTOR_BYTES // size
    turn, run_strip = _turn(getattr(numba, f"uint{8 * offset_bytes}")), _strip(size, lanes, kind, offset_bytes)
    number, has_offsets, has_winners = (lanes.bit_length() - 1), kind == LARGEST_AT, kind == WON

    def strips(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        job = a.scratch + slot * a.scratch_step
        j = carray(pointer(job), 1, JOB)[0]
        open_job(a, j)
        sources, targets, count = a.source_c, a.target_c, (a.C + lanes - 1) // lanes
        pixels = job + (JOB_BYTES + _LINE - 1) // _LINE * _LINE
        to = pixels + sources * VECTOR_BYTES
        places = to + targets * VECTOR_BYTES
        clear_bytes(pixels, sources * VECTOR_BYTES)
        j.row_step, j.col_step, j.count, j.streams = a.source_h * lanes, lanes, lanes, 0
        for item in range(lo, hi):
            plane = item // count * a.C + item % count * lanes
            channels = min(lanes, a.C - item % count * lanes)
            source, target = a.source + plane * sources * size, a.target + plane * targets * size
            call(a.move, source, sources * size, 0, pixels, VECTOR_BYTES, 0, channels, sources)
            j.source, j.target, j.winners, j.offsets = pixels, to, places, places
            if has_winners:
                turn(a.winners + plane * sources * offset_bytes, sources, places, lanes, channels, sources)
            run_strip(a, j, job, (SPREAD if a.spreads else PLAIN) * WIDTHS + number)
            call(a.move, to, VECTOR_BYTES, 0, target, targets * size, 0, targets, channels)
            if has_offsets:
                turn(places, lanes, a.offsets + plane * targets * offset_bytes, targets, targets, channels)

    return strips


def _turn(offset):
    @serial
    def turn(source, source_step, target, target_step, rows, columns):
        """Element i of row j of the target = element j of row i of the source, of offsets."""
        x = carray(pointer(source), rows * source_step, offset)
        to = carray(pointer(target), columns * target_step, offset)
        for i in range(rows):
            for j in range(columns):
                to[j * target_step + i] = x[i * source_step + j]

    return turn


def _strip(size, lanes, kind, offset_bytes):
    """The function for all targets of a strip."""
    is_largest, has_offsets = kind in (LARGEST, LARGEST_AT), kind == LARGEST_AT

    @serial
    def strip(a, j, job, number):
        averages = a.row_counts != 0 and a.spreads == 0
        for row in range(a.rows_targets):
            j.rows = a.rows_first + 8 * row
            for col in range(a.cols_targets):
                j.cols = a.cols_first + 8 * col
                if is_largest:
                    j.first_winner = first_winner(j)
                if averages:
                    j.row_count, j.col_count = a.row_counts + row * size, a.col_counts + col * size
                call(a.run, number, job)
                j.target += lanes * size
                if has_offsets:
                    j.offsets += lanes * offset_bytes

    return strip


def whole_kernel(dtype: str, kind: str, offset_bytes: int):
    """One item per plane."""
    real, size = getattr(numba, dtype), np.dtype(dtype).itemsize
    offset = getattr(numba, f"uint{8 * offset_bytes}")

    def whole_largest(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        result = local_bytes(_LINE)
        for plane in range(lo, hi):
            x = carray(pointer(a.source + plane * a.source_c * size), a.source_c, real)
            call(a.run, a.source + plane * a.source_c * size, a.source_c, result)
            found = winner(x, a.source_c, carray(pointer(result), 1, real)[0], word(result, 1) != 0)
            carray(pointer(a.target + plane * size), 1, real)[0] = x[found]
            if a.offsets != 0:
                carray(pointer(a.offsets + plane * offset_bytes), 1, offset)[0] = found

    def whole_won(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        for plane in range(lo, hi):
            target = carray(pointer(a.target + plane * a.target_c * size), a.target_c, real)
            found = numba.int64(carray(pointer(a.winners + plane * offset_bytes), 1, offset)[0])
            target[:] = 0
            if found < a.target_c:
                target[found] += carray(pointer(a.source + plane * size), 1, real)[0]

    def whole_all(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        result = local_bytes(_LINE)
        count = carray(pointer(a.row_counts), 1, real)[0] * carray(pointer(a.col_counts), 1, real)[0]
        for plane in range(lo, hi):
            source = a.source + plane * a.source_c * size
            target = carray(pointer(a.target + plane * a.target_c * size), a.target_c, real)
            if a.spreads:
                target[:] = real(0) + carray(pointer(source), 1, real)[0] / count
            else:
                call(a.run, source, a.source_c, result)
                target[0] = carray(pointer(result), 1, real)[0] / count

    return whole_largest if kind in (LARGEST, LARGEST_AT) else whole_won if kind == WON else whole_all


@serial
def winner(x, size, largest, has_nan):
    """The last NaN, else the first of the largest."""
    if has_nan:
        found = size - 1
        while x[found] == x[found]:
            found -= 1
        return found
    found = 0
    while x[found] != largest:
        found += 1
    return found
