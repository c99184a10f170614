"""Pooling of planes with lanes along columns: through a buffer of some rows with their padding, or straight from memory
where small windows slide."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import (
    call,
    clear_bytes,
    copy_bytes,
    fence_streams,
    local_bytes,
    pointer,
    put_word,
    word,
)
from fastconv._kernels.numba_cpu.depthwise_arguments import COPY, SPLIT
from fastconv._kernels.numba_cpu.pool_arguments import (
    ALL,
    JOB,
    JOB_BYTES,
    LARGEST,
    LARGEST_AT,
    PAIRED,
    PLAIN,
    POOL,
    SLIDE,
    SLIDE_BYTES,
    SLIDE_LOCAL_BYTES,
    VIEW_BYTES,
    WIDTHS,
    WON,
)
from fastconv._kernels.numba_cpu.pool_kernels import first_winner, open_job, width_of
from fastconv._kernels.numba_cpu.settings import serial

_LINE = 64
# Parts of a view that are read; the next one is its targets.
_READ = 4


def planes_kernel(dtype: str, kind: str, offset_bytes: int):
    """One item per (plane, block of target rows)."""
    real, size = getattr(numba, dtype), np.dtype(dtype).itemsize
    padding = real(-np.inf if kind in (LARGEST, LARGEST_AT) else 0)
    fill, line = _filler(real, size, kind, offset_bytes), _liner(real, size, kind, offset_bytes)
    has_offsets = kind == LARGEST_AT

    def planes(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        job = a.scratch + slot * a.scratch_step
        buffer = job + (JOB_BYTES + _LINE - 1) // _LINE * _LINE
        count = a.height * a.pitch
        won = buffer + count * size
        j = carray(pointer(job), 1, JOB)[0]
        open_job(a, j)
        carray(pointer(buffer), count, real)[:] = padding
        if kind == WON:
            clear_bytes(won, count * offset_bytes)
        j.cols, j.col_sources, j.col_taps, j.row_step, j.col_step = a.first_tap, a.places, a.taps, a.pitch, 1
        j.per_lane = 1
        for item in range(lo, hi):
            block, plane = a.row_blocks + 32 * (item % a.block_count), item // a.block_count
            fill(a, plane, block, buffer, won)
            j.source, j.winners, j.row_base = buffer, won, word(block, 2)
            target = plane * a.target_c + word(block, 0) * a.target_h
            for row in range(word(block, 0), word(block, 1)):
                j.rows = a.rows_first + 8 * row
                j.first_winner = first_winner(j)
                j.target = a.target + target * size
                if has_offsets:
                    j.offsets = a.offsets + target * offset_bytes
                if kind == ALL and a.spreads == 0:
                    j.row_count, j.col_count = a.row_counts + row * size, a.col_counts
                line(a, j, job)
                target += a.target_h
        fence_streams()

    return planes


def _filler(real, size, kind, offset_bytes):
    """The function that copies the source rows of a block; around them there is padding since the buffer was made."""

    @serial
    def share(a, source, row, to):
        x, counts = (
            carray(pointer(source), a.count, real),
            carray(pointer(a.col_counts + a.first * size), a.count, real),
        )
        count = carray(pointer(a.row_counts + row * size), 1, real)[0]
        target = carray(pointer(to), a.count, real)
        for i in range(a.count):
            target[i] = x[i] / (count * counts[i])

    @serial
    def fill(a, plane, block, buffer, won):
        first, rows = word(block, 2), word(block, 3) - word(block, 2)
        begin = plane * a.source_c + first * a.source_h + a.first
        source, step, pitch = a.source + begin * size, a.source_h * size, a.pitch * size
        even, odd = buffer + a.even_at * size, buffer + a.odd_at * size
        if kind == ALL and a.spreads:
            for row in range(rows):
                share(a, source + row * step, first + row, even + row * pitch)
        elif rows > 0:
            call(a.move, COPY if a.step == 1 else SPLIT, source, step, even, odd, pitch, a.count, rows)
        if kind == WON:
            for row in range(rows):
                to = won + (row * a.pitch + a.even_at) * offset_bytes
                copy_bytes(to, a.winners + (begin + row * a.source_h) * offset_bytes, a.count * offset_bytes)

    return fill


def _liner(real, size, kind, offset_bytes):
    """The function for a row of targets; of paired ones the last may be alone."""
    width, offset = width_of(size), getattr(numba, f"uint{8 * offset_bytes}")
    lowest = real(-np.inf)

    @serial
    def mend(a, j):
        """Where nothing is larger than minus infinity, the first tap that is no padding has won."""
        targets = carray(pointer(j.target), a.cols_targets, real)
        offsets = carray(pointer(j.offsets), a.cols_targets, offset)
        first = word(j.row_taps, word(j.rows, 0)) * j.tap_cols
        for i in range(a.won_count):
            col, tap = word(a.won, 2 * i), word(a.won, 2 * i + 1)
            if targets[col] == lowest:
                offsets[col] = 0 if tap < 0 else first + tap

    @serial
    def line(a, j, job):
        if a.phases == 2:
            pairs = a.cols_targets // 2
            if pairs > 0:
                j.count = pairs
                call(a.run, PAIRED * WIDTHS + width(pairs), job)
            if a.cols_targets % 2:
                j.count = 1
                source, target, winners = j.source, j.target, j.winners
                j.source, j.winners = source + pairs * size, winners + pairs * offset_bytes
                j.target = target + (a.cols_targets - 1) * size
                call(a.run, PLAIN * WIDTHS, job)
                j.source, j.target, j.winners = source, target, winners
        else:
            j.count = a.cols_targets
            call(a.run, PLAIN * WIDTHS + width(a.cols_targets), job)
        if kind == LARGEST_AT and word(j.rows, 0) < word(j.rows, 1):
            mend(a, j)

    return line


def sliding_kernel(dtype: str, kind: str, width: int):
    """One item per (plane, block of target rows), in vectors of ``width`` bytes."""
    real, size = getattr(numba, dtype), np.dtype(dtype).itemsize
    lanes = width // size
    view, lowest, has_offsets = _viewer(lanes), real(-np.inf), kind == LARGEST_AT

    @serial
    def mend(a, s, first, last):
        """Of windows of minus infinity alone the first tap that is no padding has won."""
        targets = carray(pointer(s.target), a.target_c, real)
        offsets = carray(pointer(s.offsets), a.target_c, numba.uint8)
        for row in range(first, last):
            tap = word(a.rows_taps, word(a.rows_first, row)) * a.tap_cols
            for col in range(a.cols_targets):
                if targets[row * s.width + col] == lowest:
                    offsets[row * s.width + col] = tap + word(a.cols_taps, word(a.cols_first, col))

    def sliding(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        slide = local_bytes(SLIDE_LOCAL_BYTES)
        if a.scratch_step != 0:
            slide = a.scratch + slot * a.scratch_step
        s = carray(pointer(slide), 1, SLIDE)[0]
        s.views, s.view_count = slide + SLIDE_BYTES, (a.cols_targets + lanes - 1) // lanes
        for number in range(s.view_count):
            view(a, s.views + number * VIEW_BYTES, number)
        s.H, s.W, s.width, s.row_low, s.ahead = a.H, a.source_h, a.target_h, a.row_low, a.ahead
        s.streams = a.streams != 0 and a.target % _LINE == 0
        s.row_counts, s.col_counts, s.mend = a.row_counts, a.col_counts, 0
        for item in range(lo, hi):
            plane, first = item // a.blocks, item % a.blocks * a.block
            last = min(a.rows_targets, first + a.block)
            room = last * s.width - lanes
            s.whole_rows = last if s.width >= lanes else 0 if room < 0 else room // s.width + 1
            s.source, s.target = a.source + plane * a.source_c * size, a.target + plane * a.target_c * size
            if has_offsets:
                s.offsets = a.offsets + plane * a.target_c
            call(a.run, slide, first, last)
            if has_offsets and s.mend:
                mend(a, s, first, last)
                s.mend = 0
        fence_streams()

    return sliding


def _parter(lanes):
    @serial
    def part(place, at, size):
        """Neighbours of a row from ``at`` on: their first one, and which of them are inside of it."""
        first, last = min(max(0, -at), lanes), max(0, min(lanes, size - at))
        put_word(place, 0, at)
        put_word(place, 1, ((1 << last) - 1) & ~((1 << first) - 1))

    return part


def _viewer(lanes):
    part = _parter(lanes)

    @serial
    def view(a, place, number):
        """A vector of columns; the last one overlaps the one before it."""
        col = number * lanes
        if number > 0 and col + lanes > a.cols_targets:
            col = a.cols_targets - lanes
        for i in range(_READ):
            shift = i if a.stride == 1 else i // 2 * 2 + i % 2 * lanes
            part(place + 16 * i, col * a.stride - a.col_low + shift, a.source_h)
        part(place + 16 * _READ, col, a.cols_targets)

    return view


def sliding_grad_kernel(dtype: str, kind: str, width: int):
    """One item per (plane, block of rows of windows), in vectors of ``width`` bytes."""
    size = np.dtype(dtype).itemsize
    lanes, is_won = width // size, kind == WON
    under = _under(lanes)

    def sliding_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, POOL)[0]
        slide = local_bytes(SLIDE_LOCAL_BYTES)
        if a.scratch_step != 0:
            slide = a.scratch + slot * a.scratch_step
        s = carray(pointer(slide), 1, SLIDE)[0]
        places = (a.cols_targets + a.stride - 1) // a.stride
        s.views, s.view_count = slide + SLIDE_BYTES, (places + lanes - 1) // lanes
        for number in range(s.view_count):
            under(a, s.views + number * VIEW_BYTES, number, places)
        s.H, s.W, s.width, s.row_low, s.window_rows = a.rows_targets, a.source_h, a.target_h, a.row_low, a.H
        s.streams = a.streams != 0 and a.target % _LINE == 0
        s.row_counts, s.col_counts, s.whole_rows = a.row_counts, a.col_counts, 0
        if s.view_count == 1 and a.blocks == 1:
            room = s.H * s.width - (2 * lanes if a.stride == 2 and s.width > lanes else lanes)
            s.whole_rows = 0 if room < 0 else room // s.width + 1
        for item in range(lo, hi):
            plane, first = item // a.blocks, item % a.blocks * a.block
            s.source, s.target = a.source + plane * a.source_c * size, a.target + plane * a.target_c * size
            if is_won:
                s.offsets = a.winners + plane * a.source_c
            call(a.run, slide, first, min(a.H, first + a.block))
        fence_streams()

    return sliding_grad


def _under(lanes):
    part = _parter(lanes)

    @serial
    def under(a, place, number, places):
        """A vector of columns, or a pair of them; the last one overlaps the one before it."""
        at = number * lanes
        if number > 0 and at + lanes > places:
            at = places - lanes
        for tap in range(a.tap_cols):
            phase = 0 if a.stride == 1 else (tap + a.col_low) % 2
            part(place + 16 * tap, at + (phase + a.col_low - tap) // a.stride, a.source_h)
        for i in range(2):
            part(place + 16 * (a.tap_cols + i), at * a.stride + i * lanes, a.cols_targets)

    return under
