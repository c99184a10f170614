"""grad_weight of depthwise convolution with lanes along the columns of a padded buffer.

Rows of grad_out that do not fill their vectors are continued by zeros.
"""

from __future__ import annotations

import numba
from numba import carray

from fastconv._kernels.numba_cpu.addresses import call, clear_bytes, pointer, word
from fastconv._kernels.numba_cpu.conv2d_depthwise_padded import (
    Elements,
    block_steps,
    finite,
    lister,
    open_slot,
    padder,
    tiler,
)
from fastconv._kernels.numba_cpu.depthwise_arguments import COPY, FOLD, PLANE, PLANE_WORK, TILE
from fastconv._kernels.numba_cpu.settings import serial


def plane_grad_kernel(dtype: str):
    """One item per (chunk of the blocks of all images, some channels), as plan.depthwise.GradShares has them.

    All slots share the sums: [chunk][C][tap].
    """
    elements = Elements(dtype)
    list_jobs, add_block, store_sums = lister(elements.size), _adder(elements), _storer(elements)

    def plane_grad(context, lo, hi, slot):
        a = carray(pointer(context), 1, PLANE)[0]
        scratch = a.scratch + slot * a.scratch_step
        s, t = carray(pointer(scratch), 1, PLANE_WORK)[0], carray(pointer(scratch + a.tile_at), 1, TILE)[0]
        open_slot(a, s, scratch)
        list_jobs(a, s)
        clear_bytes(s.results, a.result_size)
        blocks = a.N * a.blocks
        for item in range(lo, hi):
            chunk, first = item // a.shares, item % a.shares * a.group
            last, sums_bytes = min(a.C, first + a.group), a.taps * a.tap_bytes
            begin, end = chunk * blocks // a.chunks, (chunk + 1) * blocks // a.chunks
            clear_bytes(s.sums, (last - first) * sums_bytes)
            for block in range(begin, end):
                for c in range(first, last):
                    add_block(a, s, t, block, c, s.sums + (c - first) * sums_bytes)
            t.vectors = (last - first) * a.taps
            store_sums(a, s, chunk, first, last, begin, end)

    return plane_grad


def plane_reduce_kernel(dtype: str):
    """grad_weight = the sums of all chunks, added in their order: one item per channel."""
    real = getattr(numba, dtype)

    def plane_reduce(context, lo, hi, slot):
        a = carray(pointer(context), 1, PLANE)[0]
        size = a.C * a.taps
        partial, target = carray(pointer(a.shared), a.chunks * size, real), carray(pointer(a.grad_weight), size, real)
        for i in range(lo * a.taps, hi * a.taps):
            total = partial[i]
            for chunk in range(1, a.chunks):
                total += partial[chunk * size + i]
            target[i] = total

    return plane_reduce


def _adder(elements):
    run_job, pad_rows = tiler(elements.size), padder(elements)
    take_rows = _taker(elements)

    @serial
    def add_block(a, s, t, block, c, sums):
        """Adds one block of one image to the lanes' sums of a channel: [tap][lane]."""
        n, first = block // a.blocks, block % a.blocks * a.block
        count = block_steps(a, first)
        grad_out = a.target + n * a.target_n + c * a.target_c + first * a.target_h
        x = a.x + n * a.x_n + c * a.x_c
        pad_rows(a, s, x, first, count)
        s.next_x, s.next_target = x + (first + count) * a.down_step * a.x_h, grad_out + count * a.target_h
        step = a.target_h
        if not a.direct:
            take_rows(a, s, grad_out, count)
            grad_out, step = s.results, a.result_pitch
        whole = a.whole_vectors * a.vector
        if whole > 0:
            t.vectors, t.last = a.whole_vectors, whole - a.vector
            run_job(a, s, t, a.tile, 0, count, s.buffer, sums, grad_out, step, 0)
        if a.half_tile != 0:
            t.vectors, t.last = 1, 0
            run_job(a, s, t, a.half_tile, 0, count, s.buffer + whole, sums, grad_out + whole, step, 0)

    return add_block


def _taker(elements):
    size, get, put = elements.size, elements.get, elements.put

    @serial
    def take_rows(a, s, grad_out, rows):
        """Some rows of grad_out to where zeros continue them."""
        if a.target_w == size:
            call(a.move, COPY, grad_out, a.target_h, s.results, 0, a.result_pitch, a.cols_targets, rows)
            return
        for row in range(rows):
            for col in range(a.cols_targets):
                value = get(grad_out + row * a.target_h + col * a.target_w)
                put(s.results + row * a.result_pitch + col * size, value)

    return take_rows


def _storer(elements):
    all_finite, exact_block = finite(elements), _exact_block(elements)
    size = elements.size

    @serial
    def store_sums(a, s, chunk, first, last, begin, end):
        """Some channels' sums over all lanes. Where one is not finite, a product with padding may be the reason."""
        sums_size = a.taps * size
        partial = a.shared + (chunk * a.C + first) * sums_size
        call(a.tile, FOLD, s.tile, s.sums, 0, partial)
        if all_finite(partial, (last - first) * a.taps):
            return
        for c in range(first, last):
            place = partial + (c - first) * sums_size
            if not all_finite(place, a.taps):
                clear_bytes(place, sums_size)
                for block in range(begin, end):
                    exact_block(a, block, c, place)

    return store_sums


def _exact_block(elements):
    size, get, put = elements.size, elements.get, elements.put

    @serial
    def exact_block(a, block, c, sums):
        """Adds one block of one image to the sums of a channel from the entries alone."""
        n, first = block // a.blocks, block % a.blocks * a.block
        x, grad_out = a.x + n * a.x_n + c * a.x_c, a.target + n * a.target_n + c * a.target_c
        for row in range(first, first + block_steps(a, first)):
            for r in range(word(a.rows_first, row), word(a.rows_first, row + 1)):
                line, taps = x + word(a.rows_sources, r) * a.x_h, word(a.rows_taps, r) * a.tap_cols
                for col in range(a.cols_targets):
                    value = get(grad_out + row * a.target_h + col * a.target_w)
                    for e in range(word(a.cols_first, col), word(a.cols_first, col + 1)):
                        place = sums + (taps + word(a.cols_taps, e)) * size
                        put(place, get(place) + value * get(line + word(a.cols_sources, e) * a.x_w))

    return exact_block
