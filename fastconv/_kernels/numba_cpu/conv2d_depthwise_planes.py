"""Depthwise convolution with lanes along the columns of a padded buffer: forward and grad_input."""

from __future__ import annotations

from numba import carray, uint8

from fastconv._kernels.numba_cpu.addresses import call, pointer, word
from fastconv._kernels.numba_cpu.arguments import RELU, RELU6
from fastconv._kernels.numba_cpu.conv2d_depthwise_padded import (
    Elements,
    block_steps,
    finite,
    lister,
    open_slot,
    padder,
    prefetch_ahead,
    tiler,
)
from fastconv._kernels.numba_cpu.depthwise_arguments import COPY, JOIN, PLANE, PLANE_WORK, TILE
from fastconv._kernels.numba_cpu.settings import serial

# Pairs of rows between which what comes next is asked for.
_PAIRS = 8


def plane_sum_kernel(dtype: str):
    """One item per (image, channel, block of target rows)."""
    elements = Elements(dtype)
    list_jobs, pad_rows, sum_block = lister(elements.size), padder(elements), _summer(elements)
    all_finite, exact_marks, size = finite(elements), _exact_marks(elements), elements.size

    def plane_sum(context, lo, hi, slot):
        a = carray(pointer(context), 1, PLANE)[0]
        scratch = a.scratch + slot * a.scratch_step
        s, t = carray(pointer(scratch), 1, PLANE_WORK)[0], carray(pointer(scratch + a.tile_at), 1, TILE)[0]
        open_slot(a, s, scratch)
        list_jobs(a, s)
        t.activation = a.activation
        block, c, n = lo % a.blocks, lo // a.blocks % a.C, lo // a.blocks // a.C
        for _ in range(lo, hi):
            first = block * a.block
            count, w = block_steps(a, first), a.w + c * a.taps * size
            x, target = a.x + n * a.x_n + c * a.x_c, a.target + n * a.target_n + c * a.target_c
            t.bias = a.bias + c * size if a.bias != 0 else 0
            pad_rows(a, s, x, first, count)
            s.next_x = x + (first + count) * a.down_step * a.x_h
            s.next_target = target + (first + count) * a.down_phases * a.target_h
            sum_block(a, s, t, first, count, w, target)
            if a.highest_mark > 0:
                level = 1 if all_finite(w, a.taps) else 0
                if a.highest_mark > level:
                    end = min(a.rows_targets, (first + count) * a.down_phases)
                    for row in range(first * a.down_phases, end):
                        exact_marks(a, x, w, t.bias, level, row, target + row * a.target_h)
            block, c, n = following(a, block, c, n)

    return plane_sum


@serial
def following(a, block, c, n):
    """The next item; divisions would take as long as a small plane."""
    if block + 1 < a.blocks:
        return block + 1, c, n
    return (0, c + 1, n) if c + 1 < a.C else (0, 0, n + 1)


def _summer(elements):
    run_job, scatter_rows, size = tiler(elements.size), _scatterer(elements), elements.size
    sum_pairs = _pair_summer(size)

    @serial
    def sum_block(a, s, t, first, count, w, plane):
        """Some steps of a plane's target rows, from the padded buffer."""
        if a.paired:
            sum_pairs(a, s, t, count, w, plane + 2 * first * a.target_h)
            return
        for row_phase in range(a.down_phases):
            steps = min(count, word(a.down_counts, row_phase) - first)
            if steps <= 0:
                continue
            target, step = plane + (row_phase + first * a.down_phases) * a.target_h, a.down_phases * a.target_h
            for col_phase in range(a.across_phases):
                columns = word(a.across_counts, col_phase) * size
                t.vectors, t.last = -(-columns // a.vector), max(0, columns - a.vector)
                number = row_phase * a.across_phases + col_phase
                if a.direct:
                    run_job(a, s, t, a.tile, number, steps, s.buffer, w, target, step, columns // size)
                else:
                    results = s.results + col_phase * a.result_size
                    run_job(a, s, t, a.tile, number, steps, s.buffer, w, results, a.result_pitch, a.vector)
            if not a.direct:
                scatter_rows(a, s, steps, target, step)

    return sum_block


def _pair_summer(size):
    @serial
    def sum_pairs(a, s, t, count, w, target):
        """Some steps of pairs of target rows."""
        columns, pitch = word(a.across_counts, 0) * size, a.pitch * size
        t.vectors, t.last = -(-columns // a.vector), max(0, columns - a.vector)
        t.entries, t.x_step, t.target_step = s.entries, pitch, a.target_h
        for row in range(0, count, _PAIRS):
            t.rows = min(_PAIRS, count - row)
            # Behind other rows than the last one there are rows that are written later.
            t.valid = a.cols_targets if row + t.rows == count else 2 * a.vector
            if a.far:
                prefetch_ahead(a, s, row, t.rows)
            call(a.tile, a.pair_form, s.tile, s.buffer + row * pitch, w, target + 2 * row * a.target_h)

    return sum_pairs


def _scatterer(elements):
    size, get, put = elements.size, elements.get, elements.put

    @serial
    def scatter_rows(a, s, rows, target, step):
        """Results of all phases of columns to their place in the target."""
        if a.target_w == size and a.across_phases == 1:
            call(a.move, COPY, s.results, a.result_pitch, target, 0, step, a.cols_targets, rows)
            return
        if a.target_w == size and a.across_phases == 2:
            odd = s.results + a.result_size
            call(a.move, JOIN, target, step, s.results, odd, a.result_pitch, a.cols_targets, rows)
            return
        for row in range(rows):
            for col in range(a.cols_targets):
                place = s.results + col % a.across_phases * a.result_size + col // a.across_phases * size
                put(target + row * step + col * a.target_w, get(place + row * a.result_pitch))

    return scatter_rows


def _exact_marks(elements):
    exact_run = _exact_run(elements)

    @serial
    def exact_marks(a, x, w, bias, level, row, target):
        """Overwrites what a padded buffer cannot give in a row: where a mark is above the level."""
        row_marks = carray(pointer(a.row_marks), a.rows_targets, uint8)
        run_marks = carray(pointer(a.run_marks), a.cols_run_count, uint8)
        for r in range(a.cols_run_count):
            if row_marks[row] > level or run_marks[r] > level:
                exact_run(a, x, w, bias, row, a.cols_runs + 32 * r, target)

    return exact_marks


def _exact_run(elements):
    size, real, get, put = elements.size, elements.real, elements.get, elements.put

    @serial
    def exact_run(a, x, w, bias, row, run, target):
        """One run of one target row from its entries alone."""
        start = word(run, 0)
        offset = get(bias) if bias != 0 else real(0)
        for j in range(word(run, 1)):
            total, shift = real(0), j * word(run, 3)
            for r in range(word(a.rows_first, row), word(a.rows_first, row + 1)):
                for e in range(word(a.cols_first, start), word(a.cols_first, start + 1)):
                    tap = word(a.rows_taps, r) * a.tap_cols + word(a.cols_taps, e)
                    place = word(a.rows_sources, r) * a.x_h + (word(a.cols_sources, e) + shift) * a.x_w
                    total += get(w + tap * size) * get(x + place)
            total += offset
            if a.activation & RELU and total < 0:
                total = real(0)
            if a.activation & RELU6 and total > 6:
                total = real(6)
            put(target + (start + j * word(run, 2)) * a.target_w, total)

    return exact_run
