"""A block of rows of a plane, copied into a padded buffer so that every tap of every column is one distance away."""

from __future__ import annotations

import numba
import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, pointer, prefetch_read, put_word, word
from fastconv._kernels.numba_cpu.conv2d_depthwise_pixels import tile_width
from fastconv._kernels.numba_cpu.depthwise_arguments import (
    COPY,
    FORM_1,
    FORM_3,
    JOB,
    JOB_BYTES,
    PIXELS,
    SPLIT,
    TILE_BYTES,
)
from fastconv._kernels.numba_cpu.settings import serial

_LINE = 64


class Elements:
    """Access to single elements of one dtype, for kernels."""

    def __init__(self, dtype: str):
        real = getattr(numba, dtype)
        self.real, self.size = real, np.dtype(dtype).itemsize

        @serial
        def get(place):
            return carray(pointer(place), 1, real)[0]

        @serial
        def put(place, value):
            carray(pointer(place), 1, real)[0] = value

        self.get, self.put = get, put


@serial
def open_slot(a, s, scratch):
    """Where the slot's memory is; the tile and the buffer are cleared."""
    s.tile, s.jobs, s.entries = scratch + a.tile_at, scratch + a.jobs_at, scratch + a.entries_at
    s.buffer, s.results, s.sums = scratch + a.buffer_at, scratch + a.results_at, scratch + a.sums_at
    clear_bytes(s.tile, TILE_BYTES)
    clear_bytes(s.buffer, a.buffer_bytes)


def lister(size: int):
    """The function that lists the jobs."""

    @serial
    def list_jobs(a, s):
        entries, number = s.entries, 0
        for row_phase in range(a.down_phases):
            top, bottom = word(a.down_first, row_phase), word(a.down_first, row_phase + 1)
            close = bottom - top == 3 and word(a.down_places, top + 2) == word(a.down_places, top) + 2
            close = close and a.down_step <= 2
            for col_phase in range(a.across_phases):
                j = carray(pointer(s.jobs + number * JOB_BYTES), 1, JOB)[0]
                j.entries, j.form, j.w_step = entries, FORM_1, 0
                if close:
                    tap_rows = word(a.down_taps, top + 1) - word(a.down_taps, top)
                    j.form, j.w_step = FORM_3 + a.down_step - 1, tap_rows * a.tap_cols * a.tap_bytes
                for r in range(top, top + 1 if close else bottom):
                    for c in range(word(a.across_first, col_phase), word(a.across_first, col_phase + 1)):
                        place = word(a.down_places, r) * a.pitch + word(a.across_places, c)
                        tap = word(a.down_taps, r) * a.tap_cols + word(a.across_taps, c)
                        put_word(entries, 0, place * size)
                        put_word(entries, 1, tap * a.tap_bytes)
                        entries += 16
                j.entry_count = (entries - j.entries) // 16
                number += 1

    return list_jobs


def tiler(size: int):
    """The function that runs the tiles of some rows of a job."""

    @serial
    def run_job(a, s, t, tile, number, rows, x, w, target, target_step, valid):
        j = carray(pointer(s.jobs + number * JOB_BYTES), 1, JOB)[0]
        pitch = a.pitch * size
        x_step = a.down_step * pitch
        t.entries, t.entry_count, t.w_step, t.target_step = j.entries, j.entry_count, j.w_step, target_step
        t.x_step = x_step if j.form == FORM_1 else pitch
        width = tile_width(rows)
        for row in range(0, rows, width):
            pixels = min(width, rows - row)
            t.valid = valid if row + pixels == rows else a.vector
            if a.far:
                prefetch_ahead(a, s, row, pixels)
            index = j.form * PIXELS + pixels - 1
            call(tile, index, s.tile, x + row * x_step, w, target + row * target_step)

    return run_job


@serial
def prefetch_ahead(a, s, row, rows):
    """Asks for what the next block reads and writes in the places of some rows."""
    x_step, target_step = a.down_step * a.x_h, a.down_phases * a.target_h
    for byte in range(row * x_step, (row + rows) * x_step, _LINE):
        prefetch_read(s.next_x + byte)
    for byte in range(row * target_step, (row + rows) * target_step, _LINE):
        prefetch_read(s.next_target + byte)


def padder(elements: Elements):
    """The function that fills the buffer for target rows in steps first .. first + count - 1."""
    copy_rows, size = _copier(elements), elements.size

    @serial
    def pad_rows(a, s, plane, first, count):
        top, pitch = first * a.down_step, a.pitch * size
        bottom = min(a.down_size, top + (count - a.block) * a.down_step + a.height)
        begin, end = max(top, a.bulk_top), min(bottom, a.bulk_bottom)
        place = top
        while place < bottom:
            row, to = word(a.down_sources, place), s.buffer + (place - top) * pitch
            rows = end - begin if place == begin and begin < end else 1
            if row >= 0:
                copy_rows(a, plane + row * a.x_h, rows, to)
            elif a.blocks > 1:  # otherwise this row has never been anything else
                clear_bytes(to, pitch)
            place += rows

    return pad_rows


def _copier(elements):
    size, get, put = elements.size, elements.get, elements.put
    split_row = _splitter(elements)

    @serial
    def copy_rows(a, plane, rows, to):
        """Neighbouring rows of a plane to neighbouring rows of the buffer, whose zeros are there since it was made."""
        pitch, source = a.pitch * size, plane + a.bulk_source * a.x_w
        if a.bulk_count > 0 and a.x_w == size and a.across_step == 1:
            call(a.move, COPY, source, a.x_h, to + a.bulk_index * size, 0, pitch, a.bulk_count, rows)
        elif a.bulk_count > 0 and a.x_w == size and a.across_step == 2:
            even, odd = to + (a.bulk_phase * a.width + a.bulk_index) * size, to + (a.bulk_index + 1) * size
            if a.bulk_phase == 0:
                odd = to + (a.width + a.bulk_index) * size
            call(a.move, SPLIT, source, a.x_h, even, odd, pitch, a.bulk_count, rows)
        else:
            for row in range(rows):
                split_row(a, source + row * a.x_h, to + row * pitch)
        for row in range(rows):
            for i in range(a.extra_count):
                value = get(plane + row * a.x_h + word(a.extras, 2 * i + 1) * a.x_w)
                put(to + row * pitch + word(a.extras, 2 * i) * size, value)

    return copy_rows


def _splitter(elements):
    size, get, put = elements.size, elements.get, elements.put

    @serial
    def split_row(a, source, to):
        """Every phase of a row goes to its part of the buffer."""
        phase, index = a.bulk_phase, a.bulk_index
        for i in range(a.bulk_count):
            put(to + (phase * a.width + index) * size, get(source + i * a.x_w))
            phase += 1
            if phase == a.across_step:
                phase, index = 0, index + 1

    return split_row


@serial
def block_steps(a, first):
    """The steps of one block."""
    return min(a.block, word(a.down_counts, 0) - first)


def finite(elements: Elements):
    """The function that tells whether no value is infinite or NaN."""
    real = elements.real

    @serial
    def all_finite(place, count):
        values, others = carray(pointer(place), count, real), 0
        for i in range(count):
            difference = values[i] - values[i]
            others += difference != difference
        return others == 0

    return all_finite
